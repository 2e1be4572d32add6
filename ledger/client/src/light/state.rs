//! Proven views: the native contract, run here over slots that are proven (design 5).
//!
//! An endpoint answers a view with the proofs of all that the view reads. [`State`] checks each against the
//! state root of a certified header and then runs the *same contract* (crate `contracts`) over these values
//! alone. What it returns is this machine's own result: an endpoint can refuse to answer, and nothing
//! else. So every view of every system contract is proven by one mechanism, and so are reverts.
//!
//! A view that reads what was not proven ends as [`LightError::WithheldSlot`]. More proofs than
//! [`PROOFS_MAX`] in one answer are refused before they are checked.
//!
//! A slot's proof has about 600 bytes, twice that and some in JSON. Measured in the dev profile on 2 shared
//! cores, node and client in one process (`cargo test -p client measured -- --nocapture`):
//!
//! | view | answers | slots | bytes of JSON | time |
//! |---|---|---|---|---|
//! | one device's record | 1 | 7 | 12,100 | 9 ms |
//! | an account's purse | 4 | 4 and an account | 13,400 | 21 ms |
//! | a roster of 100 devices | 7 | 803 | 1,068,000 | 164 ms |

use super::{Account, Certified, LightError, account_key, proof, slot_key, verify_value};
use alloy_primitives::{Address, Bytes, U256};
use contracts::{
    Failure, Fault, is_system,
    view::{At, Held, Lookup, VIEW_GAS, view},
};
use std::collections::BTreeMap;

/// The most proofs of one answer: what a node reads for one question, and some accounts.
pub const PROOFS_MAX: usize = 8_192;

/// Accounts and slots that are proven for one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    header: Certified,
    accounts: BTreeMap<Address, Account>,
    slots: BTreeMap<(Address, U256), U256>,
}

impl State {
    /// Nothing yet, of the state after `header`.
    pub const fn new(header: Certified) -> Self {
        Self { header, accounts: BTreeMap::new(), slots: BTreeMap::new() }
    }

    /// The header whose state it is.
    pub const fn header(&self) -> &Certified {
        &self.header
    }

    /// Takes an account if its proof holds; one that is proven to be absent is empty.
    ///
    /// # Errors
    /// [`LightError::Proof`] when it does not, [`LightError::Excess`] when there are too many.
    pub fn prove_account(&mut self, account: Address, proof: &[u8]) -> Result<(), LightError> {
        self.room()?;
        let value = verify_value(self.header.state_root, account_key(account), proof)?;
        self.accounts.insert(account, value.as_ref().map(Account::read).unwrap_or_default());
        Ok(())
    }

    /// Takes a slot if its proof holds; one that is proven to be absent is zero.
    ///
    /// # Errors
    /// As [`State::prove_account`].
    pub fn prove_slot(
        &mut self,
        contract: Address,
        slot: U256,
        proof: &[u8],
    ) -> Result<(), LightError> {
        self.room()?;
        let value = verify_value(self.header.state_root, slot_key(contract, slot), proof)?;
        let value = value.map_or(U256::ZERO, |value| proof::slot(&value));
        self.slots.insert((contract, slot), value);
        Ok(())
    }

    fn room(&self) -> Result<(), LightError> {
        let count = self.accounts.len() + self.slots.len();
        if count < PROOFS_MAX { Ok(()) } else { Err(LightError::Excess(count)) }
    }

    /// What an account holds.
    ///
    /// # Errors
    /// [`LightError::WithheldAccount`] when that is not proven.
    pub fn account(&self, account: Address) -> Result<Account, LightError> {
        self.accounts.get(&account).copied().ok_or(LightError::WithheldAccount(account))
    }

    /// What a slot holds.
    ///
    /// # Errors
    /// [`LightError::WithheldSlot`] when that is not proven.
    pub fn slot(&self, contract: Address, slot: U256) -> Result<U256, LightError> {
        let value = self.slots.get(&(contract, slot)).copied();
        value.ok_or(LightError::WithheldSlot { contract, slot })
    }

    /// Runs a view of a system contract; the data of a revert if it reverts.
    ///
    /// # Errors
    /// When it reads what is not proven, or cannot be run.
    pub fn view(
        &self,
        contract: Address,
        input: &[u8],
    ) -> Result<Result<Bytes, Bytes>, LightError> {
        if !is_system(contract) {
            return Err(LightError::Foreign(contract));
        }
        let at = At {
            chain_id: self.header.chain_id,
            height: self.header.height.0,
            timestamp: self.header.time_ms / 1000,
        };
        let mut looked = Looked { state: self, missing: None };
        match view(&mut looked, (at, &mut { VIEW_GAS }), contract, input) {
            Ok(output) => Ok(Ok(output.into())),
            Err(Failure::Revert(data)) => Ok(Err(data)),
            Err(Failure::Fault(fault)) => {
                Err(looked.missing.unwrap_or_else(|| LightError::View(fault.to_string())))
            }
        }
    }
}

/// The proven values, and the first that was missed.
struct Looked<'a> {
    state: &'a State,
    missing: Option<LightError>,
}

impl Looked<'_> {
    fn found<T>(&mut self, found: Result<T, LightError>) -> Result<T, Fault> {
        found.map_err(|missing| {
            let fault = Fault::Storage(missing.to_string());
            self.missing.get_or_insert(missing);
            fault
        })
    }
}

impl Lookup for Looked<'_> {
    fn slot(&mut self, contract: Address, slot: U256) -> Result<U256, Fault> {
        self.found(self.state.slot(contract, slot))
    }

    fn account(&mut self, account: Address) -> Result<Held, Fault> {
        let account = self.found(self.state.account(account))?;
        let none = Account::default().code_hash;
        let has_code = account.code_hash != none && !account.code_hash.is_zero();
        Ok(Held { coin: account.balance, has_code })
    }
}
