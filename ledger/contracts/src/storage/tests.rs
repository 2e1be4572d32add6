//! Layout by Solidity's rules, and values that come back as they were stored.

use super::{List, Map, Place as _, Record as _, Slot, Text, Word as _, record};
use crate::context::Context;
use crate::env::{Env as _, Failure, Fault};
use crate::testing::Memory;
use alloy_primitives::{Address, B256, U256, keccak256, uint};
use proptest::prelude::*;

const HERE: Address = Address::repeat_byte(7);

record! {
    /// Fields of all sorts.
    struct Sample {
        { small: u8, wide: u128, flag: bool }
        { owner: Address, number: u64 }
        { whole: U256 }
    }
}

fn slot(number: u64) -> U256 {
    U256::from(number)
}

fn hash(words: &[U256]) -> U256 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect();
    keccak256(bytes).into()
}

#[test]
fn records_pack_from_the_low_end() {
    let sample = Sample {
        small: 0xab,
        wide: 0x1122,
        flag: true,
        owner: Address::repeat_byte(0xcd),
        number: 5,
        whole: U256::MAX,
    };
    let words = sample.to_words();
    // solc packs { uint8; uint128; bool } and { address; uint64 } in this way.
    assert_eq!(words[0], uint!(0x01_00000000000000000000000000001122_ab_U256));
    assert_eq!(words[1], (U256::from(5) << 160) | Address::repeat_byte(0xcd).to_word());
    assert_eq!(words[2], U256::MAX);
    assert_eq!(Sample::from_words(&words), Some(sample));
    assert_eq!(Sample::from_words(&words[..2]), None);
}

#[test]
fn maps_and_lists_stand_where_solidity_puts_them() {
    let mut memory = Memory::new(1);
    let mut cx = Context::new(&mut memory, Address::ZERO, false);
    let map: Map<u64, Slot<U256>> = Map::at(HERE, slot(3));
    map.set(&mut cx, 9, &U256::from(42)).unwrap();
    let nested: Map<Address, Map<u64, Slot<B256>>> = Map::at(HERE, slot(4));
    nested.set2(&mut cx, HERE, 1, &B256::repeat_byte(1)).unwrap();
    let list: List<Sample> = List::at(HERE, slot(5));
    let sample = Sample::from_words(&[U256::ZERO, U256::ZERO, U256::from(6)]).unwrap();
    list.push(&mut cx, &sample).unwrap();
    list.push(&mut cx, &sample).unwrap();

    assert_eq!(memory.load(HERE, hash(&[slot(9), slot(3)])), Ok(U256::from(42)));
    let inner = hash(&[HERE.to_word(), slot(4)]);
    let value = memory.load(HERE, hash(&[slot(1), inner])).unwrap();
    assert_eq!(B256::from(value), B256::repeat_byte(1));
    assert_eq!(memory.load(HERE, slot(5)), Ok(U256::from(2)));
    assert_eq!(memory.load(HERE, hash(&[slot(5)]) + U256::from(5)), Ok(U256::from(6)));
}

#[test]
fn a_value_that_does_not_fit_is_a_fault() {
    let mut memory = Memory::new(1);
    memory.store(HERE, slot(0), U256::MAX).unwrap();
    let mut cx = Context::new(&mut memory, Address::ZERO, false);
    let is_fault = |failure| matches!(failure, Failure::Fault(Fault::Storage(_)));
    assert!(is_fault(Slot::<u64>::at(HERE, slot(0)).get(&mut cx).unwrap_err()));
    assert!(is_fault(Slot::<bool>::at(HERE, slot(0)).get(&mut cx).unwrap_err()));
    assert!(is_fault(Slot::<Address>::at(HERE, slot(0)).get(&mut cx).unwrap_err()));
    assert!(is_fault(Text::at(HERE, slot(0)).get(&mut cx).unwrap_err()));
}

#[test]
fn texts_have_soliditys_two_forms() {
    let mut memory = Memory::new(1);
    let mut cx = Context::new(&mut memory, Address::ZERO, false);
    Text::at(HERE, slot(0)).set(&mut cx, b"abc").unwrap();
    Text::at(HERE, slot(1)).set(&mut cx, &[0x11; 33]).unwrap();
    let mut short = [0; 32];
    short[..3].copy_from_slice(b"abc");
    short[31] = 6;
    assert_eq!(memory.load(HERE, slot(0)), Ok(U256::from_be_bytes(short)));
    assert_eq!(memory.load(HERE, slot(1)), Ok(U256::from(67)));
    let second = memory.load(HERE, hash(&[slot(1)]) + U256::ONE).unwrap();
    assert_eq!(second, U256::from(0x11) << 248);
}

proptest! {
    #[test]
    fn a_text_comes_back_and_leaves_no_rest(
        texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6),
    ) {
        let mut memory = Memory::new(1);
        for text in &texts {
            let mut cx = Context::new(&mut memory, Address::ZERO, false);
            let place = Text::at(HERE, slot(2));
            place.set(&mut cx, text).unwrap();
            prop_assert_eq!(&place.get(&mut cx).unwrap(), text);
            let used = if text.len() < 32 { 0 } else { text.len().div_ceil(32) };
            for chunk in used..8 {
                let beyond = hash(&[slot(2)]) + U256::from(chunk);
                prop_assert_eq!(memory.load(HERE, beyond), Ok(U256::ZERO));
            }
        }
    }

    #[test]
    fn a_list_is_a_vector(ops in proptest::collection::vec((any::<bool>(), any::<u64>()), 1..60)) {
        let mut memory = Memory::new(1);
        let mut cx = Context::new(&mut memory, Address::ZERO, false);
        let list: List<u64> = List::at(HERE, slot(0));
        let mut model = Vec::new();
        for (push, number) in ops {
            if push || model.is_empty() {
                prop_assert_eq!(list.push(&mut cx, &number).unwrap(), u64::try_from(model.len()).unwrap());
                model.push(number);
            } else {
                let index = usize::try_from(number).unwrap() % model.len();
                let moved = list.swap_remove(&mut cx, u64::try_from(index).unwrap()).unwrap();
                model.swap_remove(index);
                prop_assert_eq!(moved, model.get(index).copied());
            }
            prop_assert_eq!(list.len(&mut cx).unwrap(), u64::try_from(model.len()).unwrap());
            for (index, value) in model.iter().enumerate() {
                let at = u64::try_from(index).unwrap();
                prop_assert_eq!(list.get(&mut cx, at).unwrap(), Some(*value));
            }
            let end = u64::try_from(model.len()).unwrap();
            prop_assert_eq!(list.get(&mut cx, end).unwrap(), None);
            prop_assert!(list.swap_remove(&mut cx, end).is_err());
        }
    }
}
