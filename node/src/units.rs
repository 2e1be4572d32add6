//! Sizes and amounts as people read and write them.

use protocol::Micros;

/// Parses `500GiB`, `2TB`, `4096`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 13] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("K", 1 << 10),
        ("M", 1 << 20),
        ("G", 1 << 30),
        ("T", 1 << 40),
        ("B", 1),
    ];
    let text = text.trim();
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .unwrap_or((text, 1));
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| format!("{text:?} is no size: write 500GiB, 2TB or a number of bytes"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text} is more than this program can count"))
}

/// `12.3 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const NAMES: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut tenths, mut name) = (u128::from(count) * 10, 0);
    while tenths >= 10_240 && name + 1 < NAMES.len() {
        tenths /= 1024;
        name += 1;
    }
    if tenths % 10 == 0 || name == 0 {
        format!("{} {}", tenths / 10, NAMES[name])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, NAMES[name])
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Parses `25`, `12.50`, `$0.000150` as dollars.
pub(crate) fn parse_dollars(text: &str) -> Result<Micros, String> {
    let no = || format!("{text:?} is no amount: write dollars such as 25 or 12.50");
    let digits = text.trim();
    let digits = digits.strip_prefix('$').unwrap_or(digits);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(part) || part.len() > 6 {
        return Err(no());
    }
    let part: u64 = format!("{part:0<6}").parse().map_err(|_| no())?;
    let whole: u64 = whole.parse().map_err(|_| no())?;
    let micros = whole.checked_mul(1_000_000).and_then(|micros| micros.checked_add(part));
    micros.map(Micros).ok_or_else(|| format!("{text} is more than this program can count"))
}

/// The first and last digits of an id, enough to recognise it.
pub(crate) fn short(id: &impl std::fmt::Display) -> String {
    let text = id.to_string();
    match (text.get(..6), text.get(text.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) if text.len() > 12 => format!("{head}…{tail}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_write() {
        assert_eq!(parse_bytes("500GiB"), Ok(500 << 30));
        assert_eq!(parse_bytes("2 TB"), Ok(2_000_000_000_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert!(parse_bytes("many").is_err());
        assert!(parse_bytes("99999999999TiB").is_err());
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!((count(1, "file"), count(2, "file")), ("1 file".into(), "2 files".into()));
        assert_eq!(short(&"0x1234567890abcdef"), "0x1234…cdef");
    }
    #[test]
    fn dollars_read_as_they_are_written() {
        for micros in [0, 1, 150, 12_500_000, 25_000_000, u64::MAX] {
            assert_eq!(parse_dollars(&Micros(micros).to_string()), Ok(Micros(micros)));
        }
        assert_eq!(parse_dollars(" 25 "), Ok(Micros(25_000_000)));
        assert_eq!(parse_dollars("0.5"), Ok(Micros(500_000)));
        for bad in ["", ".", "1.", ".5", "-1", "1e3", "1.0000001", "99999999999999999999", "$"] {
            assert!(parse_dollars(bad).is_err(), "{bad}");
        }
    }
}
