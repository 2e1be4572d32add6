//! The state as one execution sees it: what was loaded, what was changed, what is too much.
//!
//! Invariants:
//! * a key is asked of the store at most once for the transactions that stay in the block, and what was
//!   asked for before anybody wanted it does not count among the loads ([`State::expect`]);
//! * what a discarded transaction loaded is forgotten, so that a block's loads do not depend on the
//!   candidates its proposer threw away; what a transaction that stays in the block as failed had
//!   loaded is forgotten too, and counts ([`State::waste`]);
//! * after a fault nothing of the transaction is committed.

use crate::{
    env::BLOCK_LOADS_MAX,
    key::{Account, Key, Value, ValueError, code_chunks, code_writes, join_code, slot, slot_value},
    patience::Patience,
    suspend::{Closed, Loader},
};
use alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS;
use alloy_primitives::{Address, B256, Bytes, U256};
use revm::{
    Database,
    bytecode::Bytecode,
    context::DBErrorMarker,
    state::{AccountInfo, EvmState},
};
use std::collections::{BTreeMap, BTreeSet};

/// Values one transaction may load: all the slots its gas can buy, and as much again of code.
pub(crate) const TX_LOADS_MAX: usize = 16_384;

/// Parent hashes kept in state (EIP-2935).
const HISTORY_WINDOW: u64 = 8_191;

/// Why the machine could not be given a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The caller is gone, or its store failed.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The transaction loads more than [`TX_LOADS_MAX`] values.
    #[error("the transaction reads more than {TX_LOADS_MAX} values")]
    TxLoads,
    /// The block's transactions would load more than [`BLOCK_LOADS_MAX`] values.
    #[error("the block reads more than {BLOCK_LOADS_MAX} values")]
    BlockLoads,
    /// The patience for this execution is over.
    #[error("there is no time left to execute it")]
    Late,
    /// The store holds something that is not a contract's code.
    #[error("the stored code is damaged: {0}")]
    Code(#[from] ValueError),
}

impl DBErrorMarker for Fault {}

/// Changes of a block, their undoing, and how many values were read for them.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) writes: BTreeMap<Key, Option<Value>>,
    pub(crate) undo: BTreeMap<Key, Option<Value>>,
    pub(crate) loads: u64,
}

/// The machine's database.
#[derive(Debug)]
pub(crate) struct State {
    loader: Loader,
    patience: Patience,
    /// Values as the store has them.
    loaded: BTreeMap<Key, Option<Value>>,
    /// Values read before they are wanted. They count for nothing until then.
    expected: BTreeMap<Key, Option<Value>>,
    /// Values as the transactions so far left them.
    written: BTreeMap<Key, Option<Value>>,
    /// Codes, ready to run.
    codes: BTreeMap<B256, Bytecode>,
    /// What the running transaction has loaded.
    fresh: Vec<Key>,
    /// How many values were loaded for nothing by transactions that stay in the block as failed.
    wasted: usize,
    /// The first thing that went wrong in the running transaction.
    fault: Option<Fault>,
}

impl State {
    pub(crate) fn new(loader: Loader, patience: Patience) -> Self {
        Self {
            loader,
            patience,
            loaded: BTreeMap::new(),
            expected: BTreeMap::new(),
            written: BTreeMap::new(),
            codes: BTreeMap::new(),
            fresh: Vec::new(),
            wasted: 0,
            fault: None,
        }
    }

    /// The account as it is now.
    pub(crate) fn account(&mut self, address: Address) -> Result<Account, Fault> {
        let value = self.value(Key::Account(address))?;
        Ok(value.map_or_else(Account::default, |value| Account::decode(&value)))
    }

    /// A slot of a contract as it is now.
    pub(crate) fn slot(&mut self, contract: Address, index: U256) -> Result<U256, Fault> {
        let value = self.value(Key::Slot(contract, index))?;
        Ok(value.map_or(U256::ZERO, |value| slot(&value)))
    }

    /// Writes a slot outside any transaction.
    pub(crate) fn set_slot(&mut self, contract: Address, index: U256, word: U256) {
        self.written.insert(Key::Slot(contract, index), slot_value(word));
    }

    /// What was loaded so far stays loaded, whatever becomes of the next transaction.
    pub(crate) fn keep_loads(&mut self) {
        self.fresh.clear();
    }

    /// From now on the execution ends with `patience`.
    pub(crate) fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Keeps the parent's hash where `BLOCKHASH` and contracts find it (EIP-2935).
    pub(crate) fn record_parent(&mut self, number: u64, parent_hash: B256) {
        if let Some(parent) = number.checked_sub(1) {
            let word = U256::from_be_bytes::<32>(parent_hash.0);
            self.written.insert(history(parent), slot_value(word));
        }
    }

    /// What went wrong since the last commit or discard.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Takes over what a transaction left.
    pub(crate) fn commit(&mut self, changes: EvmState) -> Result<(), Fault> {
        self.fresh.clear();
        // An ordered copy: what follows must not depend on the order of a hash table.
        let changes: BTreeMap<_, _> = changes.into_iter().collect();
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            if account.is_selfdestructed() {
                // Since Cancun only a contract made in the same transaction goes, and its storage was
                // never written.
                self.written.insert(Key::Account(address), None);
                continue;
            }
            for (index, word) in account.changed_storage_slots() {
                self.written.insert(Key::Slot(address, *index), slot_value(word.present_value()));
            }
            let info = &account.info;
            let record =
                Account { balance: info.balance, nonce: info.nonce, code_hash: info.code_hash };
            if let Some(code) = info.code.as_ref().filter(|_| record.has_code()) {
                self.keep_code(record.code_hash, code)?;
            }
            // EIP-161: an empty account is an absent one.
            let value = (!record.is_empty()).then(|| record.encode());
            self.written.insert(Key::Account(address), value);
        }
        Ok(())
    }

    fn keep_code(&mut self, hash: B256, code: &Bytecode) -> Result<(), Fault> {
        if self.codes.contains_key(&hash) {
            return Ok(());
        }
        for (key, value) in code_writes(hash, code.original_byte_slice())? {
            self.written.insert(key, Some(value));
        }
        self.codes.insert(hash, code.clone());
        Ok(())
    }

    /// Forgets the running transaction, its loads included.
    pub(crate) fn discard(&mut self) {
        self.fault = None;
        for key in self.fresh.drain(..) {
            self.loaded.remove(&key);
            if let Key::Code(hash, 0) = key {
                self.codes.remove(&hash);
            }
        }
    }

    /// As [`State::discard`], and what was loaded counts for the block. Gives the count before, for
    /// [`State::unwaste`].
    pub(crate) fn waste(&mut self) -> usize {
        let before = self.wasted;
        self.wasted += self.fresh.len();
        self.discard();
        before
    }

    /// Takes back the last [`State::waste`]: its transaction does not stay in the block.
    pub(crate) fn unwaste(&mut self, before: usize) {
        self.wasted = before;
    }

    /// Whether there is no time left.
    pub(crate) fn is_late(&self) -> bool {
        self.patience.is_over()
    }

    /// Ends the block: its changes, and their undoing.
    pub(crate) fn finish(self) -> Result<Changes, Fault> {
        let Self { loader, mut loaded, written, wasted, .. } = self;
        let unknown: Vec<Key> =
            written.keys().filter(|key| !loaded.contains_key(key)).copied().collect();
        if !unknown.is_empty() {
            loaded.extend(unknown.iter().copied().zip(loader.load(unknown.clone())?));
        }
        let mut changes = Changes {
            writes: BTreeMap::new(),
            undo: BTreeMap::new(),
            loads: u64::try_from(loaded.len() + wasted).unwrap_or(u64::MAX),
        };
        for (key, value) in written {
            let before = loaded.get(&key).copied().flatten();
            if before != value {
                changes.writes.insert(key, value);
                changes.undo.insert(key, before);
            }
        }
        Ok(changes)
    }

    /// Reads what will be wanted, in one question. What was expected before and not wanted is forgotten.
    pub(crate) fn expect(&mut self, keys: BTreeSet<Key>) -> Result<(), Fault> {
        let known = |key: &Key| self.written.contains_key(key) || self.loaded.contains_key(key);
        let keys: Vec<Key> = keys.into_iter().filter(|key| !known(key)).collect();
        self.expected.clear();
        if !keys.is_empty() {
            let values = self.loader.load(keys.clone())?;
            self.expected.extend(keys.into_iter().zip(values));
        }
        Ok(())
    }

    /// The value of a key as it is now.
    fn value(&mut self, key: Key) -> Result<Option<Value>, Fault> {
        if let Some(value) = self.written.get(&key).or_else(|| self.loaded.get(&key)) {
            return Ok(*value);
        }
        let values = self.load(vec![key])?;
        Ok(values.first().copied().flatten())
    }

    /// Asks the store, within the limits.
    fn load(&mut self, keys: Vec<Key>) -> Result<Vec<Option<Value>>, Fault> {
        let fault = |state: &mut Self, fault: Fault| {
            state.fault.get_or_insert(fault);
            fault
        };
        if self.fresh.len() + keys.len() > TX_LOADS_MAX {
            return Err(fault(self, Fault::TxLoads));
        }
        let loads = self.loaded.len() + self.wasted + keys.len();
        if u64::try_from(loads).unwrap_or(u64::MAX) > BLOCK_LOADS_MAX {
            return Err(fault(self, Fault::BlockLoads));
        }
        if self.is_late() {
            return Err(fault(self, Fault::Late));
        }
        let unknown: Vec<Key> =
            keys.iter().filter(|key| !self.expected.contains_key(key)).copied().collect();
        if !unknown.is_empty() {
            match self.loader.load(unknown.clone()) {
                Ok(values) => self.expected.extend(unknown.into_iter().zip(values)),
                Err(closed) => return Err(fault(self, closed.into())),
            }
        }
        let values: Vec<_> = keys.iter().map(|key| self.expected.remove(key).flatten()).collect();
        self.loaded.extend(keys.iter().copied().zip(values.iter().copied()));
        self.fresh.extend(keys);
        Ok(values)
    }

    fn read_code(&mut self, hash: B256) -> Result<Bytecode, Fault> {
        let first = self.value(Key::Code(hash, 0))?.ok_or(ValueError::ChunkMissing(0))?;
        let (_, count) = code_chunks(&first)?;
        let mut chunks = vec![first];
        if count > 1 {
            let keys = (1..count).map(|chunk| Key::Code(hash, chunk)).collect();
            for (chunk, value) in (1..).zip(self.load(keys)?) {
                chunks.push(value.ok_or(ValueError::ChunkMissing(chunk))?);
            }
        }
        let code = Bytes::from(join_code(&chunks)?);
        Ok(Bytecode::new_raw_checked(code).map_err(|_| ValueError::NotCode)?)
    }
}

/// Where the hash of block `number` is kept.
fn history(number: u64) -> Key {
    Key::Slot(HISTORY_STORAGE_ADDRESS, U256::from(number % HISTORY_WINDOW))
}

impl Database for State {
    type Error = Fault;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Fault> {
        let value = self.value(Key::Account(address))?;
        Ok(value.map(|value| {
            let Account { balance, nonce, code_hash } = Account::decode(&value);
            AccountInfo { balance, nonce, code_hash, code: None, ..AccountInfo::default() }
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Fault> {
        if let Some(code) = self.codes.get(&hash) {
            return Ok(code.clone());
        }
        let code = self.read_code(hash).inspect_err(|fault| {
            self.fault.get_or_insert(*fault);
        })?;
        self.codes.insert(hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, Fault> {
        self.slot(address, index)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Fault> {
        let value = self.value(history(number))?;
        Ok(value.map_or(B256::ZERO, |value| B256::from(slot(&value))))
    }
}
