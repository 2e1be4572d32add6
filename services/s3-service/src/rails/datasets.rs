//! Datasets: committed with the agents, taken stock of, frozen on the ledger.

use super::{ASKED_AT_ONCE, KeepError, Keeper, LedgerError, REFUSED_MS};
use crate::{
    index::{Committed, Home},
    num::wide,
    shards::ShardsError,
};
use futures::{StreamExt as _, stream};
use protocol::{DeviceId, Digest, RailId, key::DeviceKey, net::Peer};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};
use storage_kind::wire;

/// Shards that one commit adds, and that it removes.
const COMMIT_SHARDS: usize = 2_048;
/// Commits on one rail in one go.
const COMMITS: usize = 64;
/// Datasets frozen by one transaction.
const FREEZE_MAX: usize = 64;

impl Keeper {
    /// Commits what changed with all agents.
    ///
    /// # Errors
    /// The last failure; the other rails are committed.
    pub async fn commit_all(&self) -> Result<(), KeepError> {
        let _one = self.committing.lock().await;
        let open = self.with(|state| state.open.clone());
        // No agent lets a shard go before others know that it is not needed: an index made anew from an
        // older state would still name it. What became needless since then goes with the next commit.
        let rails: Vec<RailId> = open.keys().copied().collect();
        let needless = self.store.writer.read(move |reader| {
            let unwanted = |rail| Ok((rail, reader.unwanted(rail, COMMIT_SHARDS)?));
            rails.into_iter().map(unwanted).collect::<Result<BTreeMap<_, _>, _>>()
        });
        let mut needless = needless.await?;
        if let Err(error) = self.back_up().await {
            tracing::debug!(%error, "agents keep what is not needed until they have the index");
            needless.clear();
        }
        let outcomes: Vec<_> = stream::iter(open)
            .map(|(rail, (device, peer))| {
                let removable = needless.remove(&rail).unwrap_or_default();
                self.commit(Home { rail, device }, peer, Arc::new(removable))
            })
            .buffer_unordered(ASKED_AT_ONCE)
            .collect()
            .await;
        let mut failed = Ok(());
        for outcome in outcomes {
            if let Err(error) = outcome {
                tracing::warn!(%error, "a dataset was not committed");
                failed = Err(error);
            }
        }
        failed
    }

    async fn commit(
        &self,
        home: Home,
        peer: Peer,
        removable: Arc<BTreeSet<Digest>>,
    ) -> Result<(), KeepError> {
        let Home { rail, device } = home;
        for _ in 0..COMMITS {
            let removable = Arc::clone(&removable);
            let proposed = self
                .store
                .writer
                .write(move |tables| tables.propose(rail, COMMIT_SHARDS, &removable))
                .await?;
            let Some(proposal) = proposed else { return Ok(()) };
            let answer = match self.store.shards.commit(peer, proposal.commit.clone()).await {
                Ok(answer) => answer,
                Err(cause) => {
                    if self.refused(rail, device, peer, &cause).await? {
                        continue;
                    }
                    return Err(KeepError::Agent { rail, cause });
                }
            };
            let named = answer.dataset.rail == rail
                && answer.dataset.version == proposal.commit.version
                && answer.dataset.root == proposal.root
                && answer.dataset.bytes == proposal.bytes;
            let message = answer.dataset.signing_bytes(self.chain_id);
            let key = DeviceKey::Ed25519(peer.key);
            if !named || key.verify(&message, &answer.signature).is_err() {
                self.store.fleet.lied(device);
                return Err(KeepError::Signature(rail));
            }
            let committed = Committed { dataset: answer.dataset, signature: answer.signature };
            self.store.writer.write(move |tables| tables.committed(&committed)).await?;
            metrics::counter!("wayleave_s3_commits_total").increment(1);
        }
        Ok(())
    }

    /// An agent refused a commit: what it lost is queued, and a commit that can never be answered is
    /// given up. One that may have been heard stays as it is. Whether to try again at once.
    async fn refused(
        &self,
        rail: RailId,
        device: DeviceId,
        peer: Peer,
        cause: &ShardsError,
    ) -> Result<bool, KeepError> {
        let ShardsError::Refused(refusal) = cause else {
            self.store.failed(device, cause);
            return Ok(false);
        };
        match refusal {
            wire::Refusal::NotHeld(_) => {
                self.store.writer.write(move |tables| tables.withdraw(rail)).await?;
            }
            // It lost its index, is new under an old key, or one of both was restored from a backup.
            // Every agent keeps version 0, so what it holds is committed from there.
            wire::Refusal::StaleBase(newest) => {
                let newest = *newest;
                self.store.writer.write(move |tables| tables.start_over(rail, newest)).await?;
            }
            wire::Refusal::BadCommit(_) => {
                self.store.writer.write(move |tables| tables.withdraw(rail)).await?;
                return Ok(false);
            }
            _ => return Ok(false),
        }
        let (mut lost, mut after) = (0, None);
        loop {
            let (missing, last) = self.take_stock(Home { rail, device }, peer, after).await?;
            lost += missing;
            after = last;
            if after.is_none() {
                break;
            }
        }
        tracing::warn!(%rail, %device, lost, %refusal, "an agent does not hold what it was given");
        Ok(lost > 0 || matches!(refusal, wire::Refusal::StaleBase(_)))
    }

    /// Asks an agent which of its shards after `after` it still holds, and queues the others. How
    /// many these are, and where to go on if there are more.
    async fn take_stock(
        &self,
        home: Home,
        peer: Peer,
        after: Option<Digest>,
    ) -> Result<(usize, Option<Digest>), KeepError> {
        let (rail, page) = (home.rail, wire::HOLDS_MAX);
        let wanted = self.store.writer.read(move |reader| reader.wanted(rail, after, page)).await?;
        let next = wanted.last().copied().filter(|_| wanted.len() == page);
        if wanted.is_empty() {
            return Ok((0, None));
        }
        let held = self
            .store
            .shards
            .holds(peer, rail, wanted.clone())
            .await
            .map_err(|cause| KeepError::Agent { rail, cause })?;
        let missing: BTreeSet<Digest> =
            wanted.into_iter().zip(held).filter(|(_, held)| !held).map(|(hash, _)| hash).collect();
        let lost = missing.len();
        if lost > 0 {
            let found =
                self.store.writer.read(move |reader| reader.find_shards(home, &missing)).await?;
            self.store
                .writer
                .write(move |tables| {
                    for (segment, index) in found {
                        tables.shard_lost(segment, index, home)?;
                    }
                    Ok(())
                })
                .await?;
        }
        Ok((lost, next))
    }

    /// Asks the agents on whose rails something was not proven for all that they should hold.
    pub(super) async fn look_at_suspects(&self) -> Result<(), KeepError> {
        let suspects = self.with(|state| {
            let suspects = std::mem::take(&mut state.suspects).into_iter();
            let open = suspects.filter_map(|rail| Some((rail, *state.open.get(&rail)?)));
            open.collect::<Vec<_>>()
        });
        let mut failed = Ok(());
        for (rail, (device, peer)) in suspects {
            let (mut lost, mut after) = (0, None);
            loop {
                match self.take_stock(Home { rail, device }, peer, after).await {
                    Ok((missing, last)) => {
                        lost += missing;
                        after = last;
                    }
                    Err(error) => {
                        failed = Err(error);
                        break;
                    }
                }
                if after.is_none() {
                    break;
                }
            }
            tracing::info!(%rail, %device, lost, "an agent that missed a proof was asked for all of it");
        }
        failed
    }

    /// Asks one agent for a page of its shards, when it is time: losses that no read comes across are
    /// repaired before they add up. What an agent says here is believed only if it says no.
    pub(super) async fn audit(&self) -> Result<(), KeepError> {
        let now = self.store.now_ms();
        let every = u64::try_from(self.limits().audit.as_millis()).unwrap_or(u64::MAX);
        let next = self.with(|state| {
            if now < state.audited_ms.saturating_add(every) {
                return None;
            }
            state.audited_ms = now;
            let same = state.audit_at.and_then(|(rail, after)| Some((rail, Some(after?))));
            let rail = same.map_or_else(
                || {
                    let last = state.audit_at.map_or(RailId(0), |(rail, _)| rail);
                    let beyond = (Bound::Excluded(last), Bound::Unbounded);
                    let next = state.open.range(beyond).next().or(state.open.iter().next());
                    next.map(|(rail, _)| *rail)
                },
                |(rail, _)| Some(rail),
            )?;
            let (device, peer) = *state.open.get(&rail)?;
            Some((Home { rail, device }, peer, same.and_then(|(_, after)| after)))
        });
        let Some((home, peer, after)) = next else { return Ok(()) };
        let asked = self.take_stock(home, peer, after).await;
        let last = asked.as_ref().ok().and_then(|(_, last)| *last);
        self.with(|state| state.audit_at = Some((home.rail, last)));
        let (lost, _) = asked?;
        if lost > 0 {
            tracing::warn!(rail = %home.rail, device = %home.device, lost, "an agent lost shards");
        }
        Ok(())
    }

    /// Freezes all datasets that the ledger does not hold yet, by one transaction.
    ///
    /// # Errors
    /// [`KeepError::Ledger`], [`KeepError::Index`].
    pub async fn freeze(&self) -> Result<(), KeepError> {
        let open = self.counting().unwrap_or_default();
        let rails = self.store.writer.read(|reader| reader.rails()).await?;
        let new: Vec<Committed> = rails
            .into_iter()
            .filter(|(rail, _)| open.contains_key(rail))
            .filter_map(|(_, row)| row.committed.filter(|new| new.dataset.version > row.frozen))
            .collect();
        let mut outcome = Ok(());
        for some in new.chunks(FREEZE_MAX) {
            let Err(error) = self.freeze_some(some.to_vec()).await else { continue };
            if matches!(error, KeepError::Ledger(LedgerError::Silent(_))) {
                return Err(error);
            }
            // One that the ledger refuses must not hold up the others.
            tracing::warn!(%error, "datasets were not frozen together");
            for one in some {
                if let Err(error) = self.freeze_one(*one).await {
                    tracing::warn!(rail = %one.dataset.rail, %error, "a dataset is not frozen");
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    /// Ends the rails of devices that leave, once nothing is on them and the ledger asks for nothing: what is
    /// reserved on them is free then. Who has no payer's key leaves that to the payer.
    pub(super) async fn end_left(&self) -> Result<(), KeepError> {
        let (leaving, now) = (self.store.fleet.leaving(), self.store.now_ms());
        let open = self.with(|state| match state.refused_until_ms > now {
            true => BTreeMap::new(),
            false => state.counting.clone().unwrap_or_default(),
        });
        let left: Vec<RailId> =
            open.into_iter().filter(|(_, at)| leaving.contains(at)).map(|(rail, _)| rail).collect();
        for rail in left {
            let is_done = self.store.writer.read(move |reader| reader.is_done(rail)).await?;
            if !is_done {
                continue;
            }
            match self.port.close(rail).await {
                Ok(()) => tracing::info!(%rail, "the rail of a device that left has ended"),
                Err(error @ LedgerError::Silent(_)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%rail, %error, "the rail of a device that left stays open");
                    self.with(|state| state.refused_until_ms = now.saturating_add(REFUSED_MS));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Freezes a dataset, unless the ledger holds it already: the service may have been killed before
    /// it noted so.
    async fn freeze_one(&self, one: Committed) -> Result<(), KeepError> {
        let (rail, version) = (one.dataset.rail, one.dataset.version);
        let held = self.port.frozen_version(rail).await?;
        if held < version {
            return self.freeze_some(vec![one]).await;
        }
        self.store.writer.write(move |tables| tables.frozen(rail, held)).await?;
        Ok(())
    }

    async fn freeze_some(&self, some: Vec<Committed>) -> Result<(), KeepError> {
        self.port.freeze(some.clone()).await?;
        metrics::counter!("wayleave_s3_datasets_frozen_total").increment(wide(some.len()));
        self.store
            .writer
            .write(move |tables| {
                some.iter().try_for_each(|new| tables.frozen(new.dataset.rail, new.dataset.version))
            })
            .await?;
        Ok(())
    }
}
