//! Makes a lost index anew from the keys, the ledger and the agents.
//!
//! The ledger names the rails whose signer the service is, and so the agents. Each is asked for its note; the
//! one with the highest number counts. At least k + 1 agents took it before anything was sure to survive, so
//! with at most k agents that do not answer it is among those that came. The note's segments are found by
//! asking all agents for their shards, read as any others are, and paid.
//!
//! The index is made in a file of another name, checked whole, and takes its place in one step: recovery can be
//! begun again at any time. Nothing on the agents is changed by it. Numbers of vouchers and transactions go on
//! far beyond what the lost index can have used; what was promised each agent shows by the voucher that the
//! service signed, and nobody is believed to be owed more.

use super::note::{self, Note, NoteError, Piece, Sealer};
use crate::{
    aside::aside,
    codec::CodecError,
    config::Config,
    fleet::{Agent, Fleet},
    index::{Change, Entry, Extent, Home, Index, IndexError, Segment, ShardRow, Writer},
    keys::Keyring,
    purse::{Allowance, Purse},
    rails::{LedgerError, View, reachable},
    service::{INDEX_FILE, World},
    shards::Noted,
    store::{Parts, ReadError, Store},
};
use alloy_sol_types::Eip712Domain;
use futures::{StreamExt as _, stream};
use protocol::{
    Account, DeviceId, Digest, Micros, NetworkId, RailId, manifest::KindTerms, net::Peer,
    voucher::SignedVoucher,
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use storage_kind::wire::Stat;

/// The index while it is made.
const PART_FILE: &str = "index.recovering";
/// Agents asked at once.
const ASKED_AT_ONCE: usize = 16;
/// How long each may take.
const ASKED_WITHIN: Duration = Duration::from_secs(15);
/// Rows put into the index by one transaction.
const ROWS_AT_ONCE: usize = 16_384;
/// By how much the numbers of vouchers go on beyond those that the recovery itself used.
const NONCES: u64 = 1 << 32;

/// Why nothing was made anew.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is an index.
    #[error("{0} is there already: nothing is to be recovered here")]
    There(PathBuf),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No rail's signer is this key.
    #[error(
        "the ledger knows no rail of the key {0}: it is not the one that the lost service signed with"
    )]
    NoRails(Account),
    /// Too many agents do not answer: the newest note may be with them.
    #[error(
        "{silent} of {asked} agents do not answer and may have newer notes; at most {most} may be missing: \
         start them, or allow more to be missing and lose what only they know"
    )]
    Silent {
        /// How many do not.
        silent: usize,
        /// How many were asked.
        asked: usize,
        /// How many need not.
        most: usize,
    },
    /// No agent has a note.
    #[error(
        "none of {0} agents keeps a note of this service: it never stored anything, or long ago"
    )]
    Nothing(usize),
    /// The keyring is another one.
    #[error(
        "the agents keep notes that this keyring does not open: give back the one that was lost"
    )]
    Keys,
    /// A part of the index cannot be read.
    #[error("a part of the index cannot be read: {0}")]
    Read(#[from] ReadError),
    /// What was read is not the index.
    #[error("what the agents keep does not make a whole index: {0}")]
    Broken(&'static str),
    /// The index made of it refuses.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The folder.
    #[error("{path}: {source}")]
    Folder {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<NoteError> for RecoverError {
    fn from(_: NoteError) -> Self {
        Self::Broken("an entry does not decode")
    }
}

impl From<CodecError> for RecoverError {
    fn from(error: CodecError) -> Self {
        Self::Read(error.into())
    }
}

/// What was made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Agents that answered, of those asked.
    pub answered: (usize, usize),
    /// The last transaction of the lost index that is in the new one.
    pub sequence: u64,
}

/// Makes the index of `config`'s folder anew. `silent_max` agents need not answer: k if nothing else is said.
///
/// # Errors
/// [`RecoverError`] says what is in the way; the folder is as it was then.
pub async fn recover(
    config: &Config,
    keyring: &Keyring,
    world: &World,
    silent_max: Option<usize>,
) -> Result<Recovered, RecoverError> {
    let path = config.data.join(INDEX_FILE);
    if path.exists() {
        return Err(RecoverError::There(path));
    }
    let part = config.data.join(PART_FILE);
    let made = recover_into(config, keyring, world, silent_max, || fresh(&part)).await;
    let recovered = made.inspect_err(|_| {
        // What is left of it would be written over by the next try.
        let _ = std::fs::remove_file(&part);
    })?;
    let moved =
        std::fs::rename(&part, &path).and_then(|()| std::fs::File::open(&config.data)?.sync_all());
    moved.map_err(|source| RecoverError::Folder { path, source })?;
    Ok(recovered)
}

/// Makes an index anew in what `fresh` gives, an index that nobody uses yet, and closes it. If it fails, what
/// is there is no index.
///
/// # Errors
/// [`RecoverError`] says what is in the way.
pub async fn recover_into(
    config: &Config,
    keyring: &Keyring,
    world: &World,
    silent_max: Option<usize>,
    fresh: impl FnOnce() -> Result<Index, RecoverError>,
) -> Result<Recovered, RecoverError> {
    let signer = config.signer.address();
    let view = world.ledger.view().await?;
    let scout = Scout::new(config, keyring, world, &view)?;
    if scout.rails.is_empty() {
        return Err(RecoverError::NoRails(signer));
    }
    let most = silent_max.unwrap_or(usize::from(config.shape.k()));
    let (note, answered) = scout.note(&Sealer::new(&keyring.content.content), most).await?;
    let made = make(&scout, &note, Arc::new(fresh()?)).await;
    scout.store.writer.close().await;
    let (objects, object_bytes) = made?;
    let answered = (answered, scout.rails.len());
    Ok(Recovered { objects, object_bytes, answered, sequence: note.sequence })
}

/// An index at `path`, whatever was there.
fn fresh(path: &Path) -> Result<Index, RecoverError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(RecoverError::Folder { path: path.to_owned(), source });
        }
        _ => {}
    }
    Ok(Index::open(path)?)
}

/// The way to the agents of a service that has no index yet.
struct Scout {
    store: Arc<Store>,
    rails: BTreeMap<RailId, (DeviceId, Peer)>,
    nonce: u64,
    terms: KindTerms,
    network: NetworkId,
    domain: Eip712Domain,
}

impl Scout {
    fn new(
        config: &Config,
        keyring: &Keyring,
        world: &World,
        view: &View,
    ) -> Result<Self, RecoverError> {
        let writer = Writer::start(Arc::new(Index::in_memory()?))
            .map_err(|source| RecoverError::Folder { path: "the index's thread".into(), source })?;
        let signer = config.signer.address();
        let domain = protocol::voucher::domain(config.chain_id, config.rails_contract);
        let network = config.network;
        let purse = Purse::new(config.signer.clone(), domain.clone(), network, writer.clone());
        let peers: BTreeMap<_, _> =
            reachable(view).map(|(device, peer)| (device.id, (peer, device.owner))).collect();
        let ours = view.rails.iter().filter(|rail| rail.signer == signer);
        let rails: BTreeMap<_, _> = ours
            .clone()
            .filter_map(|rail| Some((rail.id, (rail.device, peers.get(&rail.device)?.0))))
            .collect();
        // No number that the lost service can have used: it began with small ones, or, if it was made anew
        // before, with those of that moment.
        let nonce = world.clock.now_ms() << 16;
        let allowances = ours.map(|rail| {
            let allowance =
                Allowance { limit: rail.limit, nonce: rail.nonce.max(nonce), kept: Micros::ZERO };
            (rail.id, allowance)
        });
        purse.update(view.terms, allowances.collect());
        let fleet = Fleet::default();
        fleet.update(peers.iter().map(|(device, (peer, owner))| Agent {
            device: *device,
            peer: *peer,
            owner: *owner,
            rail: None,
            paid_room: 0,
            proven: false,
        }));
        let store = Store::new(Parts {
            keys: keyring.content.clone(),
            shape: config.shape,
            limits: config.limits,
            writer,
            shards: Arc::clone(&world.shards),
            fleet: Arc::new(fleet),
            purse: Arc::new(purse),
            clock: Arc::clone(&world.clock),
            random: Arc::clone(&world.random),
        });
        Ok(Self { store, rails, nonce, terms: view.terms, network, domain })
    }

    /// The newest note, and how many agents answered.
    async fn note(&self, sealer: &Sealer, most: usize) -> Result<(Note, usize), RecoverError> {
        let asked = stream::iter(self.rails.clone()).map(|(rail, (_, peer))| async move {
            let noted = tokio::time::timeout(ASKED_WITHIN, self.store.shards.noted(peer, rail));
            Some((rail, noted.await.ok()?.ok()?))
        });
        let answers: Vec<_> = asked.buffer_unordered(ASKED_AT_ONCE).collect().await;
        let asked = answers.len();
        let answers: Vec<(RailId, Noted)> = answers.into_iter().flatten().collect();
        let (answered, silent) = (answers.len(), asked - answers.len());
        if silent > most {
            return Err(RecoverError::Silent { silent, asked, most });
        }
        let some: Vec<_> = answers.iter().filter(|(_, noted)| !noted.note.is_empty()).collect();
        if some.is_empty() {
            return Err(RecoverError::Nothing(answered));
        }
        let opened = some.into_iter().filter_map(|(_, noted)| sealer.open(&noted.note).ok());
        let newest = opened.max_by_key(|note| note.sequence).ok_or(RecoverError::Keys)?;
        for (rail, noted) in answers {
            self.promised(rail, noted.voucher).await?;
        }
        Ok((newest, answered))
    }

    /// Goes on from what was promised on a rail, by the voucher shown if the service signed it.
    async fn promised(
        &self,
        rail: RailId,
        shown: Option<SignedVoucher>,
    ) -> Result<(), RecoverError> {
        let ours = Some(self.store.purse.address());
        let holds = |shown: &SignedVoucher| {
            let named = (shown.voucher.network, shown.voucher.rail) == (self.network, rail);
            named && shown.signer(&self.domain) == ours
        };
        let shown = shown.filter(holds).map(|shown| shown.voucher.amount);
        let amount = shown.unwrap_or_default();
        // As many bytes as it pays for, so that what comes after them is reckoned as it was; and what was
        // delivered since and is worth less than the smallest amount, for which there is no voucher.
        let (units, price) = (u128::from(self.terms.per_units), self.terms.delivery_price.0);
        let bytes = ((u128::from(amount.0) + 1) * units).div_ceil(u128::from(price.max(1)));
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX / 2);
        self.store
            .writer
            .write(move |tables| tables.bound_vouchers(rail, 0, bytes, amount))
            .await?;
        Ok(())
    }

    /// The newest dataset of each rail, as far as agents answer.
    async fn stats(&self) -> Vec<(RailId, Option<Stat>)> {
        let asked = stream::iter(self.rails.clone()).map(|(rail, (_, peer))| async move {
            let stat = tokio::time::timeout(ASKED_WITHIN, self.store.shards.stat(peer, rail));
            (rail, stat.await.ok().and_then(Result::ok))
        });
        asked.buffer_unordered(ASKED_AT_ONCE).collect().await
    }

    /// The plain bytes of a segment, wherever its shards are.
    async fn piece(&self, piece: &Piece) -> Result<Vec<u8>, RecoverError> {
        let asked = stream::iter(self.rails.clone()).map(|(rail, (device, peer))| async move {
            let held = self.store.shards.holds(peer, rail, piece.shards.clone());
            let held = tokio::time::timeout(ASKED_WITHIN, held).await;
            (Home { rail, device }, held.ok().and_then(Result::ok).unwrap_or_default())
        });
        let answers: Vec<_> = asked.buffer_unordered(ASKED_AT_ONCE).collect().await;
        let home = |at: usize| {
            let holds = |held: &[bool]| held.get(at).copied().unwrap_or(false);
            answers.iter().find(|(_, held)| holds(held)).map(|(home, _)| *home)
        };
        let shard = |(at, hash): (usize, &Digest)| ShardRow { hash: *hash, home: home(at) };
        let row = Segment {
            plain: piece.plain,
            k: piece.needed,
            live: u64::from(piece.plain),
            created_ms: 0,
            packed: false,
            shards: piece.shards.iter().enumerate().map(shard).collect(),
        };
        row.layout()?;
        let extent = Extent { segment: piece.segment, offset: 0, bytes: piece.plain };
        let (range, reading) = (0..u64::from(piece.plain), self.store.reading());
        let known = Some((piece.segment, row));
        let body = self.store.read_from(vec![extent], range, reading, known).await?;
        Ok(body.collect().await?)
    }
}

/// Fills the index. Objects, and their bytes.
async fn make(scout: &Scout, note: &Note, index: Arc<Index>) -> Result<(u64, u64), RecoverError> {
    let blocking = Arc::clone(&index);
    run(move || blocking.write(|tables| tables.clear())).await?;
    let mut last = None;
    for piece in &note.pieces {
        let entries = note::entries(&scout.piece(piece).await?)?;
        last = put(&index, entries, last).await?;
    }
    if last.unwrap_or(0) != note.logged {
        return Err(RecoverError::Broken("the logs end before the note begins"));
    }
    last = put(&index, note.tail.clone(), last).await?;
    if last.unwrap_or(0) != note.sequence {
        return Err(RecoverError::Broken("the note's entries are not all there"));
    }
    let (sequence, nonce) = (note.sequence, scout.nonce.saturating_add(NONCES));
    // What reading all this promised, too.
    let promised = scout.store.writer.read(|reader| reader.rails()).await?;
    let stats = scout.stats().await;
    run(move || {
        let rows: BTreeMap<_, _> = index.read(|reader| reader.rails())?.into_iter().collect();
        index.write(|tables| {
            for (rail, stat) in stats {
                let known = rows.get(&rail).and_then(|row| row.committed).map(|last| last.dataset);
                let version = known.map_or(0, |known| known.version);
                let agreed = stat.is_some_and(|stat| {
                    stat.version == version && known.is_none_or(|known| known.root == stat.root)
                });
                // The lost service may have agreed on more since. One that says nothing will say so.
                if !agreed {
                    let newest = stat.map_or(1, |stat| stat.version).max(version);
                    tables.start_over(rail, newest)?;
                }
                tables.skip_nonces(rail, nonce)?;
            }
            for (rail, row) in promised {
                if let Some(amount) = row.amount_bound {
                    tables.bound_vouchers(rail, nonce, row.delivered_bound, amount)?;
                }
            }
            tables.restored(sequence)
        })?;
        let stats = index.read(|reader| {
            reader.check()?;
            reader.stats()
        })?;
        index.close();
        Ok((stats.objects, stats.object_bytes))
    })
    .await
}

/// Puts entries into the index, each after the one before; parts of one dump have one number.
async fn put(
    index: &Arc<Index>,
    entries: Vec<Entry>,
    mut last: Option<u64>,
) -> Result<Option<u64>, RecoverError> {
    let mut changes: Vec<Change> = Vec::new();
    for entry in entries {
        let follows = match last {
            None => true,
            Some(last) => entry.sequence == last || entry.sequence == last.saturating_add(1),
        };
        if !follows {
            return Err(RecoverError::Broken("an entry is missing"));
        }
        last = Some(entry.sequence);
        changes.extend(entry.changes);
    }
    let index = Arc::clone(index);
    run(move || {
        for some in changes.chunks(ROWS_AT_ONCE) {
            index.write(|tables| tables.restore(some))?;
        }
        Ok(())
    })
    .await?;
    Ok(last)
}

async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
) -> Result<T, RecoverError> {
    Ok(aside(work).await.ok_or(IndexError::Closed)??)
}
