//! A ledger, a validator and hardware that tests play by hand.

use agent::{
    Config, Figures, Ledger, LedgerError, ProveError, Remote, Running, Validator, WallClock, World,
};
use bytes::Bytes;
use evidence::{
    Acceptance,
    wire::{self, Answer, Answers, Request, Response, Submit},
};
use futures::future::BoxFuture;
use protocol::{
    Account, Digest, Epoch, Height, KindId, Micros, NetworkId, RailId, Reason, Tokens,
    cbor::Item,
    clock::EpochClock,
    envelope::{Body, Envelope, Payload},
    fixtures,
    inputs::{Dataset, Device, Inputs, Rail},
    key::DeviceSecret,
    kind::{Admission, Carried, Case, Duty, Finding, Kind, Offer, Survey, Usage},
    manifest::Manifest,
    voucher::SignedVoucher,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use transport::{BindConfig, Endpoint, Handler, Peer, Refusal};

pub(crate) const CHAIN: u64 = 7;
pub(crate) const CLOCK: EpochClock = EpochClock { length: 30, grace: 4 };
pub(crate) const NETWORK: NetworkId = NetworkId(1);
const KIND: KindId = KindId(1);

fn secret() -> DeviceSecret {
    DeviceSecret::from_seed([1; 32])
}

/// A kind with two duties an epoch.
#[derive(Debug)]
pub(crate) struct Plain;

impl Kind for Plain {
    fn id(&self) -> KindId {
        KIND
    }
    fn name(&self) -> &'static str {
        "plain"
    }
    fn unit(&self) -> &'static str {
        "units"
    }
    fn envelope_max(&self) -> usize {
        8_192
    }
    fn admit(&self, _: &Offer, _: &Manifest) -> Result<Admission, Reason> {
        Ok(Admission { stake: Tokens::ZERO })
    }
    fn duties(&self, inputs: &Inputs, _: &Device) -> Vec<Duty> {
        let first = inputs.first_height().0;
        [5, 12]
            .into_iter()
            .zip(0..)
            .map(|(at, index)| Duty {
                rail: RailId(1),
                index,
                from: Height(first + at),
                to: Height(first + at + 5),
                task: Item::of(&at),
            })
            .collect()
    }
    fn survey(&self, _: &Inputs, _: &[Carried]) -> Survey {
        Survey::empty()
    }
    fn judge(&self, _: &Case<'_>) -> Finding {
        Finding::default()
    }
    fn price(&self, _: &Usage, _: &Manifest) -> Micros {
        Micros(0)
    }
}

/// Hardware that can always prove.
#[derive(Debug, Default)]
pub(crate) struct Hardware(Mutex<Vec<Epoch>>);

impl Hardware {
    pub(crate) fn opened(&self) -> Vec<Epoch> {
        self.0.lock().unwrap().clone()
    }
}

impl agent::Hardware for Hardware {
    fn figures(&self) -> Figures {
        Figures { used: 1, free: 2 }
    }
    fn open(&self, inputs: &Inputs) {
        self.0.lock().unwrap().push(inputs.epoch);
    }
    fn close(&self, _: Epoch) {}
    fn inspect(&self, _: &Inputs, _: &Duty) -> Option<Body> {
        None
    }
    fn prove(&self, _: &Inputs, duty: &Duty) -> Result<Body, ProveError> {
        Ok(Body { kind: KIND, item: Item::of(&duty.index) })
    }
    fn vouchers(&self) -> Vec<SignedVoucher> {
        Vec::new()
    }
}

pub(crate) fn inputs(epoch: u64) -> Inputs {
    let device = secret();
    Inputs {
        version: 1,
        chain_id: CHAIN,
        network: NETWORK,
        epoch: Epoch(epoch),
        clock: CLOCK,
        mix: [1; 32],
        latest_root: [0; 32],
        rails_contract: Account::ZERO,
        treasury: Account::ZERO,
        manifest: manifest(),
        roster: vec![Device {
            id: device.id(),
            key: device.key(),
            owner: Account::with_last_byte(2),
            maker: Account::ZERO,
            kind: KIND,
            tier: 2,
            cell: 0,
            capacity: 1,
            offer: Digest::default(),
            stake: Tokens::ZERO,
            netted: Tokens::ZERO,
        }],
        rails: vec![Rail {
            id: RailId(1),
            payer: Account::with_last_byte(1),
            payee: Account::with_last_byte(2),
            signer: Account::with_last_byte(3),
            device: device.id(),
            limit: Micros(1),
            rate: Micros(1),
            nonce: 0,
            opened: Epoch(0),
            expiry: Epoch(100),
            class: 0,
            presented: Micros(0),
        }],
        datasets: vec![Dataset { rail: RailId(1), version: 1, root: Digest::default(), bytes: 1 }],
        by_device: Default::default(),
    }
}

fn manifest() -> Manifest {
    fixtures::free(KIND)
}

/// An envelope that a validator takes.
pub(crate) fn envelope() -> Envelope {
    let body = Body { kind: KIND, item: Item::of(&1u8) };
    let payload = Payload { network: NETWORK, epoch: Epoch(1), sequence: 1, time_ms: 1, body };
    Envelope::sign(&secret(), &payload)
}

/// A ledger that moves when it is told to.
#[derive(Debug)]
pub(crate) struct Chain {
    head: watch::Sender<u64>,
    hashes: Mutex<BTreeMap<Epoch, Digest>>,
}

impl Chain {
    pub(crate) fn new(head: u64) -> Self {
        Self { head: watch::Sender::new(head), hashes: Mutex::default() }
    }

    pub(crate) fn advance(&self, height: u64) {
        self.head.send_replace(height);
    }

    pub(crate) fn announce(&self, inputs: &Inputs) {
        self.hashes.lock().unwrap().insert(inputs.epoch, inputs.digest());
    }
}

impl Ledger for Chain {
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
        Box::pin(async move { Ok(self.hashes.lock().unwrap().get(&epoch).copied()) })
    }
}

/// A validator's desk: takes envelopes, gives inputs.
#[derive(Clone)]
pub(crate) struct Desk {
    state: Arc<State>,
    endpoint: Endpoint,
    http: SocketAddr,
}

struct State {
    secret: DeviceSecret,
    files: Mutex<BTreeMap<(NetworkId, Epoch), Vec<u8>>>,
    taken: Mutex<Vec<Envelope>>,
    iroh: AtomicUsize,
    http: AtomicUsize,
    deaf: AtomicBool,
}

impl State {
    fn submit(&self, body: &[u8]) -> Vec<u8> {
        let submit = Submit::from_bytes(body).unwrap();
        let answers = submit
            .envelopes()
            .map(|bytes| match Envelope::parse(bytes, 8_192) {
                Err(_) => Answer::Refused(Reason::Malformed),
                Ok(envelope) => {
                    let named = (envelope.payload().network, envelope.payload().epoch);
                    let digest = envelope.digest();
                    self.taken.lock().unwrap().push(envelope);
                    Answer::Accepted(Acceptance::sign(
                        &self.secret,
                        CHAIN,
                        digest,
                        named,
                        Height(1),
                    ))
                }
            })
            .collect();
        Answers { answers }.to_bytes()
    }

    fn file(&self, network: NetworkId, epoch: Epoch) -> Option<Vec<u8>> {
        self.files.lock().unwrap().get(&(network, epoch)).cloned()
    }

    async fn http(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        let end = loop {
            if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        while request.len() < end + length {
            stream.read_buf(&mut request).await?;
        }
        let path = head.split_whitespace().nth(1).unwrap();
        let (status, body) = match path.strip_prefix("/v1/inputs/") {
            Some(named) => {
                let (network, epoch) = named.split_once('/').unwrap();
                let named = (NetworkId(network.parse().unwrap()), Epoch(epoch.parse().unwrap()));
                self.file(named.0, named.1).map_or(("404 Not Found", Vec::new()), |f| ("200 OK", f))
            }
            None if path == "/v1/evidence" && self.deaf.load(Ordering::SeqCst) => {
                ("503 Service Unavailable", Vec::new())
            }
            None if path == "/v1/evidence" => {
                self.http.fetch_add(1, Ordering::SeqCst);
                ("200 OK", self.submit(&request[end..]))
            }
            None => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await
    }
}

impl Handler for Desk {
    fn handle(
        &self,
        _: [u8; 32],
        header: Vec<u8>,
        body: Bytes,
    ) -> transport::BoxFuture<'_, Result<(Vec<u8>, Bytes), Refusal>> {
        Box::pin(async move {
            let (response, body) = match Request::from_bytes(&header).unwrap() {
                Request::Submit => {
                    self.state.iroh.fetch_add(1, Ordering::SeqCst);
                    (Response::Answers, self.state.submit(&body))
                }
                Request::Inputs(network, epoch) => match self.state.file(network, epoch) {
                    Some(file) => (Response::File, file),
                    None => (Response::Missing, Vec::new()),
                },
                _ => (Response::Missing, Vec::new()),
            };
            Ok((response.to_bytes(), body.into()))
        })
    }
}

impl Desk {
    pub(crate) async fn open() -> Self {
        let bind = BindConfig::new([90; 32], "127.0.0.1:0".parse().unwrap()).alpn(wire::ALPN);
        let endpoint = Endpoint::bind(bind).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let state = Arc::new(State {
            secret: DeviceSecret::from_seed([90; 32]),
            files: Mutex::default(),
            taken: Mutex::default(),
            iroh: AtomicUsize::new(0),
            http: AtomicUsize::new(0),
            deaf: AtomicBool::new(false),
        });
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = Arc::clone(&served);
                tokio::spawn(async move { served.http(stream).await });
            }
        });
        let desk = Self { state, endpoint: endpoint.clone(), http };
        endpoint.serve(wire::ALPN, Arc::new(desk.clone())).unwrap();
        desk
    }

    pub(crate) fn peer(&self) -> Peer {
        self.endpoint.peer()
    }

    pub(crate) fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Whether evidence over HTTP is answered with an error.
    pub(crate) fn refuse_evidence(&self, refuse: bool) {
        self.state.deaf.store(refuse, Ordering::SeqCst);
    }

    pub(crate) fn publish(&self, inputs: Inputs) {
        let named = (inputs.network, inputs.epoch);
        self.state.files.lock().unwrap().insert(named, inputs.to_bytes());
    }

    pub(crate) fn taken(&self) -> Vec<Envelope> {
        self.state.taken.lock().unwrap().clone()
    }

    pub(crate) fn over_iroh(&self) -> usize {
        self.state.iroh.load(Ordering::SeqCst)
    }

    pub(crate) fn over_http(&self) -> usize {
        self.state.http.load(Ordering::SeqCst)
    }
}

pub(crate) async fn endpoint(seed: u8) -> Endpoint {
    let mut bind = BindConfig::new([seed; 32], "127.0.0.1:0".parse().unwrap());
    bind.limits.connect_timeout = std::time::Duration::from_millis(300);
    Endpoint::bind(bind).await.unwrap()
}

pub(crate) fn config(folder: &Path) -> Config {
    Config {
        network: NETWORK,
        secret: secret(),
        journal: folder.join("agent.redb"),
        patience: 4,
        declare_losses: true,
    }
}

pub(crate) async fn start(
    folder: &Path,
    chain: &Arc<Chain>,
    validators: &[Validator],
    hardware: &Arc<Hardware>,
) -> Running {
    let remote = Remote::new(CHAIN, endpoint(1).await, validators).unwrap();
    let world = World {
        ledger: Arc::<Chain>::clone(chain),
        validators: Arc::new(remote),
        clock: Arc::new(WallClock),
        kind: Arc::new(Plain),
        hardware: Arc::<Hardware>::clone(hardware),
    };
    agent::start(config(folder), world).await.unwrap()
}
