//! A ledger with one network, one device and one rail, and a worker that can be restarted; or one of four
//! validators with a worker each.

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use client::{
    Client, Options, Signer,
    abi::{IDevices, IDollars, IRails, IStakes, IToken},
    address,
};
use consensus::{Config, Founding, Genesis, Retention, ValidatorKeys};
use contracts::{GenesisConfig, GenesisNetwork, SeatRules};
use evidence::Archive;
use protocol::{
    Epoch, Height, KindId, Micros, NetworkId, Ppm, RailId, Tokens,
    clock::{Clock, EpochClock},
    fixtures,
    key::{DeviceSecret, registration_message},
    manifest::{Bootstrap, EvidenceRules, KindTerms, Manifest, Vesting},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{net::TcpListener, time::timeout};
use validator::{files::Files, follow::Follower, http::Api, intake::Intake, others::Others};

pub(crate) const CHAIN: u64 = 0xDE91;
pub(crate) const NETWORK: NetworkId = NetworkId(1);
pub(crate) const RAIL: RailId = RailId(1);
pub(crate) const CLOCK: EpochClock = EpochClock { length: 20, grace: 4 };
/// That of [`Four`]: a round of votes lasts twice the grace, and a slow machine has to keep up with it.
pub(crate) const FOUR_CLOCK: EpochClock = EpochClock { length: 32, grace: 16 };
/// How long something may take before a test gives up. Not a measure: machines may be slow.
const PATIENCE: Duration = Duration::from_secs(300);
const LOCALHOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) fn signer(n: u8) -> Signer {
    Signer::from_slice(&[n; 32]).unwrap()
}

pub(crate) fn founder() -> Signer {
    signer(1)
}

pub(crate) fn operator() -> Signer {
    signer(2)
}

pub(crate) fn customer() -> Signer {
    signer(3)
}

/// Signs vouchers.
pub(crate) fn service() -> Signer {
    signer(4)
}

/// Has coin for a bond.
pub(crate) fn dissenter() -> Signer {
    signer(5)
}

/// The keys of a validator; those of the only one are the first.
pub(crate) fn keys(n: u8) -> ValidatorKeys {
    ValidatorKeys::derive(&[n; 32])
}

pub(crate) fn device() -> DeviceSecret {
    DeviceSecret::from_seed([7; 32])
}

#[derive(Debug)]
pub(crate) struct Wall;

impl Clock for Wall {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    }
}

fn manifest() -> Manifest {
    let rules = fixtures::manifest(KindId(1));
    let terms = KindTerms {
        price: Micros(1_000_000),
        delivery_price: Micros(100_000),
        stake_base: Tokens::whole(100),
        stake_per: Tokens::whole(10),
        positions: 2,
        window: 4,
        ..rules.kinds[0]
    };
    Manifest {
        vesting: Vesting { share: Ppm::ZERO, epochs: 1 },
        bootstrap: Bootstrap { until: Epoch(1_000_000), ..rules.bootstrap },
        evidence: EvidenceRules {
            quota_bytes: 1 << 20,
            skew_ms: 60_000,
            slack: 3,
            absence_epochs: 100,
            unbonding_epochs: 8,
        },
        kinds: vec![terms],
        ..rules
    }
}

/// Looks now and after every block, until there is what is looked for.
pub(crate) async fn until<T>(
    client: &Client,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let found = timeout(PATIENCE, async {
        let mut head = client.head().await.unwrap();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            head = client.wait_for(Height(head.0 + 1)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until `epoch` is decided.
pub(crate) async fn finality(client: &Client, epoch: Epoch) {
    until(client, "finality", async || {
        let last = client.final_epoch(NETWORK).await.unwrap();
        last.filter(|last| *last >= epoch)
    })
    .await;
}

/// A ledger of validators whose accounts are these.
fn genesis(validators: &[Signer], clock: EpochClock, dispute_epochs: u64) -> Genesis {
    let people = || (1..=4).map(|n| signer(n).address());
    let seats = validators.iter().map(Signer::address);
    let coin = U256::from(1_000_000_000_000_000_000u64);
    let allocations = people()
        .chain(seats)
        .map(|account| (account, coin))
        .chain([(dissenter().address(), coin * U256::from(10))]);
    let first = (1..).zip(validators);
    Genesis::found(Founding {
        chain_id: CHAIN,
        // Header times rise by bounded steps: a ledger born in the past would lag behind all devices.
        timestamp_ms: Wall.now_ms(),
        term_length: 1_000,
        validators: first.map(|(n, account)| keys(n).validator(account.address()).into()).collect(),
        allocations: allocations.collect(),
        contracts: GenesisConfig {
            clock,
            dispute_epochs,
            validators: Vec::new(),
            seats: SeatRules::default(),
            guardian: Address::repeat_byte(0xB0),
            pause_blocks_max: 10,
            breaker_window: 20,
            breaker_share: Ppm::ONE,
            breaker_floor: Micros(0),
            stablecoin: people().map(|account| (account, Micros(5_000_000_000))).collect(),
            networks: vec![GenesisNetwork {
                founder: founder().address(),
                manifest: manifest(),
                name: "Test".to_owned(),
                symbol: "TST".to_owned(),
                supply: Tokens::whole(1_000),
            }],
        },
    })
    .unwrap()
}

/// A running ledger, its worker, and a client.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) http: SocketAddr,
    pub(crate) worker: validator::Running,
    ledger: consensus::Running,
    server: rpc::Server,
    folder: PathBuf,
}

impl World {
    /// Starts the ledger and the worker, and opens the device's stake and rail.
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(folder, Retention::default()).await
    }

    /// The same with a ledger that keeps so much of the past.
    pub(crate) async fn start_with(folder: &Path, retention: Retention) -> Self {
        Self::start_keeping(folder, retention, None).await
    }

    /// The same with a worker that keeps evidence for so many blocks.
    pub(crate) async fn start_keeping(
        folder: &Path,
        retention: Retention,
        kept: Option<u64>,
    ) -> Self {
        let genesis = genesis(&[founder()], CLOCK, 2);
        let mut config = Config::new(folder.join("ledger"), LOCALHOST, keys(1), genesis);
        config.pace = Duration::from_millis(100);
        config.retention = retention;
        let ledger = consensus::start(config).await.unwrap();
        let server =
            rpc::serve(ledger.ledger.clone(), LOCALHOST, Default::default()).await.unwrap();
        let url = format!("http://{}", server.addr());
        let options = Options { poll: Duration::from_millis(20), ..Options::default() };
        let client = Client::connect_with(&url, options).await.unwrap();
        let (worker, http) = worker(&ledger, &url, folder, (Some(founder()), &[]), kept).await;
        let folder = folder.to_owned();
        furnish(&client).await;
        Self { client, http, worker, ledger, server, folder }
    }

    /// Stops the worker at once and starts it anew over the same files.
    pub(crate) async fn restart_worker(self) -> Self {
        let Self { client, worker, ledger, server, folder, .. } = self;
        worker.stop().await;
        let url = format!("http://{}", server.addr());
        let voter = Some(founder());
        let (worker, http) = self::worker(&ledger, &url, &folder, (voter, &[]), None).await;
        Self { client, http, worker, ledger, server, folder }
    }

    /// Stops the worker at once; the ledger goes on.
    pub(crate) async fn stop_worker(self) -> Alone {
        self.worker.stop().await;
        let Self { client, ledger, server, folder, .. } = self;
        Alone { client, ledger, server, folder }
    }

    pub(crate) async fn stop(self) {
        self.stop_worker().await.stop().await;
    }

    /// Another validator's follower on the same ledger, with files of its own in `folder`.
    pub(crate) fn follower(&self, folder: &Path, others: &[String]) -> (Follower, Files) {
        follower(&self.ledger, &self.client, folder, others)
    }

    /// Gives the ledger a blob to carry.
    pub(crate) fn submit_blob(&self, blob: Vec<u8>) {
        self.ledger.ledger.submit_blob(blob.into()).unwrap();
    }

    pub(crate) fn archive(&self) -> Archive {
        Archive::open(&self.folder.join("archive")).unwrap()
    }

    pub(crate) fn archive_folder(&self) -> PathBuf {
        self.folder.join("archive")
    }
}

/// Sends a call, and waits until the block that applied it is the head, so that the next one sees it.
async fn send(client: &Client, from: &Signer, to: Address, call: &impl SolCall) {
    let receipt = client.send(from, to, call).await.unwrap();
    client.wait_for(receipt.height).await;
}

/// Opens the device's stake and rail.
async fn furnish(client: &Client) {
    let token = address::token(NETWORK);
    let stake = U256::from(Tokens::whole(200).0);
    let (to, key) = (operator().address(), device().key());
    let transfer = IToken::transferCall { to, value: stake };
    send(client, &founder(), token, &transfer).await;
    let message = registration_message(CHAIN, NETWORK, to);
    let register = IDevices::registerCall {
        network: NETWORK.0,
        kind: 1,
        alg: key.algorithm(),
        x: key.x().into(),
        y: key.y().into(),
        capacity: 1 << 30,
        cell: 0,
        offer: Vec::new().into(),
        proof: device().sign(&message).to_vec().into(),
    };
    send(client, &operator(), address::DEVICES, &register).await;
    let approve = IToken::approveCall { spender: address::STAKES, value: stake };
    send(client, &operator(), token, &approve).await;
    let bind = IStakes::stakeCall { device: device().id().into(), amount: stake };
    send(client, &operator(), address::STAKES, &bind).await;

    let amount = U256::from(100_000_000u64);
    let approve = IToken::approveCall { spender: address::DOLLARS, value: amount };
    send(client, &customer(), address::STABLECOIN, &approve).await;
    let make = IDollars::depositCall { stable: amount };
    send(client, &customer(), address::DOLLARS, &make).await;
    let deposit = IRails::depositCall { amount };
    send(client, &customer(), address::RAILS, &deposit).await;
    let rail = IRails::OpenRail {
        network: NETWORK.0,
        payee: to,
        signer: service().address(),
        device: device().id().into(),
        limit: 50_000_000,
        rate: 0,
        expiry: 100_000,
    };
    send(client, &customer(), address::RAILS, &IRails::openCall { rail }).await;
}

/// A ledger whose worker has stopped.
pub(crate) struct Alone {
    pub(crate) client: Client,
    pub(crate) folder: PathBuf,
    ledger: consensus::Running,
    server: rpc::Server,
}

impl Alone {
    pub(crate) fn follower(&self, folder: &Path, others: &[String]) -> (Follower, Files) {
        follower(&self.ledger, &self.client, folder, others)
    }

    /// A follower with this archive.
    pub(crate) fn follower_over(&self, folder: &Path, archive: Archive) -> Follower {
        let others = Arc::new(Others::default());
        let files = Files { client: self.client.clone(), archive, others };
        let intake = intake(&self.client, &folder.join("journal"));
        Follower::new(self.ledger.ledger.clone(), files, intake, CLOCK)
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
        self.ledger.stop().await.unwrap();
    }
}

fn follower(
    ledger: &consensus::Running,
    client: &Client,
    folder: &Path,
    others: &[String],
) -> (Follower, Files) {
    let files = files(client, &folder.join("archive"), others);
    let intake = intake(client, &folder.join("journal"));
    (Follower::new(ledger.ledger.clone(), files.clone(), intake, CLOCK), files)
}

pub(crate) fn files(client: &Client, archive: &Path, others: &[String]) -> Files {
    let others = Arc::new(Others::new(others).unwrap());
    Files { client: client.clone(), archive: Archive::open(archive).unwrap(), others }
}

fn intake(client: &Client, journal: &Path) -> Arc<Intake> {
    let secret = DeviceSecret::from_seed([98; 32]);
    let limits = (validator::sizes(), Default::default());
    Arc::new(Intake::open(journal, secret, (client.chain_id(), CLOCK), limits).unwrap().0)
}

/// Serves the files of an archive like a validator.
pub(crate) async fn serve(files: Files, folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind(LOCALHOST).await.unwrap();
    let at = listener.local_addr().unwrap();
    let intake = intake(&files.client, folder);
    let recorded = tokio::sync::watch::channel(Height(0)).1;
    let api = Api::new(intake, files, Arc::new(Wall), [0; 32], recorded);
    tokio::spawn(async move { axum::serve(listener, api.router()).await.unwrap() });
    at
}

/// A worker of a voter, or one that watches.
async fn worker(
    ledger: &consensus::Running,
    url: &str,
    folder: &Path,
    (voter, others): (Option<Signer>, &[String]),
    kept: Option<u64>,
) -> (validator::Running, SocketAddr) {
    let listener = TcpListener::bind(LOCALHOST).await.unwrap();
    let http = listener.local_addr().unwrap();
    let config = validator::Config {
        ledger: ledger.ledger.clone(),
        rpc: url.to_owned(),
        archive: Archive::open(&folder.join("archive")).unwrap(),
        http: listener,
        others: others.to_vec(),
        kept,
        voter: voter.map(|signer| validator::Voter {
            folder: folder.join("journal"),
            secret: DeviceSecret::from_seed([99; 32]),
            author: keys(1).author(),
            signer,
            listen: LOCALHOST,
            clock: Arc::new(Wall),
        }),
    };
    (validator::start(config).await.unwrap(), http)
}

/// The accounts of four validators.
pub(crate) fn seats() -> [Signer; 4] {
    [11, 12, 13, 14].map(signer)
}

/// A worker of [`Four`] and where its archive lies.
pub(crate) struct Node {
    pub(crate) http: SocketAddr,
    pub(crate) folder: PathBuf,
    worker: validator::Running,
}

impl Node {
    pub(crate) fn archive(&self) -> Archive {
        Archive::open(&self.folder.join("archive")).unwrap()
    }
}

/// A ledger of four validators, each with a worker, and workers that only watch.
pub(crate) struct Four {
    pub(crate) client: Client,
    pub(crate) nodes: Vec<Node>,
    url: String,
    folder: PathBuf,
    ledgers: Vec<consensus::Running>,
    server: rpc::Server,
}

impl Four {
    /// The ledger, with the device's stake and rail; workers are added.
    pub(crate) async fn start(folder: &Path, dispute_epochs: u64) -> Self {
        let genesis = genesis(&seats(), FOUR_CLOCK, dispute_epochs);
        let open = || std::net::TcpListener::bind(LOCALHOST).unwrap();
        // All at once, so that the ports differ.
        let ports = [open(), open(), open(), open()].map(|port| port.local_addr().unwrap());
        let peer = |(n, address): (u8, SocketAddr)| consensus::Peer {
            key: keys(n).network_key(),
            address,
        };
        let mut ledgers = Vec::new();
        for (n, listen) in (1..).zip(ports) {
            let data = folder.join(format!("ledger-{n}"));
            let mut config = Config::new(data, listen, keys(n), genesis.clone());
            config.pace = Duration::from_millis(250);
            config.peers = (1..).zip(ports).filter(|(other, _)| *other != n).map(peer).collect();
            ledgers.push(consensus::start(config).await.unwrap());
        }
        let ledger = ledgers[0].ledger.clone();
        let server = rpc::serve(ledger, LOCALHOST, Default::default()).await.unwrap();
        let url = format!("http://{}", server.addr());
        let options = Options { poll: Duration::from_millis(20), ..Options::default() };
        let client = Client::connect_with(&url, options).await.unwrap();
        furnish(&client).await;
        Self { client, nodes: Vec::new(), url, folder: folder.to_owned(), ledgers, server }
    }

    /// Adds a worker, which can fetch from those that were added before it.
    pub(crate) async fn add(&mut self, voter: Option<Signer>) {
        let folder = self.folder.join(format!("worker-{}", self.nodes.len()));
        let others: Vec<_> =
            self.nodes.iter().map(|node| format!("http://{}", node.http)).collect();
        let part = (voter, others.as_slice());
        let (worker, http) = worker(&self.ledgers[0], &self.url, &folder, part, None).await;
        self.nodes.push(Node { http, folder, worker });
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes {
            node.worker.stop().await;
        }
        self.server.stop().await;
        for ledger in self.ledgers {
            ledger.stop().await.unwrap();
        }
    }
}
