//! The desk: answers services ([`storage_kind::wire`]).
//!
//! Rules:
//! * a peer acts for the signer that introduced it, and only on that signer's rails;
//! * a rail is looked up on the ledger when it is first heard of; epochs' inputs keep it up to date;
//! * shards that arrive together are written together (group commit), and each is acknowledged only
//!   when it is durable;
//! * shards are taken within what the rail's rate pays for, and as long as its limit covers one more
//!   epoch; nothing is taken or delivered on a rail that has ended;
//! * a customer is trusted with the price of a few bytes, and never with more than the rail has earned;
//! * deliveries are paid by voucher ([`crate::tab`]); a shard that cannot be read is not put on the tab.

mod work;

pub(crate) use work::Work;

use crate::{
    chain::Chain, counters::Counters, fresh::SMALL_MAX, hardware::Hardware, shard::Checked,
    store::Store,
};
use alloy_sol_types::Eip712Domain;
use bytes::Bytes;
use protocol::{
    Account, Epoch, Micros, NetworkId, RailId, inputs::Rail, key::DeviceSecret,
    manifest::KindTerms, voucher,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use storage_kind::wire::{
    Commit, Committed, Form, Get, Introduction, NOTE_MAX, Put, Refusal, Request, Response, Terms,
};
use tokio::sync::Semaphore;
use transport::BoxFuture;

/// How many peers are remembered; the one introduced first is forgotten first.
const PEERS_MAX: usize = 1_024;
/// Bytes of a slice beside the range and a sixteenth of it: its length, and the ends of its tree.
const SLICE_HEAD_MAX: usize = 8 << 10;
/// How many rails are looked up at once.
const LOOKUPS_MAX: usize = 4;

/// How the desk serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The network that the device serves.
    pub network: NetworkId,
    /// The chain's id.
    pub chain_id: u64,
    /// The address of the rails contract.
    pub rails: Account,
    /// Bytes that a rail may be delivered unpaid.
    pub credit: u64,
}

type Answer = Result<(Response, Bytes), Refusal>;

pub(crate) struct Desk {
    settings: Settings,
    secret: DeviceSecret,
    domain: Eip712Domain,
    store: Arc<Store>,
    hardware: Arc<Hardware>,
    chain: Arc<dyn Chain>,
    counters: Arc<Counters>,
    work: Work,
    lookups: Semaphore,
    peers: Mutex<Peers>,
    owner: Mutex<Option<Account>>,
    /// What the manifest said before any inputs were seen.
    early: Mutex<Option<KindTerms>>,
}

#[derive(Default)]
struct Peers {
    signers: BTreeMap<[u8; 32], (u64, Account)>,
    introduced: u64,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk, whose work is done as `work` says.
    pub(crate) fn new(
        settings: Settings,
        secret: DeviceSecret,
        (store, hardware): (Arc<Store>, Arc<Hardware>),
        (chain, counters): (Arc<dyn Chain>, Arc<Counters>),
        work: Work,
    ) -> Self {
        Self {
            domain: voucher::domain(settings.chain_id, settings.rails),
            settings,
            secret,
            store,
            hardware,
            chain,
            counters,
            work,
            lookups: Semaphore::new(LOOKUPS_MAX),
            peers: Mutex::default(),
            owner: Mutex::default(),
            early: Mutex::default(),
        }
    }

    /// The answer to a request of a peer, whose key is known for certain: a header and a body each.
    pub(crate) async fn respond(
        &self,
        peer: [u8; 32],
        header: &[u8],
        body: Bytes,
    ) -> (Vec<u8>, Bytes) {
        let (response, body) = self.answer(peer, header, body).await.unwrap_or_else(|refusal| {
            self.counters.refused();
            tracing::debug!(%refusal, "a service's request is refused");
            (Response::Refused(refusal), Bytes::new())
        });
        (response.to_bytes(), body)
    }

    async fn answer(&self, peer: [u8; 32], header: &[u8], body: Bytes) -> Answer {
        let request = Request::from_bytes(header).map_err(|_| Refusal::Malformed)?;
        match request {
            Request::Introduce(introduction) => self.introduce(peer, &introduction),
            Request::Terms => self.terms().await,
            Request::Put(put) => self.put(peer, put, body).await,
            Request::Get(get) => self.get(peer, get).await,
            Request::Holds(rail, shards) => {
                self.rail(peer, rail).await?;
                let held = self.blocking(move |store| Ok(store.holds(rail, &shards)?)).await?;
                Ok((Response::Holds(held), Bytes::new()))
            }
            Request::Stat(rail) => {
                self.rail(peer, rail).await?;
                let stat = self.blocking(move |store| Ok(store.stat(rail)?)).await?;
                Ok((Response::Stat(stat), Bytes::new()))
            }
            Request::Commit(commit) => self.commit(peer, commit).await,
            Request::Note(rail) => self.note(peer, rail, body).await,
            Request::Noted(rail) => {
                self.rail(peer, rail).await?;
                let note = self.blocking(move |store| Ok(store.noted(rail)?)).await?;
                let best = self.store.tabs().get(&rail).and_then(|tab| tab.best);
                Ok((Response::Noted(best), note.into()))
            }
        }
    }

    fn introduce(&self, peer: [u8; 32], introduction: &Introduction) -> Answer {
        let signer = introduction.signer(&self.domain, peer).ok_or(Refusal::BadIntroduction)?;
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.signers.len() >= PEERS_MAX && !peers.signers.contains_key(&peer) {
            let first = peers.signers.iter().min_by_key(|(_, (at, _))| *at).map(|(peer, _)| *peer);
            first.and_then(|first| peers.signers.remove(&first));
        }
        peers.introduced += 1;
        let at = peers.introduced;
        peers.signers.insert(peer, (at, signer));
        Ok((Response::Welcome(signer), Bytes::new()))
    }

    async fn terms(&self) -> Answer {
        let known = *self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let device = self.secret.id();
        let owner = match known {
            Some(owner) => owner,
            None => {
                let owner = self.chain.owner(device).await.map_err(|error| busy(&error))?;
                // Not registered yet: nobody could open a rail to it.
                let owner = owner.ok_or(Refusal::Busy)?;
                *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(owner);
                owner
            }
        };
        let kind = self.kind().await?;
        let leaving = self.store.is_leaving();
        let free = if leaving { 0 } else { self.store.free() };
        let per_gib = |price: Micros| kind.dollars(1 << 30, price);
        let terms = Terms {
            device,
            network: self.settings.network,
            owner,
            price: per_gib(kind.price),
            delivery_price: per_gib(kind.delivery_price),
            free,
            leaving,
        };
        Ok((Response::Terms(terms), Bytes::new()))
    }

    /// What the network pays.
    async fn kind(&self) -> Result<KindTerms, Refusal> {
        if let Some(terms) = self.hardware.terms() {
            return Ok(terms.kind);
        }
        if let Some(early) = *self.early.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(early);
        }
        let terms = self.chain.terms(self.settings.network).await;
        let terms = terms.map_err(|error| busy(&error))?.ok_or(Refusal::Busy)?;
        *self.early.lock().unwrap_or_else(PoisonError::into_inner) = Some(terms);
        Ok(terms)
    }

    /// Refuses a rail whose last epoch is over.
    fn counts(&self, rail: &Rail) -> Result<(), Refusal> {
        self.until(rail.expiry)
    }

    /// Refuses what `last` was the last epoch for.
    fn until(&self, last: Epoch) -> Result<(), Refusal> {
        let over = self.hardware.terms().is_some_and(|terms| terms.epoch > last);
        if over { Err(Refusal::UnknownRail) } else { Ok(()) }
    }

    /// Refuses a rail whose limit, less what it has paid and promised, does not cover one more epoch.
    async fn covers(&self, rail: &Rail) -> Result<(), Refusal> {
        let spent = self.store.by_rate(rail.id).saturating_add(self.store.promised(rail.id));
        let needed = spent.saturating_add(rail.rate);
        // It may have been raised since.
        if needed > rail.limit && needed > self.look_up(rail.id).await?.limit {
            return Err(Refusal::LimitTooLow(needed));
        }
        Ok(())
    }

    async fn put(&self, peer: [u8; 32], put: Put, body: Bytes) -> Answer {
        let rail = self.rail(peer, put.rail).await?;
        if self.store.is_leaving() {
            return Err(Refusal::Leaving);
        }
        self.counts(&rail)?;
        self.covers(&rail).await?;
        let paid = self.room(rail.rate).await?;
        if u64::try_from(body.len()) != Ok(put.shard.bytes) {
            return Err(Refusal::BadShard);
        }
        let bytes = put.shard.bytes;
        let check = move || Ok(Checked { paid, ..Checked::new(put.rail, put.shard, body)? });
        // Another thread costs more than to hash a small shard here.
        let checked = if bytes <= SMALL_MAX { check()? } else { self.work.run(check).await? };
        self.work.put(&self.store, checked).await?;
        self.counters.stored(bytes);
        Ok((Response::Stored, Bytes::new()))
    }

    async fn get(&self, peer: [u8; 32], get: Get) -> Answer {
        let rail = self.rail(peer, get.rail).await?;
        // Vouchers are paid once more in the epoch after a rail's last.
        self.until(rail.expiry.next())?;
        let kind = self.kind().await?;
        let by_rate = self.store.by_rate(get.rail);
        let above = |amount: Micros| amount.saturating_add(by_rate) > rail.limit;
        let rail = match get.voucher {
            // The limit may have been raised since.
            Some(signed) if above(signed.voucher.amount) => self.look_up(get.rail).await?,
            _ => rail,
        };
        let (network, credit) = (self.settings.network, self.settings.credit);
        let domain = self.domain.clone();
        let (size, bytes) = self
            .blocking(move |store| {
                let size = store.size(get.rail, get.shard)?;
                let size = size.ok_or(Refusal::NotHeld(get.shard))?;
                let trust = kind.dollars(credit, kind.delivery_price).min(by_rate);
                store.tab(get.rail, credit, |tab| {
                    if let Some(signed) = &get.voucher {
                        tab.take(signed, (&rail, by_rate), network, &domain)?;
                    }
                    tab.deliver(get.length, &kind, trust)
                })?;
                let bytes = store.read(&get, size).inspect_err(|_| {
                    // Not delivered, so not owed. This cannot fail: nothing is exposed by it.
                    let _ = store.tab(get.rail, u64::MAX, |tab| {
                        tab.withdraw(get.length, &kind);
                        Ok(())
                    });
                })?;
                Ok((size, bytes))
            })
            .await?;
        self.counters.delivered(get.length, get.form == Form::Slice);
        Ok((Response::Data(size), bytes.into()))
    }

    async fn note(&self, peer: [u8; 32], rail: RailId, note: Bytes) -> Answer {
        let rail = self.rail(peer, rail).await?;
        if note.len() > NOTE_MAX {
            return Err(Refusal::Malformed);
        }
        self.counts(&rail)?;
        // A rail that pays for nothing buys no room with notes either.
        let bytes = u64::try_from(note.len()).unwrap_or(u64::MAX);
        if self.room(rail.rate).await? < bytes {
            return Err(Refusal::RateTooLow(bytes));
        }
        self.blocking(move |store| store.note(rail.id, &note)).await?;
        Ok((Response::Stored, Bytes::new()))
    }

    async fn commit(&self, peer: [u8; 32], commit: Commit) -> Answer {
        let rail = self.rail(peer, commit.rail).await?;
        self.counts(&rail)?;
        if !commit.added.is_empty() {
            self.covers(&rail).await?;
        }
        let paid = self.room(rail.rate).await?;
        let dataset = self.blocking(move |store| store.commit(&commit, paid)).await?;
        let signature = self.secret.sign(&dataset.signing_bytes(self.settings.chain_id));
        Ok((Response::Committed(Committed { dataset, signature }), Bytes::new()))
    }

    /// How many bytes a rate pays for; any number if they cost nothing.
    async fn room(&self, rate: Micros) -> Result<u64, Refusal> {
        let kind = self.kind().await?;
        Ok(kind.units(rate, kind.price).unwrap_or(u64::MAX))
    }

    /// The terms of a rail that `peer` may act on.
    async fn rail(&self, peer: [u8; 32], rail: RailId) -> Result<Rail, Refusal> {
        let signer = {
            let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            peers.signers.get(&peer).map(|(_, signer)| *signer)
        };
        let signer = signer.ok_or(Refusal::NotIntroduced)?;
        let terms = match self.store.terms(rail) {
            Some(terms) => terms,
            None => self.look_up(rail).await?,
        };
        if terms.signer == signer { Ok(terms) } else { Err(Refusal::NotYourRail) }
    }

    /// Reads the terms of a rail from the ledger and keeps them.
    async fn look_up(&self, rail: RailId) -> Result<Rail, Refusal> {
        let _turn = self.lookups.acquire().await.map_err(|_| Refusal::Busy)?;
        let terms = self.chain.rail(rail).await.map_err(|error| busy(&error))?;
        let terms = terms.ok_or(Refusal::UnknownRail)?;
        if terms.device != self.secret.id() {
            return Err(Refusal::UnknownRail);
        }
        self.blocking(move |store| Ok(store.admit(&[terms])?)).await?;
        Ok(terms)
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<R, Refusal> + Send + 'static,
    ) -> Result<R, Refusal> {
        let store = Arc::clone(&self.store);
        self.work.run(move || work(&store)).await
    }
}

impl transport::Handler for Desk {
    fn handle(
        &self,
        peer: [u8; 32],
        header: Vec<u8>,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), transport::Refusal>> {
        Box::pin(async move { Ok(self.respond(peer, &header, body).await) })
    }

    /// Only reading answers with a body: the range, and a sixteenth of it on top as a slice's hashes; or a
    /// note.
    fn answer_max(&self, header: &[u8]) -> usize {
        let length = match Request::from_bytes(header) {
            Ok(Request::Get(get)) => usize::try_from(get.length).unwrap_or(usize::MAX),
            Ok(Request::Noted(_)) => return NOTE_MAX,
            _ => return 0,
        };
        length.saturating_add(length / 16).saturating_add(SLICE_HEAD_MAX)
    }
}

fn busy(error: &agent::LedgerError) -> Refusal {
    tracing::warn!(%error, "the ledger could not be asked");
    Refusal::Busy
}
