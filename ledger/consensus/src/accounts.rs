//! Accounts of senders as the last final block left them: read from the state once, and from then on
//! kept true by what final blocks write. So a sender's second transaction costs no question to the state.
//!
//! * All of them are of one height, the last that [`Accounts::finalized`] was told of. What was read at
//!   another is not taken, and a height left out forgets all.
//! * Two generations, of which the older goes when the younger is full.

use alloy_primitives::Address;
use execution::Account;
use std::collections::BTreeMap;

/// Most accounts of one generation: as many as the pool holds transactions.
const GENERATION: usize = 16_384;

/// What is known of senders after the final block at one height.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// Nothing before the first block.
    height: Option<u64>,
    young: BTreeMap<Address, Account>,
    old: BTreeMap<Address, Account>,
}

impl Accounts {
    /// The account, if it is known, and the height after which it is so.
    pub(crate) fn get(&self, address: &Address) -> Option<(Account, u64)> {
        let account = self.young.get(address).or_else(|| self.old.get(address))?;
        Some((*account, self.height?))
    }

    /// Takes an account as it was read after the block at `height`.
    pub(crate) fn insert(&mut self, address: Address, account: Account, height: u64) {
        if self.height != Some(height) {
            return;
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(address, account);
    }

    /// Goes to the next height, whose block left the accounts that it wrote like this.
    pub(crate) fn finalized(&mut self, height: u64, written: &[(Address, Account)]) {
        if self.height.and_then(|last| last.checked_add(1)) != Some(height) {
            (self.young, self.old) = (BTreeMap::new(), BTreeMap::new());
        }
        self.height = Some(height);
        for (address, account) in written {
            for generation in [&mut self.young, &mut self.old] {
                if let Some(known) = generation.get_mut(address) {
                    *known = *account;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(nonce: u64) -> Account {
        Account { nonce, ..Account::default() }
    }

    #[test]
    fn blocks_keep_what_was_read_true() {
        let (mut accounts, [one, two]) = (Accounts::default(), [1, 2].map(Address::repeat_byte));
        accounts.insert(one, account(1), 4);
        assert_eq!(accounts.get(&one), None, "no height is known yet");
        accounts.finalized(5, &[(one, account(1))]);
        assert_eq!(accounts.get(&one), None, "only who was asked for is kept");
        accounts.insert(one, account(1), 5);
        accounts.insert(two, account(7), 4);
        assert_eq!(accounts.get(&one), Some((account(1), 5)));
        assert_eq!(accounts.get(&two), None, "it was read before the last block");
        accounts.insert(two, account(8), 5);
        accounts.finalized(6, &[(two, account(9))]);
        assert_eq!(accounts.get(&one), Some((account(1), 6)));
        assert_eq!(accounts.get(&two), Some((account(9), 6)));
        accounts.finalized(8, &[]);
        assert_eq!(accounts.get(&one), None, "a block was left out");
    }

    #[test]
    fn they_are_bounded_and_an_older_one_is_kept_true_too() {
        let mut accounts = Accounts::default();
        accounts.finalized(1, &[]);
        let address = |n: usize| Address::left_padding_from(&n.to_be_bytes());
        for n in 0..=GENERATION {
            accounts.insert(address(n), account(1), 1);
        }
        accounts.finalized(2, &[(address(3), account(2))]);
        assert_eq!(accounts.get(&address(3)), Some((account(2), 2)));
        for n in GENERATION + 1..=2 * GENERATION {
            accounts.insert(address(n), account(1), 2);
        }
        assert_eq!(accounts.get(&address(3)), None);
        assert!(accounts.young.len() + accounts.old.len() <= 2 * GENERATION);
    }
}
