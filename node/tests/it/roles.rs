//! Nodes that follow beside validators, as processes, and what is said to those who start one wrongly.

use crate::{
    cluster::block,
    machines::{Machine, Machines, PATIENCE, Process, text},
};
use alloy_primitives::U256;
use alloy_signer_local::PrivateKeySigner;
use client::{Client, Intent, Options};
use protocol::{Account, Height};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::time::timeout;

const CHAIN: u64 = 71_422;
/// Seats of the ledger. The last one's node observes, so the three others are just enough for blocks.
const SEATS: usize = 4;
const OBSERVER: usize = 3;
/// Nodes without a seat: an archive, and one for mistakes.
const ARCHIVE: usize = 4;
const STRAY: usize = 5;
const NODES: usize = 6;

/// A ledger and its folders.
struct Ledger {
    folder: PathBuf,
    machines: Machines,
    bootstrap: Vec<String>,
    founder: PrivateKeySigner,
    /// Digest of the genesis file.
    digest: String,
}

impl Ledger {
    /// Makes keys and genesis.
    fn found(folder: &Path) -> Self {
        let mut this = Self {
            folder: folder.to_owned(),
            machines: Machines::on_loopback(NODES + 1),
            bootstrap: Vec::new(),
            founder: PrivateKeySigner::random(),
            digest: String::new(),
        };
        for number in 0..NODES {
            let endpoint = this.machine(number).endpoint().to_string();
            let dir = this.path(&format!("node-{number}"));
            this.machine(number).run(&["init", "key", "--dir", &dir, "--endpoint", &endpoint]);
            let card = std::fs::read(this.path(&format!("node-{number}/card.json"))).unwrap();
            let card: Value = serde_json::from_slice(&card).unwrap();
            this.bootstrap.push(format!("{}@{endpoint}", card["key"].as_str().unwrap()));
        }
        this.digest = this.genesis("genesis.json", "Test");
        this
    }

    /// Makes a genesis file and gives its digest.
    fn genesis(&self, file: &str, name: &str) -> String {
        let founder = self.founder.address().to_string();
        let (chain, out) = (CHAIN.to_string(), self.path(file));
        let allocation = format!("{founder}=1000");
        let mut arguments = vec!["init", "genesis", "--json", "--chain-id", &chain, "--out", &out];
        // Terms end while the others join.
        arguments.extend(["--epoch-length", "12", "--term-length", "10", "--unbonding", "100"]);
        arguments.extend(["--name", name, "--symbol", "TST", "--founder", &founder]);
        arguments.extend(["--allocate", &allocation]);
        let cards: Vec<_> =
            (0..SEATS).map(|number| self.path(&format!("node-{number}/card.json"))).collect();
        for card in &cards {
            arguments.extend(["--card", card]);
        }
        let made = self.machine(0).run(&arguments);
        let made: Value = serde_json::from_str(&made).unwrap();
        made["digest"].as_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.join(name)).to_owned()
    }

    fn machine(&self, number: usize) -> &Machine {
        self.machines.get(number)
    }

    /// Starts a node on a machine, in a folder, with a genesis file.
    fn start(&self, role: &str, number: usize, files: (&str, &str)) -> Process {
        self.start_with(role, number, files, &[])
    }

    /// The same, told of others' HTTP.
    fn start_with(
        &self,
        role: &str,
        number: usize,
        (dir, genesis): (&str, &str),
        others: &[&str],
    ) -> Process {
        let machine = self.machine(number);
        let mut command = machine.command();
        command.args(["node", "--role", role, "--genesis", &self.path(genesis)]);
        command.args(["--dir", &self.path(dir)]);
        command.args(["--listen", &machine.endpoint().to_string()]);
        command.args(["--rpc", &machine.rpc().to_string()]);
        command.args(["--http", &machine.http().to_string()]);
        for peer in &self.bootstrap {
            command.args(["--bootstrap", peer]);
        }
        for other in others {
            command.args(["--others", other]);
        }
        Process::start(&format!("{role} {number}"), &mut command)
    }

    /// Starts a node in its own folder.
    fn node(&self, role: &str, number: usize) -> Process {
        self.start(role, number, (&format!("node-{number}"), "genesis.json"))
    }

    async fn client(&self, number: usize) -> Client {
        let options = Options {
            chain_id: Some(CHAIN),
            patience: PATIENCE,
            confirm: PATIENCE,
            ..Options::default()
        };
        let url = format!("http://{}", self.machine(number).rpc());
        Client::connect_with(&url, options).await.unwrap()
    }

    /// Waits until all of `numbers` are at `height`, and compares all blocks from `from` up to there.
    async fn agree(&self, numbers: &[usize], (from, height): (u64, Height)) {
        let mut first = Vec::new();
        for &number in numbers {
            let client = self.client(number).await;
            let waited = timeout(PATIENCE, client.wait_for(height)).await;
            assert!(waited.is_ok(), "node {number} does not reach {height}");
            let mut blocks = Vec::new();
            for height in from..=height.0 {
                blocks.push(block(&client, height).await);
            }
            if first.is_empty() {
                first = blocks;
            } else {
                assert_eq!(blocks, first, "blocks of node {number} from {from} on");
            }
        }
    }
}

/// Both follow, answer as validators do, and pass on what is sent to them. The archive has every block.
async fn follow(ledger: &Ledger, observer: &Process, archive: &Process) {
    assert!(observer.comes_to("serving").contains("observer at height"));
    assert!(archive.comes_to("serving").contains("archive at height"));
    let (own, to) = (ledger.client(OBSERVER).await, Account::repeat_byte(7));
    let gift = Intent::transfer(to, U256::from(5));
    let sent = own.send_intent(&ledger.founder, gift).await.unwrap();
    let height = Height(sent.height.0 + 3);
    ledger.agree(&[0, ARCHIVE], (0, height)).await;
    ledger.agree(&[0, 1, 2, OBSERVER], (sent.height.0, height)).await;
    for number in [0, OBSERVER, ARCHIVE] {
        let client = ledger.client(number).await;
        assert_eq!(client.balance(to).await.unwrap(), U256::from(5), "node {number}");
    }
}

/// Without the third vote there are no blocks, though the observer's key has a seat; there are as soon as its
/// node is a validator.
async fn no_vote(ledger: &Ledger, nodes: &mut Vec<Process>, observer: Process) -> Process {
    nodes.pop().unwrap().kill();
    for node in nodes.iter() {
        node.comes_to("waiting");
    }
    observer.comes_to("waiting");
    let stood = ledger.client(0).await.head().await.unwrap();
    assert!(observer.interrupt().success());
    let votes = ledger.node("validator", OBSERVER);
    ledger.agree(&[0, 1, OBSERVER], (stood.0, Height(stood.0 + 3))).await;
    votes
}

/// What is said to who has another genesis file, or a key that is in use.
fn mistakes(ledger: &Ledger, archive: Process) {
    let other = ledger.genesis("other.json", "Other");
    assert_ne!(other, ledger.digest);
    // One that never ran meets nobody, and says what may be wrong.
    let stray = ledger.start("observer", STRAY, (&format!("node-{STRAY}"), "other.json"));
    stray.mentions(&format!("do they have the genesis file of digest {other}"));
    drop(stray);
    std::fs::remove_dir_all(ledger.path(&format!("node-{STRAY}/ledger"))).unwrap();
    // One that is told of somebody's HTTP, beside machines that do not answer, learns whose file is another.
    let http = format!("http://{}", ledger.machine(0).http());
    let silent = format!("http://{}", ledger.machine(NODES).http());
    let files = (&*format!("node-{STRAY}"), "other.json");
    let said = ledger.start_with("observer", STRAY, files, &[&silent, &http]).fails();
    for part in [&*http, "runs another ledger", &ledger.digest, &other] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!Path::new(&ledger.path(&format!("node-{STRAY}/ledger"))).exists());
    // One that ran knows better.
    assert!(archive.interrupt().success());
    let folder = format!("node-{ARCHIVE}");
    let said = ledger.start("archive", ARCHIVE, (&folder, "other.json")).fails();
    assert!(said.contains(&ledger.digest) && said.contains(&other), "{said}");
    assert!(said.contains("use another folder or start over"), "{said}");

    let twin = ledger.start("validator", NODES, ("twin", "genesis.json"));
    let said = twin.mentions("another node");
    assert!(said.contains("key"), "{said}");
}

#[test]
fn who_follows_does_not_vote_and_who_starts_wrongly_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::found(folder.path());
    copy(&folder.path().join("node-0"), &folder.path().join("twin"));
    let mut nodes: Vec<_> = (0..OBSERVER).map(|number| ledger.node("validator", number)).collect();
    for node in &nodes {
        node.comes_to("serving");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = ledger.client(0).await;
        // Terms have ended before the others come.
        let waited = timeout(PATIENCE, client.wait_for(Height(25))).await;
        assert!(waited.is_ok(), "three of four make blocks");
        let observer = ledger.node("observer", OBSERVER);
        let archive = ledger.node("archive", ARCHIVE);
        follow(&ledger, &observer, &archive).await;
        let _votes = no_vote(&ledger, &mut nodes, observer).await;
        mistakes(&ledger, archive);
        // Nobody minds the mistakes.
        let head = client.head().await.unwrap();
        ledger.agree(&[0, 1, OBSERVER], (head.0, Height(head.0 + 2))).await;
    });
}

/// Copies the files of a folder that has no folders.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
