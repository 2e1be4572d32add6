use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    alloy_primitives::hex::decode(text).unwrap()
}

#[test]
fn accepts_the_deterministic_subset() {
    for good in [
        "00",
        "17",
        "1818",
        "190100",
        "1a00010000",
        "1b0000000100000000",
        "3903e7",
        "40",
        "43010203",
        "63616263",
        "80",
        "83010203",
        "a0",
        "a201020304",
        "f4",
        "f5",
        "f6",
        "a10140",
    ] {
        assert_eq!(check(&hex(good)), Ok(()), "{good}");
    }
}

#[test]
fn names_what_is_wrong() {
    for (bad, error) in [
        ("", CheckError::Truncated),
        ("1817", CheckError::LongHead),
        ("1900ff", CheckError::LongHead),
        ("1a0000ffff", CheckError::LongHead),
        ("1b00000000ffffffff", CheckError::LongHead),
        ("5803010203", CheckError::LongHead),
        ("5f4101ff", CheckError::Indefinite),
        ("9f01ff", CheckError::Indefinite),
        ("a203040102", CheckError::MapOrder),
        ("a201020103", CheckError::MapOrder),
        ("c000", CheckError::Forbidden),
        ("f90000", CheckError::Forbidden),
        ("fb3ff0000000000000", CheckError::Forbidden),
        ("f7", CheckError::Forbidden),
        ("f814", CheckError::Forbidden),
        ("1c", CheckError::Forbidden),
        ("4201", CheckError::Truncated),
        ("8201", CheckError::Truncated),
        ("9bffffffffffffffff", CheckError::Truncated),
        ("5bffffffffffffffff", CheckError::Truncated),
        ("62ff00", CheckError::Text),
        ("0000", CheckError::Trailing(1)),
    ] {
        assert_eq!(check(&hex(bad)), Err(error), "{bad}");
    }
    let deep = [vec![0x81; DEPTH_MAX + 1], vec![0]].concat();
    assert_eq!(check(&deep), Err(CheckError::Depth));
    assert_eq!(check(&deep[1..]), Ok(()));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if check(&bytes).is_ok() {
            // What passes is one well-formed item to an independent reader too.
            let mut reader = minicbor::Decoder::new(&bytes);
            prop_assert!(reader.skip().is_ok());
            prop_assert_eq!(reader.position(), bytes.len());
        }
    }

    #[test]
    fn what_we_encode_passes(value: (u64, i64, Vec<u8>, String, bool, Option<u32>)) {
        let value = (value.0, value.1, minicbor::bytes::ByteVec::from(value.2), value.3, value.4, value.5);
        prop_assert_eq!(check(&to_vec(&value)), Ok(()));
    }
}
