//! A service, its agents, its ledger, and a client.

use alloy_signer_local::PrivateKeySigner;
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use protocol::{
    Account, DeviceId, KindId, Micros, NetworkId, Tokens, clock::EpochClock, manifest::KindTerms,
    net::Peer,
};
use s3_service::{
    Config, Keyring, Limits, RailPlan, Running, Service, WallClock,
    backup::{RecoverError, Recovered},
    codec::Shape,
    rails::memory::MemoryLedger,
    shards::memory::{self, MemoryShards},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

pub(crate) const CHAIN: u64 = 0xDE91;
pub(crate) const NETWORK: NetworkId = NetworkId(1);

pub(crate) struct World {
    pub(crate) shards: Arc<MemoryShards>,
    pub(crate) ledger: Arc<MemoryLedger>,
    pub(crate) agents: Vec<(Peer, DeviceId)>,
    pub(crate) service: Option<Running>,
    pub(crate) config: Config,
    pub(crate) keyring: Keyring,
    _folder: tempfile::TempDir,
}

pub(crate) fn terms() -> KindTerms {
    KindTerms {
        kind: KindId(1),
        price: Micros(1_000),
        delivery_price: Micros(10_000),
        per_units: 1 << 30,
        stake_base: Tokens::ZERO,
        stake_per: Tokens::ZERO,
        positions: 5,
        window: 6,
    }
}

/// How long something may take before a test gives up. Not a measure: on a quiet machine it takes seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Limits that make background work quick, so that tests wait little.
pub(crate) fn limits() -> Limits {
    Limits {
        upkeep: Duration::from_millis(20),
        refresh: Duration::from_millis(20),
        audit: Duration::from_secs(600),
        backup: Duration::from_millis(20),
        request_timeout: Duration::from_secs(20),
        ..Limits::default()
    }
}

fn config(data: PathBuf, signer: PrivateKeySigner) -> Config {
    Config {
        data,
        listen: ([127, 0, 0, 1], 0).into(),
        passphrase: "passphrase".into(),
        credentials: None,
        signer,
        chain_id: CHAIN,
        network: NETWORK,
        rails_contract: Account::repeat_byte(5),
        shape: Shape::new(4, 6).unwrap(),
        plan: RailPlan::default(),
        limits: limits(),
    }
}

impl World {
    pub(crate) async fn new(agents: u8) -> Self {
        Self::with(agents, limits()).await
    }

    pub(crate) async fn with(agents: u8, limits: Limits) -> Self {
        Self::planned(agents, limits, RailPlan::default()).await
    }

    pub(crate) async fn planned(agents: u8, limits: Limits, plan: RailPlan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
        let mut config = config(folder.path().join("s3"), signer.clone());
        config.limits = limits;
        config.plan = plan;
        let domain = protocol::voucher::domain(CHAIN, config.rails_contract);
        let shards = Arc::new(MemoryShards::new(memory::World {
            chain_id: CHAIN,
            network: NETWORK,
            domain,
            signer: signer.address(),
            terms: terms(),
        }));
        let clock = EpochClock { length: 30, grace: 4 };
        let ledger = Arc::new(MemoryLedger::new(signer.address(), clock, terms()));
        let agents = (1..=agents)
            .map(|seed| {
                let owner = Account::repeat_byte(seed);
                let (peer, device) = shards.add(seed, owner, 8 << 30);
                assert_eq!(ledger.register(peer, owner), device);
                (peer, device)
            })
            .collect();
        let keyring = Keyring::generate().unwrap();
        let mut world =
            Self { shards, ledger, agents, service: None, config, keyring, _folder: folder };
        world.start().await;
        world
    }

    pub(crate) async fn start(&mut self) {
        self.start_over(Arc::clone(&self.shards) as _).await;
    }

    /// Starts with another way to the agents.
    pub(crate) async fn start_over(&mut self, shards: Arc<dyn s3_service::shards::Shards>) {
        let around = s3_service::World {
            shards,
            ledger: Arc::clone(&self.ledger) as _,
            clock: Arc::new(WallClock),
            random: Arc::new(s3_service::keys::System),
        };
        let started = Service::start(self.config.clone(), self.keyring.clone(), around).await;
        self.service = Some(started.unwrap());
    }

    pub(crate) fn running(&self) -> &Running {
        self.service.as_ref().unwrap()
    }

    pub(crate) async fn stop(&mut self) {
        self.service.take().unwrap().stop().await;
    }

    /// Leaves everything as a killed process would, and starts on what is on the disk.
    pub(crate) async fn crash(&mut self) {
        let left = self.config.data.with_extension(format!("{}", rand()));
        std::fs::create_dir_all(&left).unwrap();
        std::fs::copy(
            self.config.data.join(s3_service::INDEX_FILE),
            left.join(s3_service::INDEX_FILE),
        )
        .unwrap();
        self.stop().await;
        self.config.data = left;
        self.start().await;
    }

    /// Ends the service with nobody there to hear its last words, and takes its index away.
    pub(crate) async fn lose_disk(&mut self) {
        for (peer, _) in &self.agents {
            self.shards.set(*peer, memory::Manner::Down);
        }
        self.stop().await;
        std::fs::remove_dir_all(&self.config.data).unwrap();
        std::fs::create_dir_all(&self.config.data).unwrap();
        for (peer, _) in &self.agents {
            self.shards.set(*peer, memory::Manner::Honest);
        }
    }

    pub(crate) fn around(&self) -> s3_service::World {
        s3_service::World {
            shards: Arc::clone(&self.shards) as _,
            ledger: Arc::clone(&self.ledger) as _,
            clock: Arc::new(WallClock),
            random: Arc::new(s3_service::keys::System),
        }
    }

    /// Makes the index anew from what keys, ledger and agents know.
    pub(crate) async fn recover(&self) -> Result<Recovered, RecoverError> {
        Service::recover(&self.config, &self.keyring, &self.around(), None).await
    }

    /// Waits until the agents have the whole index.
    pub(crate) async fn backed_up(&self) {
        let behind =
            async |world: &Self| world.running().snapshot().await.unwrap().backup_behind == 0;
        self.until("the index is with the agents", behind).await;
    }

    pub(crate) fn client(&self) -> Client {
        let credentials = self.running().credentials();
        self.client_as(&credentials.access_key, &credentials.secret_key)
    }

    pub(crate) fn client_as(&self, access: &str, secret: &str) -> Client {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config =
            aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new(access, secret, None, None, "test"))
                .endpoint_url(self.running().url())
                .force_path_style(true)
                .http_client(http)
                .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
                .stalled_stream_protection(
                    aws_sdk_s3::config::StalledStreamProtectionConfig::disabled(),
                )
                .build();
        Client::from_conf(config)
    }

    /// A client and an empty bucket.
    pub(crate) async fn bucket(&self, name: &str) -> Client {
        let client = self.client();
        client.create_bucket().bucket(name).send().await.unwrap();
        client
    }

    /// Waits until `holds` says yes.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let patience = tokio::time::timeout(PATIENCE, async {
            while !holds(self).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(patience.await.is_ok(), "never: {what}");
    }

    pub(crate) async fn queued(&self) -> u64 {
        self.running().snapshot().await.unwrap().queued
    }
}

fn rand() -> u64 {
    u64::from_be_bytes(s3_service::keys::random().unwrap())
}

/// Bytes that look random and are the same for the same numbers.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) async fn put(client: &Client, bucket: &str, key: &str, body: Vec<u8>) -> String {
    let put = client.put_object().bucket(bucket).key(key).body(ByteStream::from(body));
    put.send().await.unwrap().e_tag.unwrap()
}

pub(crate) async fn get(client: &Client, bucket: &str, key: &str) -> Vec<u8> {
    let got = client.get_object().bucket(bucket).key(key).send().await.unwrap();
    got.body.collect().await.unwrap().to_vec()
}

/// The S3 code of a refusal.
pub(crate) fn code<T: std::fmt::Debug, E>(outcome: Result<T, SdkError<E>>) -> String
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    match outcome {
        Err(SdkError::ServiceError(error)) => {
            let named = error.err().code().map(str::to_owned);
            named.unwrap_or_else(|| error.raw().status().as_u16().to_string())
        }
        other => panic!("no refusal: {other:?}"),
    }
}

/// The message of a refusal.
pub(crate) fn message<T: std::fmt::Debug, E>(outcome: Result<T, SdkError<E>>) -> String
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    match outcome {
        Err(SdkError::ServiceError(error)) => error.err().message().unwrap_or_default().to_owned(),
        other => panic!("no refusal: {other:?}"),
    }
}
