//! Sizes and amounts as people read and write them.

use alloy_primitives::{
    U256,
    utils::{format_ether, parse_ether},
};
use protocol::Micros;
use std::time::Duration;

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

/// Parses `1000`, `0.5` as coins, to the coin's smallest unit (1e-18).
pub(crate) fn parse_coins(text: &str) -> Result<U256, String> {
    let no = || format!("{text:?} is no amount of coins: write 1000 or 0.5");
    let decimals = text.split_once('.').map_or(0, |(_, part)| part.len());
    if !text.starts_with(|first: char| first.is_ascii_digit()) || decimals > 18 {
        return Err(no());
    }
    parse_ether(text).map_err(|_| no())
}

/// `1000`, `0.5`: an amount of the coin or of a token (1e-18) in whole ones.
pub(crate) fn coins(amount: U256) -> String {
    let text = format_ether(amount);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Parses `500ms`, `15s`, `30m`, `24h`, `7d`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] =
        [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let read = UNITS.iter().find_map(|(name, unit)| {
        let number: u64 = text.strip_suffix(name)?.trim().parse().ok()?;
        number.checked_mul(*unit)
    });
    match read {
        Some(0) | None => Err(format!("{text:?} is no time: write 500ms, 15s, 30m or 24h")),
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds)),
    }
}

/// `500ms`, `15s`, `30m`, `24h`, `7d`: the largest unit that divides it.
pub(crate) fn time(time: Duration) -> String {
    let milliseconds = time.as_millis();
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
        .into_iter()
        .find(|(_, unit)| milliseconds > 0 && milliseconds.is_multiple_of(*unit))
        .map_or_else(
            || format!("{milliseconds}ms"),
            |(name, unit)| format!("{}{name}", milliseconds / unit),
        )
}

/// How many blocks a time has with one every `pace`, at least one.
pub(crate) fn blocks(time: Duration, pace: Duration) -> u64 {
    let blocks = time.as_millis() / pace.as_millis().max(1);
    u64::try_from(blocks).unwrap_or(u64::MAX).max(1)
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
    fn times_and_coins_read_as_they_are_written() {
        for text in ["500ms", "15s", "30m", "24h", "7d"] {
            let shown = if text == "24h" { "1d" } else { text };
            assert_eq!(parse_time(text).map(time), Ok(shown.to_owned()));
        }
        for bad in ["", "0s", "15", "1.5h", "-1s", "99999999999999999999d"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        assert_eq!(blocks(Duration::from_secs(60), Duration::from_millis(500)), 120);
        assert_eq!(blocks(Duration::from_millis(1), Duration::from_secs(1)), 1);
        assert_eq!(parse_coins("1.5"), Ok(U256::from(1_500_000_000_000_000_000u64)));
        for text in ["0", "0.5", "1000", "0.000000000000000001"] {
            assert_eq!(parse_coins(text).map(coins), Ok(text.to_owned()));
        }
        for bad in ["", "-1", "x", "1.0000000000000000001"] {
            assert!(parse_coins(bad).is_err(), "{bad}");
        }
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
