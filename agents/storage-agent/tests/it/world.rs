//! A ledger, a validator and a service that tests play by hand.

use agent::{Ledger, LedgerError, Validator, WallClock};
use alloy_primitives::B256;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bytes::Bytes;
use evidence::{
    Acceptance,
    wire::{Answer, Answers, Request, Response, Submit},
};
use futures::future::BoxFuture;
use protocol::{
    Account, DeviceId, Digest, Epoch, Height, Micros, NetworkId, Ppm, RailId, Tokens,
    clock::EpochClock,
    envelope::{Envelope, PROOF_MAX},
    fixtures,
    inputs::{Dataset, Device, Inputs, Rail},
    key::DeviceSecret,
    manifest::{EvidenceRules, KindTerms, Manifest, Slashes},
    voucher::{self, SignedVoucher, Voucher},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};
use storage_agent::{Config, Edge, Running, StartError, chain::Chain, start_with};
use storage_kind::{
    STORAGE,
    dataset::Shard,
    wire::{self, Commit, Committed, Form, Get, Introduction, Put, Refusal},
};
use tokio::sync::watch;
use transport::{BindConfig, Connection, Endpoint, Handler};

pub(crate) const CHAIN: u64 = 7;
pub(crate) const CLOCK: EpochClock = EpochClock { length: 30, grace: 4 };
pub(crate) const NETWORK: NetworkId = NetworkId(1);
pub(crate) const RAIL: RailId = RailId(3);
/// What the rail pays for an epoch: 200 MiB.
pub(crate) const RATE: Micros = Micros(1_024_000);
pub(crate) const LIMIT: Micros = Micros(10 * RATE.0);
/// Micro-dollars for a delivered KiB.
pub(crate) const KIB_PRICE: u64 = 2;

pub(crate) fn device() -> DeviceSecret {
    DeviceSecret::from_seed([1; 32])
}

pub(crate) fn signer(seed: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::with_last_byte(seed)).unwrap()
}

pub(crate) fn rail(id: RailId) -> Rail {
    Rail {
        id,
        payer: Account::with_last_byte(1),
        payee: Account::with_last_byte(2),
        signer: signer(1).address(),
        device: device().id(),
        limit: LIMIT,
        rate: RATE,
        nonce: 0,
        opened: Epoch(0),
        expiry: Epoch(100),
        class: 0,
        presented: Micros(0),
    }
}

fn terms() -> KindTerms {
    KindTerms {
        kind: STORAGE,
        price: Micros(5),
        delivery_price: Micros(KIB_PRICE),
        per_units: 1024,
        stake_base: Tokens::ZERO,
        stake_per: Tokens::ZERO,
        positions: 3,
        window: 6,
    }
}

fn manifest() -> Manifest {
    let rules = fixtures::free(STORAGE);
    Manifest {
        evidence: EvidenceRules { quota_bytes: 1_000_000, ..rules.evidence },
        slashes: Slashes { selective_miss: Ppm(100_000), ..rules.slashes },
        kinds: vec![terms()],
        ..rules
    }
}

pub(crate) fn inputs(epoch: u64, dataset: Option<Dataset>) -> Inputs {
    let device = device();
    Inputs {
        version: 1,
        chain_id: CHAIN,
        network: NETWORK,
        epoch: Epoch(epoch),
        clock: CLOCK,
        mix: [epoch.to_be_bytes()[7]; 32],
        latest_root: [0; 32],
        rails_contract: rails(),
        treasury: Account::ZERO,
        manifest: manifest(),
        roster: vec![Device {
            id: device.id(),
            key: device.key(),
            owner: Account::with_last_byte(2),
            maker: Account::ZERO,
            kind: STORAGE,
            tier: 2,
            cell: 0,
            capacity: 1 << 30,
            offer: Digest::default(),
            stake: Tokens::ZERO,
            netted: Tokens::ZERO,
        }],
        rails: vec![rail(RAIL)],
        datasets: dataset.into_iter().collect(),
        by_device: Default::default(),
    }
}

fn rails() -> Account {
    Account::with_last_byte(5)
}

/// A ledger that moves when it is told to.
#[derive(Debug)]
pub(crate) struct World {
    head: watch::Sender<u64>,
    files: Mutex<BTreeMap<Epoch, Vec<u8>>>,
    /// The rail as the ledger has it now.
    pub(crate) rail: Mutex<Rail>,
    pub(crate) taken: Mutex<Vec<Envelope>>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            head: watch::Sender::new(29),
            files: Mutex::default(),
            rail: Mutex::new(rail(RAIL)),
            taken: Mutex::default(),
        })
    }

    /// Publishes the inputs of an epoch and goes through its blocks, each when the agent has seen the
    /// one before and `at_rest` says that it did what was due.
    pub(crate) async fn epoch(&self, running: &Running, inputs: &Inputs) {
        self.begin(running, inputs).await;
        let last = CLOCK.last(inputs.epoch).0;
        self.advance(running, last).await;
    }

    /// Publishes the inputs of an epoch and waits until the agent has adopted them.
    pub(crate) async fn begin(&self, running: &Running, inputs: &Inputs) {
        self.files.lock().unwrap().insert(inputs.epoch, inputs.to_bytes());
        let first = inputs.first_height().0;
        self.head.send_replace(first);
        let mut watch = running.watch();
        watch.wait_for(|metrics| metrics.epoch == Some(inputs.epoch)).await.unwrap();
    }

    pub(crate) async fn advance(&self, running: &Running, to: u64) {
        let mut watch = running.watch();
        let from = watch.borrow().head.unwrap().0;
        for height in from + 1..=to {
            self.head.send_replace(height);
            watch.wait_for(|metrics| metrics.head == Some(Height(height))).await.unwrap();
        }
    }

    pub(crate) fn envelopes(&self, epoch: u64) -> Vec<Envelope> {
        let taken = self.taken.lock().unwrap();
        let ours = taken.iter().filter(|envelope| envelope.payload().epoch == Epoch(epoch));
        ours.cloned().collect()
    }
}

impl Ledger for World {
    fn chain_id(&self) -> u64 {
        CHAIN
    }
    fn clock(&self) -> BoxFuture<'_, Result<EpochClock, LedgerError>> {
        Box::pin(async { Ok(CLOCK) })
    }
    fn next(&self, after: Option<Height>) -> BoxFuture<'_, Height> {
        let mut head = self.head.subscribe();
        Box::pin(async move {
            let later = |height: &u64| after.is_none_or(|after| *height > after.0);
            Height(*head.wait_for(later).await.unwrap())
        })
    }
    fn inputs_hash(
        &self,
        _: NetworkId,
        epoch: Epoch,
    ) -> BoxFuture<'_, Result<Option<Digest>, LedgerError>> {
        let found = self.files.lock().unwrap().get(&epoch).map(|file| Digest::of(file));
        Box::pin(async move { Ok(found) })
    }
}

impl Chain for World {
    fn rail(&self, id: RailId) -> BoxFuture<'_, Result<Option<Rail>, LedgerError>> {
        let found = match id {
            RAIL => Some(*self.rail.lock().unwrap()),
            // Another device's rail.
            RailId(4) => Some(Rail { device: DeviceId([9; 32]), ..rail(RailId(4)) }),
            _ => None,
        };
        Box::pin(async move { Ok(found) })
    }
    fn owner(&self, _: DeviceId) -> BoxFuture<'_, Result<Option<Account>, LedgerError>> {
        Box::pin(async { Ok(Some(Account::with_last_byte(2))) })
    }
    fn terms(&self, _: NetworkId) -> BoxFuture<'_, Result<Option<KindTerms>, LedgerError>> {
        Box::pin(async { Ok(Some(terms())) })
    }
}

/// A validator that takes everything.
struct Validating(Arc<World>);

impl Handler for Validating {
    fn handle(
        &self,
        _: [u8; 32],
        header: Vec<u8>,
        body: Bytes,
    ) -> transport::BoxFuture<'_, Result<(Vec<u8>, Bytes), transport::Refusal>> {
        Box::pin(async move {
            let (response, body) = match Request::from_bytes(&header).unwrap() {
                Request::Submit => (Response::Answers, self.submit(&body)),
                Request::Inputs(_, epoch) => {
                    match self.0.files.lock().unwrap().get(&epoch).cloned() {
                        Some(file) => (Response::File, file),
                        None => (Response::Missing, Vec::new()),
                    }
                }
                _ => (Response::Missing, Vec::new()),
            };
            Ok((response.to_bytes(), body.into()))
        })
    }
}

impl Validating {
    fn submit(&self, body: &[u8]) -> Vec<u8> {
        let validator = DeviceSecret::from_seed([90; 32]);
        let submit = Submit::from_bytes(body).unwrap();
        let answers = submit.envelopes().map(|bytes| {
            let envelope = Envelope::parse(bytes, PROOF_MAX).unwrap();
            envelope.verify(&device().key()).unwrap();
            let named = (envelope.payload().network, envelope.payload().epoch);
            let digest = envelope.digest();
            self.0.taken.lock().unwrap().push(envelope);
            Answer::Accepted(Acceptance::sign(&validator, CHAIN, digest, named, Height(1)))
        });
        Answers { answers: answers.collect() }.to_bytes()
    }
}

/// The validator's endpoint; it lives as long as what is returned.
pub(crate) async fn validator(world: &Arc<World>) -> (Endpoint, Validator) {
    let bind = BindConfig::new([90; 32], "127.0.0.1:0".parse().unwrap()).alpn(evidence::wire::ALPN);
    let endpoint = Endpoint::bind(bind).await.unwrap();
    endpoint.serve(evidence::wire::ALPN, Arc::new(Validating(Arc::clone(world)))).unwrap();
    let validator = Validator { http: "http://127.0.0.1:9".into(), peer: Some(endpoint.peer()) };
    (endpoint, validator)
}

pub(crate) fn config(data: &Path, validator: &Validator) -> Config {
    let mut config = Config::new(NETWORK, String::new(), data.to_owned(), device());
    config.validators = vec![validator.clone()];
    config.capacity = 64 << 20;
    config.credit = 1024;
    config
}

pub(crate) async fn start(config: Config, world: &Arc<World>) -> Running {
    try_start(config, world).await.unwrap()
}

pub(crate) async fn try_start(config: Config, world: &Arc<World>) -> Result<Running, StartError> {
    let edge = Edge {
        ledger: Arc::<World>::clone(world),
        chain: Arc::<World>::clone(world),
        clock: Arc::new(WallClock),
        chain_id: CHAIN,
        rails: rails(),
    };
    start_with(config, edge).await
}

/// A customer's service with its own key.
pub(crate) struct Service {
    endpoint: Endpoint,
    connection: Connection,
    pub(crate) signer: PrivateKeySigner,
    spent: u64,
    nonce: u64,
}

impl Service {
    pub(crate) async fn new(running: &Running, seed: u8, signer: PrivateKeySigner) -> Self {
        let mut bind = BindConfig::new([seed; 32], "127.0.0.1:0".parse().unwrap());
        bind.max_frame = wire::BODY_MAX;
        let endpoint = Endpoint::bind(bind).await.unwrap();
        let connection = endpoint.connect(running.peer(), wire::ALPN).await.unwrap();
        Self { endpoint, connection, signer, spent: 0, nonce: 0 }
    }

    pub(crate) async fn ask(
        &self,
        request: &wire::Request,
        body: Bytes,
    ) -> Result<(wire::Response, Bytes), Refusal> {
        self.raw(&request.to_bytes(), body).await
    }

    pub(crate) async fn raw(
        &self,
        header: &[u8],
        body: Bytes,
    ) -> Result<(wire::Response, Bytes), Refusal> {
        let (header, body) = self.connection.request(header, body).await.unwrap();
        match wire::Response::from_bytes(&header).unwrap() {
            wire::Response::Refused(refusal) => Err(refusal),
            response => Ok((response, body)),
        }
    }

    pub(crate) async fn introduce(&self) {
        let domain = voucher::domain(CHAIN, rails());
        let hash = Introduction::signing_hash(&domain, self.endpoint.id());
        let signature = self.signer.sign_hash_sync(&hash).unwrap().as_bytes();
        let request = wire::Request::Introduce(Introduction { signature });
        let (welcome, _) = self.ask(&request, Bytes::new()).await.unwrap();
        assert_eq!(welcome, wire::Response::Welcome(self.signer.address()));
    }

    pub(crate) async fn put(&self, rail: RailId, body: &[u8]) -> Result<Shard, Refusal> {
        let shard = Shard { hash: Digest::of(body), bytes: u64::try_from(body.len()).unwrap() };
        let request = wire::Request::Put(Put { rail, shard });
        let (stored, _) = self.ask(&request, Bytes::copy_from_slice(body)).await?;
        assert_eq!(stored, wire::Response::Stored);
        Ok(shard)
    }

    pub(crate) async fn commit(
        &self,
        (base, version): (u64, u64),
        added: &[Shard],
        removed: &[Digest],
    ) -> Result<Dataset, Refusal> {
        let (mut added, mut removed) = (added.to_vec(), removed.to_vec());
        added.sort_unstable_by_key(|shard| shard.hash);
        removed.sort_unstable();
        let request = wire::Request::Commit(Commit { rail: RAIL, base, version, added, removed });
        match self.ask(&request, Bytes::new()).await?.0 {
            wire::Response::Committed(Committed { dataset, signature }) => {
                let message = dataset.signing_bytes(CHAIN);
                device().key().verify(&message, &signature).unwrap();
                Ok(dataset)
            }
            other => panic!("{other:?}"),
        }
    }

    /// A voucher for `amount` in all.
    pub(crate) fn voucher(&mut self, amount: u64) -> SignedVoucher {
        self.nonce += 1;
        let voucher =
            Voucher { network: NETWORK, rail: RAIL, nonce: self.nonce, amount: Micros(amount) };
        let hash = voucher.signing_hash(&voucher::domain(CHAIN, rails()));
        let signature = self.signer.sign_hash_sync(&hash).unwrap().as_bytes();
        SignedVoucher { voucher, signature }
    }

    /// Reads and pays for it.
    pub(crate) async fn get(
        &mut self,
        shard: Shard,
        (offset, length): (u64, u64),
        form: Form,
    ) -> Result<Bytes, Refusal> {
        self.spent += length.div_ceil(1024) * KIB_PRICE;
        let voucher = Some(self.voucher(self.spent));
        self.get_with(shard, (offset, length), form, voucher).await
    }

    pub(crate) async fn get_with(
        &self,
        shard: Shard,
        (offset, length): (u64, u64),
        form: Form,
        voucher: Option<SignedVoucher>,
    ) -> Result<Bytes, Refusal> {
        let get = Get { rail: RAIL, shard: shard.hash, offset, length, form, voucher };
        let (response, body) = self.ask(&wire::Request::Get(get), Bytes::new()).await?;
        assert_eq!(response, wire::Response::Data(shard.bytes));
        Ok(body)
    }
}

pub(crate) fn body(seed: u8, bytes: usize) -> Vec<u8> {
    let mut body = vec![0; bytes];
    for (at, byte) in body.iter_mut().enumerate() {
        *byte = seed.wrapping_add((at % 251).to_le_bytes()[0]);
    }
    body
}
