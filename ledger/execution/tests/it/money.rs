//! Coins are conserved: what leaves is what was burned.

use crate::support::*;
use alloy_primitives::{Address, TxKind, U256};
use execution::{Account, Key};
use proptest::prelude::*;

fn supply(chain: &Chain) -> U256 {
    let accounts = chain.store.0.iter().filter(|(key, _)| matches!(key, Key::Account(_)));
    accounts.map(|(_, value)| Account::decode(value).balance).sum()
}

/// One transaction: sender, receiver, thousandths of a coin, gas limit.
type Step = (u8, u8, u64, u64);

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = (1..=4_u8, 0..=8_u8, 0..400_000_u64, 21_000..90_000_u64);
    proptest::collection::vec(proptest::collection::vec(step, 0..8), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn supply_falls_by_exactly_what_is_burned(blocks in steps()) {
        let mut chain = Chain::new();
        // Receivers 5 to 8: an unknown account, one that reverts, one that keeps, one that passes on.
        chain.install(Address::repeat_byte(6), &Asm::new().push(0).push(0).op(&[op::REVERT]).0);
        chain.install(Address::repeat_byte(7), &Asm::new().push(1).push(1).op(&[op::SSTORE]).0);
        let pass = Asm::new().push(0).push(0).push(0).push(0).op(&[0x34]).push_address(Address::repeat_byte(5));
        chain.install(Address::repeat_byte(8), &pass.op(&[op::GAS, op::CALL, op::POP]).0);
        for block in blocks {
            let before = (supply(&chain), chain.store.clone());
            let mut nonces = [0; 5];
            let mut candidates = Vec::new();
            for (from, to, thousandths, gas) in block {
                let mut user = User::new(from);
                user.nonce = chain.nonce(user.address()) + nonces[usize::from(from)];
                nonces[usize::from(from)] += 1;
                let receiver = match to {
                    0 => BENEFICIARY,
                    1..=4 => User::new(to).address(),
                    _ => Address::repeat_byte(to),
                };
                let value = U256::from(thousandths) * U256::from(10).pow(U256::from(15));
                candidates.push(user.send(TxKind::Call(receiver), value, gas, []));
            }
            let proposal = chain.propose(&candidates);
            let chosen: Vec<_> = proposal.included.iter().map(|i| candidates[*i].clone()).collect();
            let outcome = chain.run(&chosen);
            prop_assert_eq!(&outcome, &proposal.outcome);
            prop_assert_eq!(supply(&chain) + outcome.burned, before.0);
            let mut back = chain.store.clone();
            back.apply(&outcome.undo);
            prop_assert_eq!(back, before.1);
        }
    }
}
