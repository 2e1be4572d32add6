//! The command line: every command with its options and examples.
//!
//! Every command that prints data takes `--json`. Exit codes are those of [`crate::exit`].

mod dispute;
mod init;
mod node;
mod validator;

pub(crate) use dispute::{Dissent, Fine};
pub(crate) use init::{Init, InitCheck, InitGenesis, InitKey};
pub(crate) use node::{Node, Role};
pub(crate) use validator::{Amount, Endpoint, OfKey, Owner, Send, Validator, ValidatorStatus};

use crate::{
    devnet::{accounts::CHAIN_ID, running::Running},
    exit::Failure,
    home::Home,
    passphrase::Passphrase,
    trust::{STORED, Trust},
};
use clap::{Args, Parser, Subcommand};
use client::{Client, Options, RpcError};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Where a validator's HTTP usually is.
const HTTP: &str = "http://127.0.0.1:8546";

/// The program's arguments.
#[derive(Debug, Parser)]
#[command(
    name = "wayleave",
    version,
    about = "Launch and run a network of physical infrastructure: hardware contributes, proofs decide, customers pay.",
    after_help = "Start here:\n  wayleave up      a whole network on this machine, nothing leaves it\n  wayleave tour    in a second terminal: a file stored, a cheat caught, an invoice, a claim\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing answers at the address, 4 a check failed, 5 not found."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Where all state lives.
    #[arg(long, global = true, env = "WAYLEAVE_HOME", value_name = "FOLDER", default_value_os_t = crate::home::default_root())]
    pub(crate) home: PathBuf,

    /// Print data as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// What to log to standard error: error, warn, info, debug, or a tracing filter.
    #[arg(
        long,
        global = true,
        env = "WAYLEAVE_LOG",
        default_value = "error,s3s=off",
        value_name = "FILTER"
    )]
    pub(crate) log: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole network on this machine: validator, 8 storage agents, S3 service.
    #[command(
        after_help = "Examples:\n  wayleave up\n  wayleave up --fresh              start over\n  wayleave up --rpc 127.0.0.1:18545 --s3 127.0.0.1:19000\n\nCtrl-C stops everything; the next `wayleave up` resumes where it was."
    )]
    Up(Up),
    /// Show, against a running `up`, what the network does for customers and against cheats.
    #[command(
        after_help = "Examples:\n  wayleave tour\n  wayleave tour --folder ~/Pictures/small   store your own files"
    )]
    Tour(Tour),
    /// Make keys and the genesis of a new ledger of several validators.
    #[command(subcommand)]
    Init(Init),
    /// Run a node of a ledger: a validator, an observer or an archive.
    #[command(
        after_help = "Examples:\n  wayleave node --role validator --genesis genesis.json --dir /var/lib/wayleave --listen 0.0.0.0:8548 --bootstrap 0x5c1f…@203.0.113.6:8548\n  wayleave node --role observer --genesis genesis.json --dir ./observer --bootstrap 0x5c1f…@203.0.113.6:8548\n\nKeys are made with `wayleave init key`. Ctrl-C stops the node; the same command goes on where it was.\nNothing listens off this machine unless --listen, --rpc, --http or --metrics says so."
    )]
    Node(Box<Node>),
    /// Bond coin, register keys, see who has seats.
    #[command(
        subcommand,
        after_help = "Examples:\n  wayleave validator status --dir /var/lib/wayleave\n  wayleave validator bond 1000 --dir /var/lib/wayleave\n  wayleave validator register --dir /var/lib/wayleave"
    )]
    Validator(Validator),
    /// Send coin, or a network's tokens, to an account.
    #[command(
        after_help = "Example:\n  wayleave send 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 1100 --key-file founder.json\n  wayleave send 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 600 --tokens 1 --key-file founder.json"
    )]
    Send(Send),
    /// Contribute hardware.
    #[command(subcommand)]
    Agent(Agent),
    /// Serve customers.
    #[command(subcommand)]
    Service(Service),
    /// Show the network: block, epochs, devices, money.
    Status(Ledger),
    /// Say why a device earned what it earned.
    #[command(
        after_help = "Examples:\n  wayleave why 0x5c1f…              the latest settled epoch\n  wayleave why 0x5c1f… 12 --json\n  wayleave why agent-3              a devnet agent by name"
    )]
    Why(Why),
    /// Show what an account earned, spent and may claim.
    #[command(
        after_help = "Examples:\n  wayleave statement 0x70997970C51812dc3A010C7d01b50e0d17dc79C8\n  wayleave statement operator-1     a devnet account by name"
    )]
    Statement(Statement),
    /// Pay out what an account's latest leaf holds.
    #[command(
        after_help = "Examples:\n  wayleave claim operator-1\n  wayleave claim --key-file owner.json"
    )]
    Claim(Claim),
    /// Recompute an epoch from the archive alone, compare it with the ledger, and show the rows that differ.
    #[command(
        after_help = "Examples:\n  wayleave verify-epoch 3\n  wayleave verify-epoch 3 --archive /mnt/copy-of-the-archive"
    )]
    VerifyEpoch(VerifyEpoch),
    /// Dispute what the ledger decided for an epoch, with a bond, if the archive gives something else.
    #[command(
        after_help = "Example:\n  wayleave dissent 12 --archive /var/lib/wayleave/archive --key-file /var/lib/wayleave/account.json\n\nValidators replay the epoch and vote again. If they decide the same, the bond is lost; if not, it comes back,\nand who voted for what was overruled can be fined (`wayleave fine`)."
    )]
    Dissent(Dissent),
    /// Fine the seats that decided what a dissent overruled; half of it is the dissenter's.
    #[command(after_help = "Example:\n  wayleave fine 12 --key-file account.json")]
    Fine(Fine),
    /// Check ports, clock, disk and permissions; each failure with its cause and its mend.
    Doctor(Doctor),
    /// Make, show, export and restore keys.
    #[command(subcommand)]
    Key(Key),
    /// Remove all state under the home folder.
    #[command(
        after_help = "Examples:\n  wayleave remove          says what would be removed\n  wayleave remove --yes    removes it"
    )]
    Remove(Remove),
}

/// `wayleave up`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Up {
    /// Remove the devnet's state and start over.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Where Ethereum wallets and tools connect.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8545")]
    pub(crate) rpc: SocketAddr,
    /// Where S3 tools connect.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub(crate) s3: SocketAddr,
    /// The validator's HTTP: evidence, inputs, statements.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8546")]
    pub(crate) http: SocketAddr,
    /// Metrics and the devnet's controls.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8547")]
    pub(crate) control: SocketAddr,
    /// How many storage agents to run.
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u8).range(6..=32))]
    pub(crate) agents: u8,
}

/// `wayleave tour`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Tour {
    /// A folder of yours to store; by default the tour writes a few files of its own.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

/// Where a ledger answers.
#[derive(Clone, Debug, Args)]
pub(crate) struct Ledger {
    /// The ledger's JSON-RPC. By default that of the devnet running in the home folder, or
    /// http://127.0.0.1:8545.
    #[arg(long, value_name = "URL")]
    pub(crate) ledger: Option<String>,
    /// The ledger's chain id. Needed to send anything through an endpoint on another machine.
    #[arg(long, value_name = "ID")]
    pub(crate) chain_id: Option<u64>,
    /// A validator's HTTP. By default that of the devnet running in the home folder, or
    /// http://127.0.0.1:8546. An agent may be given several, and sends evidence to the next one when one
    /// does not carry it.
    #[arg(long, value_name = "URL")]
    pub(crate) validator: Vec<String>,
    /// The network.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) network: u64,
    /// The ledger's genesis file: what is read is proven by it, and the endpoint believed in nothing. By
    /// default that of the devnet running in the home folder, or `ledger.json` there.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
    /// Where is kept what was seen of the ledger.
    #[arg(skip)]
    pub(crate) seen: PathBuf,
}

impl Ledger {
    /// Connects to the ledger.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let options = Options { chain_id: self.chain_id, ..Options::default() };
        let connected = match self.trust()? {
            Some(trust) => trust.connect(self.rpc(), options).await,
            None => Client::connect_with(self.rpc(), options).await,
        };
        connected.map_err(|error| {
            tracing::debug!(%error, "connecting failed");
            let failure = match error {
                RpcError::Untrue { .. } => Failure::Check(error.to_string()),
                // One that is another ledger than the one named does answer.
                RpcError::Chain { .. } => Failure::Unreachable(error.to_string()),
                _ => Failure::Unreachable(format!(
                    "no ledger answers at {}; start one with `wayleave up`, or give --ledger URL",
                    self.rpc()
                )),
            };
            failure.into()
        })
    }

    /// What the endpoint is checked against, if anything is known.
    pub(crate) fn trust(&self) -> anyhow::Result<Option<Trust>> {
        let genesis = self.genesis.as_deref();
        genesis.map(|genesis| Trust::read(genesis, &self.seen)).transpose()
    }

    /// The URL of the ledger's JSON-RPC.
    pub(crate) fn rpc(&self) -> &str {
        self.ledger.as_deref().unwrap_or("http://127.0.0.1:8545")
    }

    /// The URLs of all validators' HTTP that were given, or the usual one.
    pub(crate) fn validators(&self) -> impl Iterator<Item = &str> {
        let usual = self.validator.is_empty().then_some(HTTP);
        self.validator.iter().map(String::as_str).chain(usual).map(|url| url.trim_end_matches('/'))
    }

    /// Takes what was not given from the devnet that runs in the home folder `root`, if nothing was.
    fn complete(&mut self, root: &Path) {
        if self.ledger.is_none()
            && self.validator.is_empty()
            && let Some(running) = Running::here(&Home::devnet(root))
        {
            self.ledger = Some(running.rpc);
            self.chain_id = self.chain_id.or(Some(CHAIN_ID));
            self.validator = vec![running.http];
            self.devnet(&Home::devnet(root));
        }
        let stored = root.join(STORED);
        if self.genesis.is_none() && stored.exists() {
            self.genesis = Some(stored);
        }
        if self.seen == PathBuf::new() {
            self.seen = root.to_owned();
        }
    }

    /// Reads what is proven by the genesis file of the devnet in `home`, unless another one was named.
    pub(crate) fn devnet(&mut self, home: &Home) {
        if self.genesis.is_none() {
            (self.genesis, self.seen) = (Some(home.genesis()), home.path().to_owned());
        }
    }
}

impl Cli {
    /// Fills in where the ledger answers, as far as this machine knows.
    pub(crate) fn complete(&mut self) {
        let ledger = match &mut self.command {
            Command::Agent(Agent::Storage(StorageAgent { ledger, .. }))
            | Command::Service(Service::S3(S3Service { ledger, .. }))
            | Command::Status(ledger)
            | Command::Why(Why { ledger, .. })
            | Command::Statement(Statement { ledger, .. })
            | Command::Claim(Claim { ledger, .. })
            | Command::VerifyEpoch(VerifyEpoch { ledger, .. })
            | Command::Dissent(Dissent { ledger, .. })
            | Command::Fine(Fine { ledger, .. }) => ledger,
            Command::Up(_)
            | Command::Tour(_)
            | Command::Init(_)
            | Command::Node(_)
            | Command::Validator(_)
            | Command::Send(_)
            | Command::Doctor(_)
            | Command::Key(_)
            | Command::Remove(_) => return,
        };
        ledger.complete(&self.home);
    }
}

/// `wayleave agent`.
#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Offer disk space.
    #[command(
        after_help = "Examples:\n  wayleave agent storage --ledger http://127.0.0.1:8545 --data /mnt/disk1 --capacity 500GiB --owner-key owner.json\n  wayleave agent storage --data /mnt/disk1 --capacity 500GiB --owner-key owner.json --drain\n\nRun it again after it says what it needs (tokens, stake): finished steps are skipped."
    )]
    Storage(StorageAgent),
}

/// `wayleave agent storage`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StorageAgent {
    #[command(flatten)]
    pub(crate) ledger: Ledger,
    /// Where shards, index and keys live.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: PathBuf,
    /// How much to offer: 500GiB, 2TiB, or bytes.
    #[arg(long, value_name = "SIZE", value_parser = crate::units::parse_bytes)]
    pub(crate) capacity: u64,
    /// The owner's keystore file; made by `wayleave key new`.
    #[arg(long, value_name = "FILE")]
    pub(crate) owner_key: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
    /// Leave the network without penalty: take nothing new, and keep and prove what is there until customers'
    /// services have moved it elsewhere. Holds over restarts.
    #[arg(long)]
    pub(crate) drain: bool,
    /// Stay after all, after --drain.
    #[arg(long, conflicts_with = "drain")]
    pub(crate) stay: bool,
    /// Where to listen for services (UDP).
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Serve Prometheus metrics: an address, or a port of this machine alone. Off if not given.
    #[arg(long, value_name = "ADDR", value_parser = crate::metrics::parse_address)]
    pub(crate) metrics: Option<SocketAddr>,
}

/// `wayleave service`.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Serve S3.
    #[command(
        after_help = "Examples:\n  wayleave service s3 --ledger http://127.0.0.1:8545 --data ./s3 --payer-key customer.json --deposit 70000\n  wayleave service s3 --data ./s3 --payer-key customer.json --recover\n\nRun it again after it says what it needs (coin, deposit): finished steps are skipped.\nRails are opened towards agents as the deposit allows; without --deposit no money moves."
    )]
    S3(S3Service),
}

/// `wayleave service s3`.
#[derive(Clone, Debug, Args)]
pub(crate) struct S3Service {
    #[command(flatten)]
    pub(crate) ledger: Ledger,
    /// Where index and keys live.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: PathBuf,
    /// The customer's keystore file, whose deposit pays.
    #[arg(long, value_name = "FILE")]
    pub(crate) payer_key: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
    /// Keep this many dollars deposited for rails: what is missing is taken from the payer's dollars and
    /// stablecoin. Without it nothing is deposited.
    #[arg(long, value_name = "AMOUNT", value_parser = crate::units::parse_dollars)]
    pub(crate) deposit: Option<protocol::Micros>,
    /// Make the index of a service that lost its disk anew first, from the keys in the folder (keyring.json and
    /// signer.json), the ledger and the agents. The lost service must not run any more.
    #[arg(long)]
    pub(crate) recover: bool,
    /// With --recover: how many agents need not answer. What only they know is lost then.
    #[arg(long, value_name = "AGENTS", requires = "recover")]
    pub(crate) silent: Option<usize>,
    /// Where S3 tools connect.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub(crate) listen: SocketAddr,
    /// Serve Prometheus metrics: an address, or a port of this machine alone. Off if not given.
    #[arg(long, value_name = "ADDR", value_parser = crate::metrics::parse_address)]
    pub(crate) metrics: Option<SocketAddr>,
}

/// `wayleave why`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Why {
    /// The device id, or a devnet name such as agent-3.
    pub(crate) device: String,
    /// The epoch; the latest settled one if left out.
    pub(crate) epoch: Option<u64>,
    #[command(flatten)]
    pub(crate) ledger: Ledger,
}

/// `wayleave statement`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Statement {
    /// The account, or a devnet name such as operator-3 or customer.
    pub(crate) account: String,
    #[command(flatten)]
    pub(crate) ledger: Ledger,
}

/// `wayleave claim`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Claim {
    /// A devnet account by name; needs no key file.
    pub(crate) account: Option<String>,
    /// The account's keystore file.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
    #[command(flatten)]
    pub(crate) ledger: Ledger,
}

/// `wayleave verify-epoch`.
#[derive(Clone, Debug, Args)]
pub(crate) struct VerifyEpoch {
    /// The epoch.
    pub(crate) epoch: u64,
    /// The archive's folder; the devnet's by default.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) archive: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ledger: Ledger,
}

/// `wayleave doctor`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Doctor {
    /// Ports that `up` needs.
    #[arg(long, value_delimiter = ',', default_values_t = [8545u16, 8546, 8547, 9000])]
    pub(crate) ports: Vec<u16>,
}

/// `wayleave key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key and write it as an encrypted keystore.
    New {
        /// The file to write; never overwritten.
        file: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Show the account of a keystore.
    Show {
        /// The keystore.
        file: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Write a keystore's secret to a new keystore under another passphrase (WAYLEAVE_NEW_PASSPHRASE).
    Export {
        /// The keystore.
        file: PathBuf,
        /// The file to write; never overwritten.
        to: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Make a keystore from a secret of 64 hexadecimal digits read from standard input.
    Restore {
        /// The file to write; never overwritten.
        file: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
}

/// `wayleave remove`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Remove {
    /// Really remove it.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::Access;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_contradicts_nothing() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_ledger_that_was_not_named_is_that_of_the_running_devnet() {
        let root = tempfile::tempdir().unwrap();
        let parsed = |more: &[&str]| {
            let home = root.path().to_str().unwrap();
            let mut cli = Cli::parse_from([&["wayleave", "status", "--home", home], more].concat());
            cli.complete();
            let Command::Status(ledger) = cli.command else { unreachable!("it is `status`") };
            (ledger.rpc().to_owned(), ledger.validators().next().unwrap().to_owned())
        };
        let defaults = ("http://127.0.0.1:8545".to_owned(), "http://127.0.0.1:8546".to_owned());
        assert_eq!(parsed(&[]), defaults);
        let home = Home::devnet(root.path());
        home.create().unwrap();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let s3 = Access { url: url(4), key: String::new(), secret: String::new() };
        let running = Running {
            rpc: url(1),
            http: url(2),
            control: url(3),
            token: String::new(),
            s3,
            agents: 8,
        };
        running.write(&home).unwrap();
        // A file that an ended program left behind says nothing.
        assert_eq!(parsed(&[]), defaults);
        let _lock = home.lock().unwrap();
        assert_eq!(parsed(&[]), (url(1), url(2)));
        assert_eq!(Running::ports(&home), [1, 2, 3, 4]);
        assert_eq!(parsed(&["--ledger", "http://x:9"]), ("http://x:9".to_owned(), defaults.1));
    }
}
