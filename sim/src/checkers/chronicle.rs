//! The one chain: what any honest machine ever said was final, compared and executed again.
//!
//! Committees are read from that state, not from what the engine made of it.
//!
//! For every height: all machines name the same block with the same receipts; it keeps the rules of headers;
//! executed again on the state of its parent it makes the state its header names; coins are those of genesis
//! less what was burned; every contract's invariants hold. For every machine: heights come one after the
//! other, and what it said once it says after every restart.

use super::{Broken, header};
use alloy_primitives::{Address, B256, FixedBytes, LogData, U256};
use alloy_sol_types::SolCall;
use commonware_runtime::deterministic::Context;
use consensus::{
    Block, Committee, Finalized, Genesis, Header, Ledger, Validator,
    simulation::{Replay, ReplayError},
};
use contracts::{
    Call, Env, Fault,
    abi::IValidators::{Seat, committeeCall},
    address::VALIDATORS,
    check_invariants,
};
use execution::{Account, Key, MemoryStore};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The chain and what is known of it.
#[expect(missing_debug_implementations, reason = "a database has none")]
pub struct Chronicle {
    genesis: Genesis,
    replay: Replay<Context>,
    first: Header,
    blocks: Vec<Arc<Finalized>>,
    state: MemoryStore,
    supply: U256,
    accounts: BTreeSet<Address>,
    places: BTreeMap<B256, u64>,
    committees: BTreeMap<u64, Committee>,
    /// Transactions and blobs carried.
    carried: (u64, u64),
}

impl Chronicle {
    /// The chain that begins with a genesis; `accounts` are all that ever take part.
    ///
    /// # Errors
    /// The genesis is no good.
    pub async fn begin(
        context: &Context,
        genesis: Genesis,
        accounts: BTreeSet<Address>,
    ) -> Result<Self, ReplayError> {
        let (replay, block): (_, Block) = Replay::begin(context, "chronicle", &genesis).await?;
        let values = execution::genesis(&execution::Genesis {
            coins: genesis.allocations.clone(),
            contracts: genesis.contracts.clone(),
        });
        let supply = genesis.allocations.values().fold(U256::ZERO, |sum, coins| sum + *coins);
        Ok(Self {
            genesis,
            replay,
            first: block.header().clone(),
            blocks: Vec::new(),
            state: MemoryStore(values),
            supply,
            accounts,
            places: BTreeMap::new(),
            committees: BTreeMap::new(),
            carried: (0, 0),
        })
    }

    /// The digest of the genesis block.
    pub fn name(&self) -> B256 {
        self.first.digest()
    }

    /// The highest height that is known to be final.
    pub fn height(&self) -> u64 {
        u64::try_from(self.blocks.len()).unwrap_or(u64::MAX)
    }

    /// The final blocks above a height.
    pub fn above(&self, height: u64) -> &[Arc<Finalized>] {
        usize::try_from(height).ok().and_then(|from| self.blocks.get(from..)).unwrap_or_default()
    }

    /// Transactions and blobs in all blocks.
    pub const fn carried(&self) -> (u64, u64) {
        self.carried
    }

    /// The committee of the running term or of the next, from the highest state.
    ///
    /// # Errors
    /// The state knows none.
    pub fn committee(&mut self, term: u64) -> Result<&Committee, Broken> {
        if !self.committees.contains_key(&term) {
            let seats = self.ask(VALIDATORS, &committeeCall { term })?;
            let validators: Vec<Validator> = seats.iter().map(seat).collect();
            let committee = Committee::new(&validators);
            let committee =
                committee.map_err(|error| Broken(format!("committee of term {term}: {error}")))?;
            self.committees.insert(term, committee);
        }
        Ok(&self.committees[&term])
    }

    /// What a contract answers to a question, by the highest state.
    ///
    /// # Errors
    /// It answers none.
    pub fn ask<C: SolCall>(&self, contract: Address, question: &C) -> Result<C::Return, Broken> {
        let mut view = View { state: &self.state, header: self.header(self.height()) };
        let input = question.abi_encode();
        let call = Call {
            contract,
            caller: Address::ZERO,
            value: U256::ZERO,
            input: &input,
            is_static: true,
            is_direct: true,
        };
        let answer = contracts::call(&mut view, &call);
        let answer = answer.map_err(|failure| Broken(format!("{}: {failure}", C::SIGNATURE)))?;
        C::abi_decode_returns(&answer).map_err(Broken::new)
    }

    /// Checks who proposed a block and whom it names, on the state that it made.
    fn seats(&mut self, header: &Header) -> Result<(), Broken> {
        let (height, length) = (header.height, self.genesis.term_length);
        let named = self.committee((height + 1) / length)?.digest();
        if header.committee != named {
            return Err(Broken(format!("block {height} names another committee")));
        }
        let proposer = header.proposer.as_ref();
        let running = self.committee(height / length)?;
        if running.validators().all(|seat| seat.key.as_slice() != proposer) {
            return Err(Broken(format!("the proposer of block {height} has no seat")));
        }
        Ok(())
    }

    /// The height of the block that holds a transaction.
    pub fn place(&self, transaction: B256) -> Option<u64> {
        self.places.get(&transaction).copied()
    }

    /// The nonce that an account's next transaction has in the highest state.
    pub fn nonce(&self, account: Address) -> u64 {
        let value = self.state.0.get(&Key::Account(account));
        value.map_or(0, |value| Account::decode(value).nonce)
    }

    fn header(&self, height: u64) -> Option<&Header> {
        match height.checked_sub(1).map(usize::try_from) {
            None => Some(&self.first),
            Some(index) => self.blocks.get(index.ok()?).map(|block| &block.header),
        }
    }

    /// Compares the header that a machine names at a height with the one that was final there.
    ///
    /// # Errors
    /// It is another, or none where there was one.
    pub fn same(&self, height: u64, named: Option<&Header>) -> Result<(), Broken> {
        let known = self.header(height).map(Header::digest);
        if known == named.map(Header::digest) {
            return Ok(());
        }
        Err(Broken(format!("block {height} was final and is forgotten or another now")))
    }

    /// Takes what a machine says is final.
    ///
    /// # Errors
    /// The promise that is broken.
    pub async fn observe(&mut self, block: &Arc<Finalized>) -> Result<(), Broken> {
        let height = block.header.height;
        if height <= self.height() {
            let known = height.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            let known = known.and_then(|index| self.blocks.get(index));
            return match known {
                Some(known) if known == block => Ok(()),
                Some(known) if known.hash == block.hash => {
                    Err(Broken(format!("block {height} has other contents on another machine")))
                }
                _ => Err(Broken(format!("two blocks are final at height {height}"))),
            };
        }
        let parent = self.header(height - 1).ok_or_else(|| Broken::new("a height is missing"))?;
        header::check(&self.genesis, parent, &block.header)?;
        self.execute(block).await?;
        self.blocks.push(Arc::clone(block));
        self.seats(&block.header)?;
        self.invariants(height)
    }

    /// Compares every account and slot of a machine's state with the highest state here, which was made by
    /// executing all blocks from genesis on.
    ///
    /// # Errors
    /// One is another, or cannot be read.
    pub async fn same_state(&self, ledger: &Ledger) -> Result<(), Broken> {
        let height = self.height();
        for (key, value) in &self.state.0 {
            let same = match key {
                Key::Account(account) => {
                    let held = ledger.account(*account, height).await;
                    held.map_err(Broken::new)? == Account::decode(value)
                }
                Key::Slot(contract, slot) => {
                    let held = ledger.slot(*contract, *slot, height).await;
                    held.map_err(Broken::new)? == execution::slot(value)
                }
                // Its hash is in the account.
                Key::Code(..) => true,
            };
            if !same {
                return Err(Broken(format!("its state after block {height} has another {key:?}")));
            }
        }
        Ok(())
    }

    async fn execute(&mut self, block: &Finalized) -> Result<(), Broken> {
        let height = block.header.height;
        let whole = block.block().ok_or_else(|| Broken(format!("block {height} has no body")))?;
        let outcome = self.replay.apply(&whole).await;
        let outcome = outcome.map_err(|error| Broken(format!("block {height}: {error}")))?;
        if outcome.receipts != block.receipts {
            return Err(Broken(format!("block {height} was given with other receipts")));
        }
        self.state.apply(&outcome.writes);
        self.supply = self.supply.saturating_sub(outcome.burned);
        let count = |items: usize| u64::try_from(items).unwrap_or(u64::MAX);
        self.carried.0 += count(whole.transactions().len());
        self.carried.1 += count(whole.blobs().len());
        for hash in whole.transaction_hashes() {
            if self.places.insert(hash, height).is_some() {
                return Err(Broken(format!("block {height} carries transaction {hash} again")));
            }
        }
        Ok(())
    }

    fn invariants(&self, height: u64) -> Result<(), Broken> {
        let accounts = self.state.0.iter().filter(|(key, _)| matches!(key, Key::Account(_)));
        let coins =
            accounts.fold(U256::ZERO, |sum, (_, value)| sum + Account::decode(value).balance);
        if coins != self.supply {
            let should = self.supply;
            return Err(Broken(format!("block {height}: {coins} wei exist, not {should}")));
        }
        let mut env = View { state: &self.state, header: self.header(height) };
        check_invariants(&mut env, &self.accounts)
            .map_err(|broken| Broken(format!("block {height}: {broken}")))
    }
}

/// A seat as the contract tells it. A key of another length is zero, which no committee takes.
fn seat(seat: &Seat) -> Validator {
    Validator {
        key: seat.key,
        seed_key: FixedBytes::try_from(seat.seedKey.as_ref()).unwrap_or_default(),
        possession: FixedBytes::try_from(seat.possession.as_ref()).unwrap_or_default(),
        account: seat.account,
    }
}

/// The highest state as contracts see it, to be read only.
struct View<'a> {
    state: &'a MemoryStore,
    header: Option<&'a Header>,
}

fn read_only() -> Fault {
    Fault::Storage("a check writes nothing".to_owned())
}

impl Env for View<'_> {
    fn load(&mut self, contract: Address, slot: U256) -> Result<U256, Fault> {
        let value = self.state.0.get(&Key::Slot(contract, slot));
        Ok(value.map_or(U256::ZERO, execution::slot))
    }

    fn store(&mut self, _: Address, _: U256, _: U256) -> Result<(), Fault> {
        Err(read_only())
    }

    fn log(&mut self, _: Address, _: LogData) -> Result<(), Fault> {
        Err(read_only())
    }

    fn charge(&mut self, _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn mark(&mut self, _: Address) -> Result<(), Fault> {
        Err(read_only())
    }

    fn has_code(&mut self, account: Address) -> Result<bool, Fault> {
        let value = self.state.0.get(&Key::Account(account));
        Ok(value.is_some_and(|value| Account::decode(value).has_code()))
    }

    fn pay(&mut self, _: Address, _: Address, _: U256) -> Result<(), Fault> {
        Err(read_only())
    }

    fn balance(&mut self, account: Address) -> Result<U256, Fault> {
        let value = self.state.0.get(&Key::Account(account));
        Ok(value.map_or(U256::ZERO, |value| Account::decode(value).balance))
    }

    fn height(&self) -> u64 {
        self.header.map_or(0, |header| header.height)
    }

    fn timestamp(&self) -> u64 {
        self.header.map_or(0, |header| header.timestamp_ms / 1_000)
    }

    fn chain_id(&self) -> u64 {
        self.header.map_or(0, |header| header.chain_id)
    }
}

#[cfg(test)]
mod tests;
