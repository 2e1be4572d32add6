//! The genesis file: everything a ledger begins with.
//!
//! The digest of the genesis block commits to all of it: the block's parent is the SHA-256 of the
//! file's canonical JSON (members in the order of the structs here, maps by key, no white space), and
//! its state root is the state the file describes.

use crate::{
    block::{Block, Body},
    committee::{Committee, CommitteeError, Validator},
    header::{Header, REVEAL_BYTES, StateCommitment},
};
use alloy_primitives::{Address, B256, Bloom, U256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use commonware_cryptography::{Hasher as _, Sha256};
use contracts::{
    GenesisConfig, GenesisValidator,
    address::{SETTLEMENTS, VALIDATORS},
};
use execution::{
    BASE_FEE_FLOOR, BLOCK_GAS_LIMIT, Key, Slots, Value, call_at_genesis, contracts_at_genesis,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The bond of a first validator if nothing else is said: 1,000 coins, in wei.
pub const FIRST_BOND: u128 = 1_000 * 1_000_000_000_000_000_000;

/// The version of the file that this program reads.
pub const GENESIS_FORMAT: u32 = 1;

/// What a ledger begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Genesis {
    /// [`GENESIS_FORMAT`].
    pub format: u32,
    /// EIP-155 id of the ledger.
    pub chain_id: u64,
    /// Time of the genesis block, milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Blocks of a settlement epoch (design 9).
    pub epoch_length: u64,
    /// Blocks of a committee's term (design 5).
    pub term_length: u64,
    /// The first validators.
    pub validators: Vec<Validator>,
    /// Coins in wei by account.
    pub allocations: BTreeMap<Address, U256>,
    /// Storage of the system contracts by slot: plain data, so that a later version of the contracts
    /// cannot change where an old ledger began.
    pub contracts: Slots,
}

/// What a founder decides; [`Genesis::found`] makes the file of it.
#[derive(Clone, Debug)]
pub struct Founding {
    /// EIP-155 id of the ledger.
    pub chain_id: u64,
    /// Time of the genesis block, milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Blocks of a committee's term.
    pub term_length: u64,
    /// The first validators.
    pub validators: Vec<FirstValidator>,
    /// Coins in wei by account. Those of the validators' bonds come on top.
    pub allocations: BTreeMap<Address, U256>,
    /// The system contracts. Its validators and its length of a term are replaced by those above.
    pub contracts: GenesisConfig,
}

/// A validator of the first two terms. Its account owns the bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstValidator {
    /// Its seat.
    pub seat: Validator,
    /// Where others reach it, as `ip:port`, or empty.
    pub endpoint: String,
    /// Its bond in wei.
    pub bond: u128,
}

impl From<Validator> for FirstValidator {
    /// With [`FIRST_BOND`] and no endpoint.
    fn from(seat: Validator) -> Self {
        Self { seat, endpoint: String::new(), bond: FIRST_BOND }
    }
}

impl From<&FirstValidator> for GenesisValidator {
    fn from(first: &FirstValidator) -> Self {
        let FirstValidator { seat, endpoint, bond } = first;
        let Validator { key, seed_key, possession, account } = *seat;
        let (owner, endpoint) = (account, endpoint.clone());
        Self { key, seed_key, possession, account, owner, endpoint, bond: *bond }
    }
}

/// A genesis file no ledger can begin with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The file is of another version.
    #[error("genesis file has format {0}, this program reads format {GENESIS_FORMAT}")]
    Format(u32),
    /// An epoch or a term has at least two blocks.
    #[error("an epoch and a term have at least 2 blocks")]
    Length,
    /// The coins are more than the ledger can count.
    #[error("the allocations are more than 2^255 wei")]
    Supply,
    /// The system contracts refuse their configuration.
    #[error("the system contracts refuse the configuration: {0}")]
    Contracts(String),
    /// The file and the storage of its contracts do not agree.
    #[error("the validators' contract has other terms than the file, or another number of seats")]
    Terms,
    /// The validators are no committee.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
}

impl Genesis {
    /// Makes the file of a new ledger.
    ///
    /// # Errors
    /// What is wrong with the decisions.
    pub fn found(founding: Founding) -> Result<Self, GenesisError> {
        let Founding {
            chain_id,
            timestamp_ms,
            term_length,
            validators,
            mut allocations,
            mut contracts,
        } = founding;
        contracts.validators = validators.iter().map(GenesisValidator::from).collect();
        contracts.seats.term_length = term_length;
        let bonds = allocations.entry(VALIDATORS).or_default();
        *bonds = bonds.checked_add(contracts.bonded()).ok_or(GenesisError::Supply)?;
        let validators = validators.into_iter().map(|first| first.seat).collect();
        let slots = contracts_at_genesis(&contracts, chain_id, timestamp_ms / 1000)
            .map_err(|failure| GenesisError::Contracts(format!("{failure:?}")))?;
        let genesis = Self {
            format: GENESIS_FORMAT,
            chain_id,
            timestamp_ms,
            epoch_length: contracts.clock.length,
            term_length,
            validators,
            allocations,
            contracts: slots,
        };
        genesis.check()?;
        Ok(genesis)
    }

    /// Checks the file and gives the first committee.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<Committee, GenesisError> {
        if self.format != GENESIS_FORMAT {
            return Err(GenesisError::Format(self.format));
        }
        if self.epoch_length < 2 || self.term_length < 2 {
            return Err(GenesisError::Length);
        }
        let supply =
            self.allocations.values().try_fold(U256::ZERO, |sum, coins| sum.checked_add(*coins));
        if supply.is_none_or(|supply| supply.bit(255)) {
            return Err(GenesisError::Supply);
        }
        let committee = Committee::new(&self.validators)?;
        if self.contracts.contains_key(&VALIDATORS) {
            // The second word of the answer is the length of a term.
            let length = self.ask(VALIDATORS, "terms()", &[], 1);
            let seats = self.ask(VALIDATORS, "allSeats(uint64)", &[0; 32], 0);
            let said = [self.term_length, u64::try_from(self.validators.len()).unwrap_or(u64::MAX)];
            if [length, seats] != said.map(|said| Some(U256::from(said))) {
                return Err(GenesisError::Terms);
            }
        }
        Ok(committee)
    }

    /// A word of what a view answers at height 0; nothing if the file has no such contract.
    fn ask(&self, contract: Address, function: &str, input: &[u8], word: usize) -> Option<U256> {
        let input = [&keccak256(function)[..4], input].concat();
        let answer = call_at_genesis(
            &mut self.contracts.clone(),
            (self.chain_id, self.timestamp_ms / 1000),
            Address::ZERO,
            contract,
            &input,
        );
        U256::try_from_be_slice(answer.ok()?.chunks(32).nth(word)?)
    }

    /// Blocks in which a final root can be disputed; none if the file has no settlements.
    pub(crate) fn dispute_blocks(&self) -> u64 {
        let epochs = self.ask(SETTLEMENTS, "disputeWindow()", &[], 0);
        self.epoch_length.saturating_mul(epochs.map_or(0, |epochs| epochs.saturating_to()))
    }

    /// SHA-256 of the canonical JSON: the parent of the genesis block.
    pub fn digest(&self) -> B256 {
        // Integers, strings, lists and maps with text keys: nothing that JSON could refuse.
        let json = serde_json::to_vec(self).expect("a genesis has a JSON form");
        B256::from(Sha256::hash(&[&json]).0)
    }

    /// The values of the state at height 0.
    pub(crate) fn state(&self) -> BTreeMap<Key, Value> {
        execution::genesis(&execution::Genesis {
            coins: self.allocations.clone(),
            contracts: self.contracts.clone(),
        })
    }

    /// The block at height 0, over the state that [`Genesis::state`] makes.
    pub(crate) fn block(&self, committee: &Committee, state: StateCommitment) -> Block {
        let digest = self.digest();
        let header = Header {
            chain_id: self.chain_id,
            height: 0,
            term: 0,
            view: 0,
            parent_view: 0,
            parent: digest,
            timestamp_ms: self.timestamp_ms,
            proposer: committee.first().clone(),
            beneficiary: Address::ZERO,
            state,
            transactions_root: EMPTY_ROOT_HASH,
            receipts_root: EMPTY_ROOT_HASH,
            logs_bloom: Bloom::ZERO,
            blobs_root: B256::ZERO,
            committee: committee.digest(),
            reveal: [0; REVEAL_BYTES],
            mix: digest,
            epoch: 0,
            gas_limit: BLOCK_GAS_LIMIT,
            gas_used: 0,
            base_fee: BASE_FEE_FLOOR,
        };
        Block::build(header, Body::default()).expect("an empty body is within all bounds")
    }
}
