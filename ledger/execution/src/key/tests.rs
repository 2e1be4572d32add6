use super::*;
use alloy_primitives::{address, keccak256};
use proptest::prelude::*;

/// The hashes are part of the state's format: a change needs a migration.
#[test]
fn key_hashes_are_pinned() {
    let a = address!("0x00000000000000000000000000000000000000aa");
    let tagged = |parts: &[&[u8]]| keccak256(parts.concat()).0;
    assert_eq!(Key::Account(a).hash(), tagged(&[b"wayleave/account", a.as_slice()]));
    assert_eq!(
        Key::Slot(a, U256::from(1)).hash(),
        tagged(&[b"wayleave/slot", a.as_slice(), &U256::from(1).to_be_bytes::<32>()])
    );
    let h = B256::repeat_byte(7);
    assert_eq!(Key::Code(h, 258).hash(), tagged(&[b"wayleave/code", h.as_slice(), &[1, 2]]));
}

#[test]
fn chunk_counts_at_the_edges() {
    for (bytes, chunks) in
        [(0, 1), (1, 1), (68, 1), (69, 2), (140, 2), (141, 3), (CODE_BYTES_MAX, 342)]
    {
        let code = vec![0xab; bytes];
        let writes = code_writes(B256::ZERO, &code).unwrap();
        assert_eq!(writes.len(), chunks, "{bytes} bytes");
        assert_eq!(code_chunks(&writes[0].1).unwrap(), (bytes, u16::try_from(chunks).unwrap()));
    }
    assert!(code_writes(B256::ZERO, &vec![0; CODE_BYTES_MAX + 1]).is_err());
}

#[test]
fn bad_chunks_are_refused() {
    assert_eq!(join_code(&[]), Err(ValueError::ChunkMissing(0)));
    let writes = code_writes(B256::ZERO, &[1; 200]).unwrap();
    let values: Vec<Value> = writes.into_iter().map(|(_, v)| v).collect();
    assert_eq!(join_code(&values[..2]), Err(ValueError::ChunkMissing(2)));
    assert_eq!(join_code(&[[0xff; VALUE_BYTES]]), Err(ValueError::TooLong(u32::MAX)));
}

proptest! {
    #[test]
    fn accounts_round_trip(balance: [u8; 32], nonce: u64, hash: [u8; 32]) {
        let account = Account {
            balance: U256::from_be_bytes(balance), nonce, code_hash: B256::from(hash),
        };
        prop_assert_eq!(Account::decode(&account.encode()), account);
    }

    #[test]
    fn slots_round_trip(word: [u8; 32]) {
        let word = U256::from_be_bytes(word);
        prop_assert_eq!(slot_value(word).map_or(U256::ZERO, |v| slot(&v)), word);
    }

    #[test]
    fn code_round_trips(code in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let writes = code_writes(keccak256(&code), &code).unwrap();
        let values: Vec<Value> = writes.into_iter().map(|(_, v)| v).collect();
        prop_assert_eq!(join_code(&values).unwrap(), code);
    }
}
