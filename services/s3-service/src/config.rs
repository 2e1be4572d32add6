//! What a service is started with, and its limits.

use crate::{codec::Shape, keys::Credentials};
use alloy_signer_local::PrivateKeySigner;
use protocol::{Account, Micros, NetworkId};
use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// What a service is started with.
#[derive(Clone)]
pub struct Config {
    /// The folder of the index and the keyring; made if missing.
    pub data: PathBuf,
    /// Where S3 clients connect. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Opens the keyring.
    pub passphrase: String,
    /// S3 credentials to use in the place of the keyring's.
    pub credentials: Option<Credentials>,
    /// The key that signs vouchers and freezes datasets: the signer of the rails.
    pub signer: PrivateKeySigner,
    /// The chain.
    pub chain_id: u64,
    /// The network.
    pub network: NetworkId,
    /// The rails contract, in whose domain vouchers are signed.
    pub rails_contract: Account,
    /// The erasure code of new segments.
    pub shape: Shape,
    /// Rails to be opened.
    pub plan: RailPlan,
    /// Limits.
    pub limits: Limits,
}

impl fmt::Debug for Config {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("data", &self.data)
            .field("listen", &self.listen)
            .field("signer", &self.signer.address())
            .field("network", &self.network)
            .field("shape", &self.shape)
            .field("plan", &self.plan)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What rails are opened with, one an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RailPlan {
    /// Bytes that a rail's rate pays for, at the network's price. No more are stored on it.
    pub bytes: u64,
    /// Epochs for which a rail's limit pays the full rate. It is raised when little is left.
    pub epochs: u64,
    /// Epochs after which a rail ends. What it pays for then moves.
    pub life_epochs: u64,
    /// Dollars by which a rail's limit exceeds what is for its rate, for vouchers. It is raised by as
    /// much when they run low.
    pub vouchers: Micros,
    /// Towards how many agents rails are kept open.
    pub agents_max: usize,
}

impl Default for RailPlan {
    fn default() -> Self {
        Self {
            bytes: 4 << 30,
            epochs: 2_880,
            life_epochs: 1_000_000,
            vouchers: Micros(1_000_000),
            agents_max: 256,
        }
    }
}

impl RailPlan {
    /// The epochs of a rail's rate that are kept from vouchers, and below which its limit is raised.
    pub fn epochs_low(&self) -> u64 {
        (self.epochs / 16).max(1)
    }
}

/// The service's limits. Every field is a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects and parts up to this size are packed, bytes.
    pub small_bytes_max: u64,
    /// Segments of larger ones are not made smaller than this only to have more of them, plain bytes.
    pub segment_bytes_easy: u64,
    /// Plain bytes packed into one segment at once.
    pub group_bytes_max: u64,
    /// How long a small object waits for others that are on their way.
    pub group_window: Duration,
    /// Groups being stored at once.
    pub groups_max: usize,
    /// Segments of one upload in memory at once.
    pub segments_per_upload: usize,
    /// Memory for shards that are being stored, bytes.
    pub write_bytes_max: u64,
    /// Memory for small objects that wait to be packed, bytes.
    pub small_waiting_bytes_max: u64,
    /// Memory for what is read and not yet taken by its client, bytes.
    pub read_bytes_max: u64,
    /// Rows that are read in one request of an agent.
    pub stretch_rows: u32,
    /// Stretches that one request reads ahead.
    pub read_ahead: usize,
    /// How long an answer is waited for before parity is asked too.
    pub hedge: Duration,
    /// How long agents may keep shards waiting before spare agents are given them too.
    pub stall: Duration,
    /// How long any answer is waited for, before the time for its bytes.
    pub request_timeout: Duration,
    /// What an agent must at least transfer, bytes a second.
    pub slowest_bytes_per_s: u64,
    /// Clients connected at once.
    pub connections_max: usize,
    /// How long a client may take for the headers of a request, the first one's included.
    pub headers: Duration,
    /// How long a client may keep a body waiting, before the time for its bytes; and an answer.
    pub client_patience: Duration,
    /// What a client must at least send of a body, bytes a second. Little, as tools send many parts at
    /// once over slow lines.
    pub slowest_client_bytes_per_s: u64,
    /// How long requests under way are given at the stop.
    pub drain: Duration,
    /// The smallest part but the last, bytes. S3: 5 MiB.
    pub part_bytes_min: u64,
    /// How often queued shards, garbage and loose segments are looked at.
    pub upkeep: Duration,
    /// How many loose segments start a new packing.
    pub loose_min: usize,
    /// How many blocks before the end of an epoch datasets are frozen.
    pub freeze_lead: u64,
    /// How often the ledger and the agents are looked at.
    pub refresh: Duration,
    /// How often an agent is asked whether it still holds what it was given.
    pub audit: Duration,
    /// How long an agent may give no answer before its shards are rebuilt elsewhere.
    pub silent: Duration,
    /// What repairs read and write at most, bytes a second.
    pub repair_bytes_per_s: u64,
    /// How often the health of all segments is looked at.
    pub survey: Duration,
    /// How often changes of the index are given to the agents.
    pub backup: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            small_bytes_max: 1 << 20,
            segment_bytes_easy: 8 << 20,
            group_bytes_max: 16 << 20,
            group_window: Duration::from_millis(2),
            groups_max: 2,
            segments_per_upload: 2,
            write_bytes_max: 400 << 20,
            small_waiting_bytes_max: 64 << 20,
            read_bytes_max: 192 << 20,
            stretch_rows: 16,
            read_ahead: 3,
            hedge: Duration::from_millis(400),
            stall: Duration::from_secs(1),
            request_timeout: Duration::from_secs(3),
            slowest_bytes_per_s: 1 << 20,
            connections_max: 1_024,
            headers: Duration::from_secs(30),
            client_patience: Duration::from_secs(30),
            slowest_client_bytes_per_s: 8 << 10,
            drain: Duration::from_secs(5),
            part_bytes_min: 5 << 20,
            upkeep: Duration::from_secs(1),
            loose_min: 16,
            freeze_lead: 10,
            refresh: Duration::from_secs(1),
            audit: Duration::from_secs(60),
            silent: Duration::from_secs(600),
            repair_bytes_per_s: 64 << 20,
            survey: Duration::from_secs(30),
            backup: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// How long the transfer of so many bytes may take.
    pub fn timeout(&self, bytes: u64) -> Duration {
        let transfer = bytes.saturating_mul(1_000) / self.slowest_bytes_per_s.max(1);
        self.request_timeout + Duration::from_millis(transfer)
    }
}
