//! A service without its S3 server: store, rails, upkeep and backup over a given index and world.
//!
//! This is all of a service that a simulator can run: it neither listens, nor dials, nor reads a clock, nor
//! draws randomness but through its [`World`]. [`crate::Service`] puts it behind HTTP.

use crate::{
    backup::BackupError,
    config::Config,
    fleet::Fleet,
    index::{Index, IndexError, Stats, Writer},
    keys::Keyring,
    purse::Purse,
    rails::{KeepError, Keeper},
    repair::survey::Health,
    s3::Face,
    service::{StartError, World},
    store::{Intake, Parts, Store, Upkeep},
};
use protocol::{Micros, RailId};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

/// What a service is and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Objects.
    pub objects: u64,
    /// Plain bytes of objects.
    pub object_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of durable shards.
    pub shard_bytes: u64,
    /// Shards that are durable nowhere.
    pub queued: u64,
    /// Promised by voucher so far.
    pub promised: Micros,
    /// Open rails.
    pub rails: usize,
    /// Bytes in datasets that the ledger holds.
    pub frozen_bytes: u64,
    /// Rails whose dataset is not what it should be, or not frozen yet.
    pub stale_rails: usize,
    /// How healthy the segments are, once that was looked at.
    pub health: Option<Health>,
    /// Agents that leave, and bytes of shards on them that have not moved yet.
    pub leaving: (usize, u64),
    /// Changes of the index that the agents do not have: they would be lost with the service's disk.
    pub backup_behind: u64,
}

/// A service that runs, without its S3 server.
#[derive(Debug)]
pub struct Engine {
    store: Arc<Store>,
    keeper: Arc<Keeper>,
    face: Face,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Starts over an index.
    ///
    /// The first look at the ledger happens before this returns, so that the first request finds
    /// agents; if the ledger does not answer, it starts all the same and looks again.
    ///
    /// # Errors
    /// [`StartError::Index`], [`StartError::Thread`].
    pub async fn start(
        config: Config,
        keyring: &Keyring,
        index: Index,
        world: World,
    ) -> Result<Self, StartError> {
        index.tie(&keyring.fingerprint())?;
        let writer = Writer::start(Arc::new(index)).map_err(StartError::Thread)?;
        let domain = protocol::voucher::domain(config.chain_id, config.rails_contract);
        let purse = Arc::new(Purse::new(config.signer, domain, config.network, writer.clone()));
        let store = Store::new(Parts {
            keys: keyring.content.clone(),
            shape: config.shape,
            limits: config.limits,
            writer,
            shards: world.shards,
            fleet: Arc::new(Fleet::default()),
            purse,
            clock: world.clock,
            random: world.random,
        });
        let keeper = Arc::new(Keeper::new(
            Arc::clone(&store),
            world.ledger,
            config.plan,
            config.chain_id,
            config.network,
        ));
        if let Err(error) = keeper.refresh().await {
            tracing::warn!(%error, "the first look at the ledger failed");
        }
        let face = Face::new(Arc::clone(&store), Intake::start(Arc::clone(&store)));
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(keep(Arc::clone(&keeper), config.limits.refresh, stopped.clone())),
            tokio::spawn(tidy(Arc::clone(&store), Arc::clone(&keeper), stopped.clone())),
            tokio::spawn(back_up(Arc::clone(&keeper), config.limits.backup, stopped)),
        ];
        Ok(Self { store, keeper, face, stop, tasks })
    }

    /// The S3 side.
    pub fn face(&self) -> Face {
        self.face.clone()
    }

    /// The index, for reading.
    pub fn index(&self) -> &Arc<Index> {
        self.store.writer.index()
    }

    /// What the service is and did.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn snapshot(&self) -> Result<Snapshot, IndexError> {
        let (stats, rails, stale) = self
            .store
            .writer
            .read(|reader| {
                let rails = reader.rails()?;
                let mut stale = 0;
                for (id, row) in &rails {
                    let version = row.committed.map_or(0, |committed| committed.dataset.version);
                    stale += usize::from(version != row.frozen || reader.is_stale(*id)?);
                }
                Ok((reader.stats()?, rails, stale))
            })
            .await?;
        let Stats { objects, object_bytes, segments, shard_bytes, queued } = stats;
        let leaving = self.store.fleet.leaving();
        let on_them = self.keeper.counting().unwrap_or_default();
        let held = rails
            .iter()
            .filter(|(rail, _)| on_them.get(rail).is_some_and(|device| leaving.contains(device)));
        let held: u64 = held.map(|(_, row)| row.held).sum();
        let frozen = rails.iter().filter_map(|(_, row)| row.committed.filter(|_| row.frozen > 0));
        Ok(Snapshot {
            objects,
            object_bytes,
            segments,
            shard_bytes,
            queued,
            promised: self.store.purse.promised().await,
            rails: self.keeper.counting().map_or(0, |rails| rails.len()),
            frozen_bytes: frozen.map(|committed| committed.dataset.bytes).sum(),
            stale_rails: stale,
            health: self.store.health(),
            leaving: (leaving.len(), held),
            backup_behind: self.keeper.behind().await?,
        })
    }

    /// How many changes of the index the agents do not have.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn behind(&self) -> Result<u64, IndexError> {
        self.keeper.behind().await
    }

    /// Something was not proven on these rails, by an epoch's statement: their agents are asked next for all
    /// that they should hold. Rails that are not this service's are passed over.
    pub fn suspect(&self, rails: impl IntoIterator<Item = RailId>) {
        self.keeper.suspect(rails);
    }

    /// Looks at the ledger now, commits all that changed with the agents and freezes it, without
    /// waiting for the epoch's end.
    ///
    /// # Errors
    /// The first failure; what could be done is done.
    pub async fn flush(&self) -> Result<(), KeepError> {
        self.keeper.refresh().await?;
        self.keeper.settle().await
    }

    /// Ends what runs in the background, and closes the index.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            // A step under way ends within the time of its requests.
            let _ = task.await;
        }
        if let Err(error) = self.store.purse.close().await {
            tracing::warn!(%error, "the bounds of vouchers stay raised");
        }
        if let Err(error) = self.keeper.back_up().await {
            tracing::warn!(%error, "the agents do not have the newest index");
        }
        self.store.shards.close().await;
        self.store.writer.close().await;
    }
}

/// Rounds of the keeper until the stop.
async fn keep(keeper: Arc<Keeper>, every: Duration, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(every) => {}
        }
        if let Err(error) = keeper.round().await {
            tracing::warn!(%error, "a round of the rails failed");
        }
    }
}

/// Backups of the index until the stop.
async fn back_up(keeper: Arc<Keeper>, every: Duration, mut stopped: watch::Receiver<bool>) {
    let mut last: Option<String> = None;
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(every) => {}
        }
        let failed = keeper.back_up().await.err();
        // A service that has no rails yet has nothing to lose.
        let failed = failed.filter(|error| !matches!(error, BackupError::Nobody));
        let now = failed.map(|error| error.to_string());
        if let Some(error) = now.as_ref().filter(|now| last.as_ref() != Some(*now)) {
            tracing::warn!(%error, "the agents do not have the newest index");
        }
        last = now;
    }
}

/// Steps of upkeep until the stop.
async fn tidy(store: Arc<Store>, keeper: Arc<Keeper>, mut stopped: watch::Receiver<bool>) {
    let every = store.limits.upkeep;
    let mut upkeep = Upkeep::new(store);
    let mut last: Option<String> = None;
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(every) => {}
        }
        let standing = keeper.standing();
        let done = async {
            // Without a look at the ledger nobody knows which rails are gone.
            if let Some(standing) = standing {
                upkeep.leave(standing).await?;
            }
            upkeep.step().await
        };
        let now = done.await.err().map(|error| error.to_string());
        if let Some(error) = now.as_ref().filter(|now| last.as_ref() != Some(*now)) {
            tracing::warn!(%error, "upkeep is held up");
        }
        last = now;
    }
}
