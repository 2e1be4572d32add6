//! Names of errors.

use super::*;
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolError as _;
use contracts::abi;
use proptest::prelude::*;

#[test]
fn errors_of_contracts_have_their_names_and_fields() {
    let error = abi::IToken::ERC20InsufficientBalance {
        sender: Address::ZERO,
        balance: U256::from(1),
        needed: U256::from(2),
    };
    let revert = Revert::decode(error.abi_encode().into());
    assert_eq!(revert.name(), "ERC20InsufficientBalance");
    assert!(revert.detail().ends_with("balance: 1, needed: 2 }"), "{revert}");
    assert!(revert.is::<abi::IToken::ERC20InsufficientBalance>());
    assert_eq!(
        revert.as_error::<abi::IToken::ITokenErrors>(),
        Some(abi::IToken::ITokenErrors::ERC20InsufficientBalance(error))
    );
}

#[test]
fn solidity_errors_are_read() {
    let text = alloy_sol_types::Revert::from("no such thing").abi_encode();
    let revert = Revert::decode(text.into());
    assert_eq!((revert.name(), revert.detail()), ("Error", "no such thing"));
    let panic = alloy_sol_types::Panic::from(0x11).abi_encode();
    assert_eq!(Revert::decode(panic.into()).name(), "Panic");
}

#[test]
fn what_nobody_knows_is_shown_as_it_is() {
    assert_eq!(Revert::decode(Bytes::new()).name(), "OutOfGas");
    let revert = Revert::decode(Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef]));
    assert_eq!(revert.name(), "Unknown");
    assert!(revert.detail().contains("0xdeadbeef"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        prop_assert!(!Revert::decode(bytes.into()).name().is_empty());
    }
}
