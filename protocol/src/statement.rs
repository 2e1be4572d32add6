//! The statement of an epoch: one row a device, and the cumulative state that the next epoch needs.
//!
//! It is a pure function of the archive, the previous statement and the inputs file; its accounts are
//! the leaves of the root that validators vote on, beside those of authors at fault. All lists ascend by id
//! and hold no id twice.

use crate::{
    Account, AuthorKey, DeviceId, Digest, Epoch, KindId, Micros, NetworkId, Ppm, RailId, Reason,
    Tokens,
    author::{AuthorLeaf, AuthorRow},
    cbor,
    inputs::account,
    leaf::{Dollars, Leaf},
    merkle,
    reward::Tranche,
};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The format of statements. The first knew no authors at fault.
pub const VERSION: u16 = 2;

/// The result of settling one network and epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Statement {
    /// The format: [`VERSION`].
    #[n(0)]
    pub version: u16,
    /// The chain.
    #[n(1)]
    pub chain_id: u64,
    /// The network.
    #[n(2)]
    pub network: NetworkId,
    /// The epoch; the statement before the first epoch settled is [`Statement::genesis`].
    #[n(3)]
    pub epoch: Epoch,
    /// The inputs file it was made from.
    #[n(4)]
    pub inputs: Digest,
    /// The previous statement.
    #[n(5)]
    pub previous: Digest,
    /// The digest over the digests of all evidence used, ascending.
    #[n(6)]
    pub evidence: Digest,
    /// One row for each device on the roster, ascending by device.
    #[n(7)]
    pub rows: Vec<Row>,
    /// What each rail has paid so far, ascending by rail.
    #[n(8)]
    pub rails: Vec<RailState>,
    /// What is remembered of each device, ascending by device.
    #[n(9)]
    pub devices: Vec<DeviceState>,
    /// The accounts, ascending.
    #[n(10)]
    pub accounts: Vec<AccountState>,
    /// The sums over all epochs so far.
    #[n(11)]
    pub totals: Totals,
    /// The authors of batches at fault in this epoch, ascending by key; at most
    /// [`AUTHORS_MAX`](crate::author::AUTHORS_MAX).
    #[n(12)]
    pub authors: Vec<AuthorRow>,
}

/// What one device did, earned and lost in this epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Row {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// Its owner.
    #[cbor(n(1), with = "account")]
    pub owner: Account,
    /// Its kind.
    #[n(2)]
    pub kind: KindId,
    /// Units provided.
    #[n(3)]
    pub units: u64,
    /// How well.
    #[n(4)]
    pub quality: Ppm,
    /// How much of it nobody else provided.
    #[n(5)]
    pub uniqueness: Ppm,
    /// Duties due.
    #[n(6)]
    pub duties_due: u32,
    /// Duties met.
    #[n(7)]
    pub duties_met: u32,
    /// What customers paid for it, before the split.
    #[n(8)]
    pub paid: Micros,
    /// The owner's part of it.
    #[n(9)]
    pub earned: Micros,
    /// The top-up granted, vested or not.
    #[n(10)]
    pub top_up: Tokens,
    /// Pay for presence granted.
    #[n(11)]
    pub bootstrap: Tokens,
    /// Stake lost.
    #[n(12)]
    pub slashed: Tokens,
    /// Why, each with its evidence. Never empty.
    #[n(13)]
    pub causes: Vec<Cause>,
}

/// One reason with what it is about and what proves it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Cause {
    /// The reason.
    #[n(0)]
    pub reason: Reason,
    /// The rail it is about, if one.
    #[n(1)]
    pub rail: Option<RailId>,
    /// The duty it is about, if one.
    #[n(2)]
    pub duty: Option<u16>,
    /// Digests of the envelopes behind it.
    #[n(3)]
    pub evidence: Vec<Digest>,
}

impl Cause {
    /// A reason about the device as a whole.
    pub const fn of(reason: Reason) -> Self {
        Self { reason, rail: None, duty: None, evidence: Vec::new() }
    }

    /// A reason about a rail.
    pub const fn on(reason: Reason, rail: RailId) -> Self {
        Self { reason, rail: Some(rail), duty: None, evidence: Vec::new() }
    }
}

/// What a rail has paid so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct RailState {
    /// The rail.
    #[n(0)]
    pub rail: RailId,
    /// Paid by its rate for proven epochs.
    #[n(1)]
    pub by_rate: Micros,
    /// Paid by vouchers: the largest cumulative amount accepted.
    #[n(2)]
    pub by_voucher: Micros,
    /// The nonce of that voucher.
    #[n(3)]
    pub nonce: u64,
}

/// What is remembered of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct DeviceState {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// Stake lost so far, whoever owned it: a figure for people, as the owner's account is what counts.
    #[n(1)]
    pub slashed: Tokens,
    /// Consecutive epochs without a sign of life.
    #[n(2)]
    pub absent: u32,
    /// Whether it ever served paid data.
    #[n(3)]
    pub served: bool,
}

/// An account in this network.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct AccountState {
    /// The account.
    #[cbor(n(0), with = "account")]
    pub account: Account,
    /// Tokens that were free at once or have vested completely.
    #[n(1)]
    pub settled: Tokens,
    /// Tokens that still vest, ascending by epoch; at most one tranche for each vesting step.
    #[n(2)]
    pub tranches: Vec<Tranche>,
    /// Dollars earned.
    #[n(3)]
    pub earned: Dollars,
    /// Dollars spent.
    #[n(4)]
    pub spent: Micros,
    /// Stake lost.
    #[n(5)]
    pub slashed: Tokens,
}

impl AccountState {
    /// Tokens vested when `epoch` ends.
    pub fn vested(&self, epoch: Epoch) -> Tokens {
        let vesting = self.tranches.iter().map(|tranche| tranche.vested(epoch)).sum();
        self.settled.saturating_add(vesting)
    }

    /// Tokens granted, vested or not.
    pub fn granted(&self) -> Tokens {
        let vesting = self.tranches.iter().map(|tranche| tranche.amount).sum();
        self.settled.saturating_add(vesting)
    }

    /// The leaf.
    pub fn leaf(&self, network: NetworkId, epoch: Epoch) -> Leaf {
        Leaf {
            account: self.account,
            network,
            vested: self.vested(epoch),
            earned: self.earned,
            spent: self.spent,
            slashed: self.slashed,
        }
    }
}

/// Cumulative sums. Conservation: `spent == earned (all classes) + to_burn`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Totals {
    /// Paid by customers.
    #[n(0)]
    pub spent: Micros,
    /// Earned by all accounts, treasury and stakers included, by class.
    #[n(1)]
    pub earned: Dollars,
    /// Set aside to buy and burn the token.
    #[n(2)]
    pub to_burn: Micros,
    /// Tokens vested.
    #[n(3)]
    pub vested: Tokens,
    /// Top-ups granted, vested or not.
    #[n(4)]
    pub topped_up: Tokens,
    /// Pay for presence granted, vested or not.
    #[n(5)]
    pub bootstrapped: Tokens,
    /// Stake lost.
    #[n(6)]
    pub slashed: Tokens,
}

impl Statement {
    /// The empty statement that the first epoch of a network follows.
    pub fn genesis(chain_id: u64, network: NetworkId) -> Self {
        Self {
            version: VERSION,
            chain_id,
            network,
            epoch: Epoch(0),
            inputs: Digest::default(),
            previous: Digest::default(),
            evidence: Digest::default(),
            rows: Vec::new(),
            rails: Vec::new(),
            devices: Vec::new(),
            accounts: Vec::new(),
            totals: Totals::default(),
            authors: Vec::new(),
        }
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a statement of [`VERSION`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, cbor::DecodeError> {
        cbor::from_version(bytes, VERSION)
    }

    /// The hash of the canonical bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// The accounts' leaves, ascending by account.
    pub fn leaves(&self) -> Vec<Leaf> {
        self.accounts.iter().map(|account| account.leaf(self.network, self.epoch)).collect()
    }

    /// The authors' leaves, ascending by author.
    pub fn author_leaves(&self) -> impl Iterator<Item = AuthorLeaf> {
        self.authors.iter().map(|row| row.leaf(self.network, self.epoch))
    }

    /// The tree of all leaves; its root is what validators vote on.
    pub fn tree(&self) -> merkle::Tree {
        let accounts = self.leaves();
        let authors = self.author_leaves().map(|leaf| leaf.hash());
        merkle::Tree::new(accounts.iter().map(Leaf::hash).chain(authors).collect())
    }

    /// The row of an author, if it is at fault.
    pub fn author(&self, author: AuthorKey) -> Option<&AuthorRow> {
        let at = self.authors.binary_search_by_key(&author, |row| row.author).ok()?;
        Some(&self.authors[at])
    }

    /// The row of a device.
    pub fn row(&self, device: DeviceId) -> Option<&Row> {
        let at = self.rows.binary_search_by_key(&device, |row| row.device).ok()?;
        Some(&self.rows[at])
    }

    /// The account's state.
    pub fn account(&self, account: Account) -> Option<&AccountState> {
        let at = self.accounts.binary_search_by_key(&account, |state| state.account).ok()?;
        Some(&self.accounts[at])
    }

    /// What a rail has paid so far.
    pub fn rail(&self, rail: RailId) -> Option<&RailState> {
        let at = self.rails.binary_search_by_key(&rail, |state| state.rail).ok()?;
        Some(&self.rails[at])
    }

    /// What is remembered of a device.
    pub fn device(&self, device: DeviceId) -> Option<&DeviceState> {
        let at = self.devices.binary_search_by_key(&device, |state| state.device).ok()?;
        Some(&self.devices[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_of_another_version_is_named_as_such() {
        let statement = Statement::genesis(7, NetworkId(1));
        let bytes = statement.to_bytes();
        assert_eq!(Statement::from_bytes(&bytes), Ok(statement));
        // One of version 1 had a field less: the list of authors, here empty, was not there.
        let mut first = bytes.clone();
        assert_eq!((first[0], first[1], first.pop()), (0x8d, 2, Some(0x80)));
        (first[0], first[1]) = (0x8c, 1);
        let error = Statement::from_bytes(&first).unwrap_err();
        assert_eq!(error, cbor::DecodeError::Version { found: 1, known: VERSION });
        assert!(error.to_string().contains("begin anew"), "{error}");
        // With the right version it is only cut short.
        first[1] = 2;
        let error = Statement::from_bytes(&first).unwrap_err();
        assert!(matches!(error, cbor::DecodeError::Malformed(_)), "{error}");
    }
}
