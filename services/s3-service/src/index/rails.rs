//! Rails: datasets from proposal to freeze, and the bounds of vouchers.
//!
//! A commit must be repeatable to the bit, or an agent that heard it and a service that died before
//! it heard the answer would disagree for ever. So the proposal is made durable first, with every
//! shard that it turns over, and is sent until it is answered.

use super::{
    Committed, Holding, IndexError, Rail, Reader, Rows, Tables, cut, decode, from, get, put, under,
};
use protocol::{Digest, Micros, RailId};
use std::collections::BTreeSet;
use storage_kind::{
    dataset::{Dataset, Shard},
    wire::Commit,
};

/// A commit to be sent, and what the dataset must be then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The request.
    pub commit: Commit,
    /// The root that must result.
    pub root: Digest,
    /// The size that must result, bytes.
    pub bytes: u64,
}

fn rail_of(key: &[u8]) -> Result<RailId, IndexError> {
    key.first_chunk::<8>()
        .map(|rail| RailId(u64::from_be_bytes(*rail)))
        .ok_or(IndexError::Damaged("a rail's key is too short"))
}

fn hash_of(key: &[u8]) -> Result<Digest, IndexError> {
    key.last_chunk::<32>()
        .map(|hash| Digest(*hash))
        .ok_or(IndexError::Damaged("a holding's key is too short"))
}

fn holdings(table: &impl Rows, rail: RailId) -> Result<Vec<(Digest, Holding)>, IndexError> {
    under(table, &rail.0.to_be_bytes())?
        .map(|row| {
            let (key, row) = row?;
            Ok((hash_of(key.value())?, decode(row.value())?))
        })
        .collect()
}

impl Tables<'_> {
    fn rail(&self, rail: RailId) -> Result<Rail, IndexError> {
        Ok(get(&self.rails, &rail.0.to_be_bytes())?.unwrap_or_default())
    }

    fn put_holding(
        &mut self,
        rail: RailId,
        hash: Digest,
        holding: &Holding,
    ) -> Result<(), IndexError> {
        let key = [&rail.0.to_be_bytes()[..], hash.as_bytes()].concat();
        if holding.inside || holding.wanted || holding.proposed {
            put(&mut self.holdings, &key, holding)
        } else {
            cut(&mut self.holdings, &key).map(|_| ())
        }
    }

    /// The commit under way, or a new one of up to `limit` additions and removals, or nothing if the
    /// dataset is as it should be. Of what is not wanted any more only `removable` leaves it.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn propose(
        &mut self,
        rail: RailId,
        limit: usize,
        removable: &BTreeSet<Digest>,
    ) -> Result<Option<Proposal>, IndexError> {
        let mut row = self.rail(rail)?;
        let base = row.committed.map_or(0, |committed| committed.dataset.version);
        let mut all = holdings(&self.holdings, rail)?;
        if row.proposal.is_none() {
            let (mut more, mut less) = (0, 0);
            for (hash, holding) in &mut all {
                let count = if holding.wanted { &mut more } else { &mut less };
                let withheld = !holding.wanted && !removable.contains(hash);
                if holding.inside == holding.wanted || *count == limit || withheld {
                    continue;
                }
                *count += 1;
                holding.proposed = true;
                self.put_holding(rail, *hash, holding)?;
            }
            if more + less == 0 && !row.begins_anew() {
                return Ok(None);
            }
            // A dataset that was started over must still rise above what the ledger holds.
            let above = base.max(row.frozen).max(row.floor.unwrap_or(0));
            row.proposal = Some(super::more(above, 1)?);
            put(&mut self.rails, &rail.0.to_be_bytes(), &row)?;
        }
        let version = row.proposal.unwrap_or(base.saturating_add(1));
        proposal(rail, base, version, &all).map(Some)
    }

    /// The agent agreed to the commit under way.
    ///
    /// # Errors
    /// [`IndexError::Version`] if it is another one.
    pub fn committed(&mut self, committed: &Committed) -> Result<(), IndexError> {
        let rail = committed.dataset.rail;
        let mut row = self.rail(rail)?;
        if row.proposal != Some(committed.dataset.version) {
            return Err(IndexError::Version(rail.0));
        }
        for (hash, mut holding) in holdings(&self.holdings, rail)? {
            if holding.proposed {
                holding.inside = !holding.inside;
                holding.proposed = false;
                self.put_holding(rail, hash, &holding)?;
            }
        }
        row.proposal = None;
        row.committed = Some(*committed);
        put(&mut self.rails, &rail.0.to_be_bytes(), &row)
    }

    /// Gives up the commit under way, which the agent refused for good.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn withdraw(&mut self, rail: RailId) -> Result<(), IndexError> {
        for (hash, mut holding) in holdings(&self.holdings, rail)? {
            if holding.proposed {
                holding.proposed = false;
                self.put_holding(rail, hash, &holding)?;
            }
        }
        let mut row = self.rail(rail)?;
        row.proposal = None;
        put(&mut self.rails, &rail.0.to_be_bytes(), &row)
    }

    /// The agent knows another dataset of this rail than was agreed on, its newest version `newest`:
    /// its disk was replaced, or it was restored from a backup. What it still holds is to be committed
    /// anew.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn start_over(&mut self, rail: RailId, newest: u64) -> Result<(), IndexError> {
        for (hash, mut holding) in holdings(&self.holdings, rail)? {
            holding.inside = false;
            holding.proposed = false;
            self.put_holding(rail, hash, &holding)?;
        }
        let mut row = self.rail(rail)?;
        row.proposal = None;
        row.committed = None;
        row.floor = row.floor.max(Some(newest));
        put(&mut self.rails, &rail.0.to_be_bytes(), &row)
    }

    /// The ledger holds this version.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn frozen(&mut self, rail: RailId, version: u64) -> Result<(), IndexError> {
        let mut row = self.rail(rail)?;
        row.frozen = row.frozen.max(version);
        put(&mut self.rails, &rail.0.to_be_bytes(), &row)
    }

    /// Allows vouchers below these bounds. They only rise.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn bound_vouchers(
        &mut self,
        rail: RailId,
        nonce: u64,
        delivered: u64,
        amount: Micros,
    ) -> Result<(), IndexError> {
        let mut row = self.rail(rail)?;
        row.nonce_bound = row.nonce_bound.max(nonce);
        row.delivered_bound = row.delivered_bound.max(delivered);
        row.amount_bound = row.amount_bound.max(Some(amount));
        put(&mut self.rails, &rail.0.to_be_bytes(), &row)
    }

    /// Vouchers go on from `nonce`, if they did not come as far. The other bounds stay.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn skip_nonces(&mut self, rail: RailId, nonce: u64) -> Result<(), IndexError> {
        let mut row = self.rail(rail)?;
        row.nonce_bound = row.nonce_bound.max(nonce);
        put(&mut self.rails, &rail.0.to_be_bytes(), &row)
    }

    /// Lowers the bounds of delivered bytes and their price to what was really promised. Only for a
    /// service that stops in order: the next voucher goes on from here.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn settle_vouchers(
        &mut self,
        rail: RailId,
        delivered: u64,
        amount: Micros,
    ) -> Result<(), IndexError> {
        let mut row = self.rail(rail)?;
        row.delivered_bound = delivered;
        row.amount_bound = Some(amount);
        put(&mut self.rails, &rail.0.to_be_bytes(), &row)
    }
}

fn proposal(
    rail: RailId,
    base: u64,
    version: u64,
    all: &[(Digest, Holding)],
) -> Result<Proposal, IndexError> {
    let mut commit = Commit { rail, base, version, added: Vec::new(), removed: Vec::new() };
    let mut after = Vec::new();
    for (hash, holding) in all {
        let shard = Shard { hash: *hash, bytes: holding.bytes };
        match (holding.inside, holding.proposed) {
            (false, true) => commit.added.push(shard),
            (true, true) => commit.removed.push(*hash),
            _ => {}
        }
        if holding.inside != holding.proposed {
            after.push(shard);
        }
    }
    let after = Dataset::build(after)
        .map_err(|_| IndexError::Damaged("a rail's holdings make no dataset"))?;
    Ok(Proposal { commit, root: after.root(), bytes: after.bytes() })
}

impl Reader {
    /// What is kept of a rail.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn rail(&self, rail: RailId) -> Result<Rail, IndexError> {
        Ok(get(&self.rails, &rail.0.to_be_bytes())?.unwrap_or_default())
    }

    /// All rails.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn rails(&self) -> Result<Vec<(RailId, Rail)>, IndexError> {
        under(&self.rails, &[])?
            .map(|row| {
                let (key, row) = row?;
                Ok((rail_of(key.value())?, decode(row.value())?))
            })
            .collect()
    }

    /// What the newest signed dataset of a rail holds, ascending by hash.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn dataset(&self, rail: RailId) -> Result<Vec<Shard>, IndexError> {
        let inside = holdings(&self.holdings, rail)?.into_iter().filter(|(_, row)| row.inside);
        Ok(inside.map(|(hash, row)| Shard { hash, bytes: row.bytes }).collect())
    }

    /// Up to `limit` shards that are needed on a rail, ascending, after the hash given.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn wanted(
        &self,
        rail: RailId,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, IndexError> {
        let prefix = rail.0.to_be_bytes();
        let start =
            after.map_or_else(|| prefix.to_vec(), |hash| [&prefix[..], hash.as_bytes()].concat());
        let mut wanted = Vec::new();
        for row in from(&self.holdings, &prefix, &start)? {
            let (key, row) = row?;
            let (hash, holding) = (hash_of(key.value())?, decode::<Holding>(row.value())?);
            if wanted.len() == limit {
                break;
            }
            if holding.wanted && Some(hash) != after {
                wanted.push(hash);
            }
        }
        Ok(wanted)
    }

    /// Up to `limit` shards that are to leave a rail's dataset.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn unwanted(&self, rail: RailId, limit: usize) -> Result<BTreeSet<Digest>, IndexError> {
        let mut unwanted = BTreeSet::new();
        for row in under(&self.holdings, &rail.0.to_be_bytes())? {
            let (key, row) = row?;
            let holding: Holding = decode(row.value())?;
            if unwanted.len() == limit {
                break;
            }
            if holding.inside && !holding.wanted {
                unwanted.insert(hash_of(key.value())?);
            }
        }
        Ok(unwanted)
    }

    /// Whether a rail's dataset is not what it should be.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn is_stale(&self, rail: RailId) -> Result<bool, IndexError> {
        if self.rail(rail)?.begins_anew() {
            return Ok(true);
        }
        for row in under(&self.holdings, &rail.0.to_be_bytes())? {
            let holding: Holding = decode(row?.1.value())?;
            if holding.inside != holding.wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether nothing is on a rail, and ledger and agent agreed on that.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn is_done(&self, rail: RailId) -> Result<bool, IndexError> {
        let row = self.rail(rail)?;
        let empty = row.committed.is_none_or(|committed| {
            committed.dataset.bytes == 0 && committed.dataset.version == row.frozen
        });
        Ok(empty && row.held == 0 && row.proposal.is_none() && !self.is_stale(rail)?)
    }

    pub(super) fn holdings_of(&self, rail: RailId) -> Result<Vec<(Digest, Holding)>, IndexError> {
        holdings(&self.holdings, rail)
    }
}
