//! Charging: what authors of batches answer for is presented to the contract `Validators`, which takes it from
//! their bonds and pays a part to whoever was first (design 6).
//!
//! Every validator has the statement that says so and the first transaction charges, so the others find it
//! done; that costs them nothing, because a transaction that would fail is not sent. They look once an epoch,
//! each at a height of its own ([`SPREAD`]), so that they seldom send at once. An epoch whose root cannot be
//! used yet, or whose statement is not in this archive, is looked at again in the next; one that is [`BACK`]
//! epochs old is left to others. Nobody is made to present what its own key is charged with.

use crate::files::{Files, FilesError};
use client::{
    CallError, Revert, SendError, Signer,
    abi::{
        ISettlements::NotClaimable,
        IValidators::{Charged, chargeCall, dueOfCall},
    },
    address,
};
use protocol::{
    AuthorKey, Epoch, Height, NetworkId, author::AuthorLeaf, clock::EpochClock,
    statement::Statement,
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;

/// Over how many heights of an epoch validators spread what they present.
pub const SPREAD: u64 = 16;
/// How many epochs before the next to be decided are looked at.
pub const BACK: u64 = 32;

/// Why a network could not be looked at.
#[derive(Debug, thiserror::Error)]
enum ChargeError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Ledger or archive.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A transaction was not applied, and not for a reason of the contract's.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// What is to be looked at in a network: at most [`BACK`] epochs.
#[derive(Clone, Debug, Default)]
struct Pending {
    /// Epochs before this one are pending or done.
    seen: Epoch,
    epochs: BTreeSet<Epoch>,
}

/// Presents authors' faults.
#[derive(Debug)]
struct Charger {
    files: Files,
    signer: Signer,
    own: AuthorKey,
    networks: BTreeMap<NetworkId, Pending>,
}

/// Presents what the statements in `files` charge authors with, but for `own`, until blocks end.
pub async fn charge(
    (files, signer): (Files, Signer),
    own: AuthorKey,
    clock: EpochClock,
    mut recorded: watch::Receiver<Height>,
) {
    let mine = u64::from(own.0[0]) % SPREAD.min(clock.length.max(1));
    let mut charger = Charger { files, signer, own, networks: BTreeMap::new() };
    let mut done = None;
    loop {
        let height = *recorded.borrow_and_update();
        let epoch = clock.epoch(height);
        if done != Some(epoch) && height.0 >= clock.first(epoch).0.saturating_add(mine) {
            // What fails is tried again with the next block.
            done = charger.look().await.then_some(epoch);
        }
        if recorded.changed().await.is_err() {
            return;
        }
    }
}

impl Charger {
    /// Looks at all networks; false if one could not be looked at.
    async fn look(&mut self) -> bool {
        let networks = match self.files.client.networks().await {
            Ok(networks) => networks,
            Err(error) => {
                tracing::warn!(%error, "authors' faults cannot be presented yet");
                return false;
            }
        };
        let mut all = true;
        for network in (1..=networks).map(NetworkId) {
            let mut pending = self.networks.remove(&network).unwrap_or_default();
            if let Err(error) = self.present(network, &mut pending).await {
                tracing::warn!(%network, %error, "authors' faults cannot be presented yet");
                all = false;
            }
            self.networks.insert(network, pending);
        }
        all
    }

    async fn present(&self, network: NetworkId, pending: &mut Pending) -> Result<(), ChargeError> {
        let next = self.files.client.next_epoch(network).await?;
        let oldest = Epoch(next.0.saturating_sub(BACK));
        let fresh = pending.seen.max(oldest).0..next.0;
        pending.epochs.extend(fresh.map(Epoch));
        pending.seen = pending.seen.max(next);
        pending.epochs = pending.epochs.split_off(&oldest);
        for epoch in pending.epochs.clone() {
            // A void epoch has no statement that is the ledger's.
            let Some(statement) = self.files.agreed(network, epoch).await? else { continue };
            if self.charge_all(&statement).await? {
                pending.epochs.remove(&epoch);
            }
        }
        Ok(())
    }

    /// Presents all leaves of a statement; false if its root cannot be used yet.
    async fn charge_all(&self, statement: &Statement) -> Result<bool, ChargeError> {
        if statement.authors.is_empty() {
            return Ok(true);
        }
        let tree = statement.tree();
        for leaf in statement.author_leaves().filter(|leaf| leaf.author != self.own) {
            let call = dueOfCall { leaf: (&leaf).into() };
            if self.files.client.call(address::VALIDATORS, call).await?.is_zero() {
                continue;
            }
            let Some(proof) = tree.proof(leaf.hash()) else { continue };
            if !self.charge_one(&leaf, chargeCall { leaf: (&leaf).into(), proof }).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Presents one leaf; false if its root cannot be used yet.
    async fn charge_one(&self, leaf: &AuthorLeaf, call: chargeCall) -> Result<bool, ChargeError> {
        let AuthorLeaf { network, epoch, author, bytes } = leaf;
        match self.files.client.send(&self.signer, address::VALIDATORS, &call).await {
            Ok(receipt) => {
                let event: Option<Charged> = receipt.event(address::VALIDATORS);
                let taken = event.map(|event| event.taken).unwrap_or_default();
                tracing::warn!(%network, %epoch, %author, bytes, %taken, "charged an author for its faults");
                metrics::counter!("wayleave_authors_charged_total").increment(1);
                Ok(true)
            }
            Err(error) if error.revert().is_some_and(Revert::is::<NotClaimable>) => Ok(false),
            // Others were first, or there is nothing to take.
            Err(error) if error.revert().is_some() => {
                tracing::debug!(%network, %epoch, %author, %error, "an author is not charged");
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }
}
