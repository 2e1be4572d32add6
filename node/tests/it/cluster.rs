//! Validators, agents and an S3 service as processes that are killed, cut off and restarted: afterwards all
//! have the same blocks, states and settlements, and every byte that was acknowledged.

use crate::machines::{Machines, PATIENCE, Process, text};
use alloy_primitives::U256;
use alloy_signer_local::PrivateKeySigner;
use bytes::Bytes;
use client::{Client, Intent, Options, abi::IToken, address};
use protocol::{Account, Epoch, Height, NetworkId, Tokens};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tokio::time::timeout;
use wayleave::{
    http::Http,
    s3::{Access, S3},
};

/// The ledger's id.
const CHAIN: u64 = 71_421;
/// Validators, and storage agents.
const VALIDATORS: usize = 4;
/// The number of the one who joins later.
const FIFTH: usize = VALIDATORS;
const AGENTS: usize = 6;
const NETWORK: NetworkId = NetworkId(1);
/// Blocks by which the others go on while one is away.
const AWAY: u64 = 5;

/// The processes of a ledger and of what runs on it.
struct Cluster {
    folder: PathBuf,
    machines: Machines,
    /// By number; none while it is away.
    nodes: Vec<Option<Process>>,
    bootstrap: Vec<String>,
    founder: PrivateKeySigner,
}

impl Cluster {
    /// Makes keys and genesis, and starts the validators.
    fn found(folder: &Path, machines: Machines) -> Self {
        let founder = PrivateKeySigner::random();
        let mut this = Self {
            folder: folder.to_owned(),
            machines,
            nodes: Vec::new(),
            bootstrap: Vec::new(),
            founder,
        };
        let cards: Vec<_> = (0..VALIDATORS).map(|number| this.key(number)).collect();
        this.genesis(&cards);
        for number in 0..VALIDATORS {
            this.start(number);
        }
        for node in this.nodes.iter().flatten() {
            node.says("serving:");
        }
        this
    }

    /// Makes the genesis, with the usual rules but a price at which a few megabytes and seconds cost something.
    fn genesis(&self, cards: &[String]) {
        let (draft, genesis) = (self.path("draft.json"), self.path("genesis.json"));
        let manifest = self.path("manifest.json");
        let mut made: Value = serde_json::from_str(&self.init(cards, &draft, &[])).unwrap();
        let mut rules = made["networks"][0]["manifest"].take();
        rules["kinds"][0]["price"] = 100_000.into();
        std::fs::write(&manifest, rules.to_string()).unwrap();
        self.init(cards, &genesis, &["--manifest", &manifest]);
        let checked = self.machines.get(0).run(&["init", "check", &genesis, "--card", &cards[0]]);
        assert!(checked.contains("the card's seat is in it"), "{checked}");
    }

    /// Makes a genesis file and gives what was said of it.
    fn init(&self, cards: &[String], out: &str, more: &[&str]) -> String {
        let (chain, founder) = (CHAIN.to_string(), self.founder.address().to_string());
        let allocation = format!("{founder}=100000");
        let dollars = format!("{founder}=100000");
        let mut arguments = vec!["init", "genesis", "--json", "--chain-id", &chain, "--out", out];
        arguments.extend([
            "--epoch-length",
            "20",
            "--term-length",
            "30",
            "--name",
            "Test",
            "--unbonding",
            "300",
        ]);
        arguments.extend(["--symbol", "TST", "--founder", &founder, "--allocate", &allocation]);
        arguments.extend(["--test-dollars", &dollars]);
        for card in cards {
            arguments.extend(["--card", card]);
        }
        arguments.extend(more);
        self.machines.get(0).run(&arguments)
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.join(name)).to_owned()
    }

    /// Makes the keys of a validator and gives its card.
    fn key(&mut self, number: usize) -> String {
        let machine = self.machines.get(number);
        let (dir, endpoint) = (self.path(&format!("node-{number}")), machine.endpoint());
        machine.run(&["init", "key", "--dir", &dir, "--endpoint", &endpoint.to_string()]);
        let card = format!("{dir}/card.json");
        let read: Value = serde_json::from_slice(&std::fs::read(&card).unwrap()).unwrap();
        self.bootstrap.push(format!("{}@{endpoint}", read["key"].as_str().unwrap()));
        self.nodes.push(None);
        card
    }

    /// Starts a validator.
    fn start(&mut self, number: usize) {
        let machine = self.machines.get(number);
        let mut command = machine.command();
        command.args(["node", "--role", "validator", "--genesis", &self.path("genesis.json")]);
        command.args(["--dir", &self.path(&format!("node-{number}"))]);
        command.args(["--listen", &machine.endpoint().to_string()]);
        command.args(["--rpc", &machine.rpc().to_string()]);
        command.args(["--http", &machine.http().to_string()]);
        for peer in &self.bootstrap[..VALIDATORS] {
            command.args(["--bootstrap", peer]);
        }
        for other in (0..VALIDATORS).filter(|other| *other != number) {
            command.args(["--others", &format!("http://{}", self.machines.get(other).http())]);
        }
        let name = format!("validator {number}");
        self.nodes[number] = Some(Process::start(&name, &mut command));
    }

    /// Kills a validator as `kill -9` does.
    fn kill(&mut self, number: usize) {
        self.nodes[number].take().unwrap().kill();
    }

    fn node(&self, number: usize) -> &Process {
        self.nodes[number].as_ref().unwrap()
    }

    fn url(&self, number: usize) -> String {
        format!("http://{}", self.machines.get(number).rpc())
    }

    async fn client(&self, number: usize) -> Client {
        let options = Options { chain_id: Some(CHAIN), confirm: PATIENCE, ..Options::default() };
        Client::connect_with(&self.url(number), options).await.unwrap()
    }

    /// The options by which agents and services find the ledger through one validator, and all of them for
    /// evidence.
    fn ledger(&self, command: &mut Command, number: usize) {
        command.args(["--ledger", &self.url(number), "--chain-id", &CHAIN.to_string()]);
        for number in 0..VALIDATORS {
            command.args(["--validator", &format!("http://{}", self.machines.get(number).http())]);
        }
    }

    /// Makes a keystore, and gives its file and account.
    fn account(&self, name: &str) -> (String, Account) {
        let file = self.path(&format!("{name}.json"));
        let made = self.machines.get(0).run(&["key", "new", &file, "--json"]);
        let made: Value = serde_json::from_str(&made).unwrap();
        let account = made["account"].as_str().unwrap().parse().unwrap();
        (file, account)
    }

    /// Starts the agents, each of an owner with coin and tokens.
    async fn agents(&self) -> Vec<Process> {
        let owners: Vec<_> =
            (0..AGENTS).map(|number| self.account(&format!("owner-{number}"))).collect();
        let coin = U256::from(Tokens::whole(10).0);
        let stake =
            IToken::transferCall { to: Account::ZERO, value: U256::from(Tokens::whole(200).0) };
        let gifts = owners.iter().flat_map(|(_, owner)| {
            let token = IToken::transferCall { to: *owner, ..stake.clone() };
            [Intent::transfer(*owner, coin), Intent::call(address::token(NETWORK), &token)]
        });
        for sent in self.client(0).await.send_many(&self.founder, gifts.collect()).await {
            sent.unwrap();
        }
        let starts = owners.iter().enumerate().map(|(number, (key, _))| {
            let machine = self.machines.get(VALIDATORS + 1 + number);
            let mut command = machine.command();
            command.args(["agent", "storage", "--capacity", "1GiB", "--owner-key", key]);
            command.args(["--data", &self.path(&format!("agent-{number}"))]);
            command.args(["--listen", &format!("{}:0", machine.ip)]);
            self.ledger(&mut command, number % VALIDATORS);
            Process::start(&format!("agent {number}"), &mut command)
        });
        let agents: Vec<_> = starts.collect();
        for agent in &agents {
            agent.says("offering");
        }
        agents
    }

    /// Starts an S3 service whose customer has coin and dollars, and gives where it answers.
    async fn service(&self) -> (Process, Access) {
        let (key, customer) = self.account("customer");
        let value = U256::from(50_000_000_000u64);
        let dollars = IToken::transferCall { to: customer, value };
        let gifts = vec![
            Intent::transfer(customer, U256::from(Tokens::whole(100).0)),
            Intent::call(address::STABLECOIN, &dollars),
        ];
        for sent in self.client(0).await.send_many(&self.founder, gifts).await {
            sent.unwrap();
        }
        let machine = self.machines.get(VALIDATORS + 1 + AGENTS);
        let mut command = machine.command();
        command.args(["service", "s3", "--payer-key", &key, "--deposit", "10000"]);
        command.args(["--data", &self.path("s3"), "--listen", &format!("{}:0", machine.ip)]);
        self.ledger(&mut command, 1);
        let service = Process::start("s3", &mut command);
        let said = |name: &str| {
            let line = service.says(&format!("  export {name}="));
            line.split_once('=').unwrap().1.to_owned()
        };
        let access = Access {
            url: said("AWS_ENDPOINT_URL"),
            key: said("AWS_ACCESS_KEY_ID"),
            secret: said("AWS_SECRET_ACCESS_KEY"),
        };
        (service, access)
    }

    /// Waits until a validator is `blocks` further than it is now, and gives its height.
    async fn goes_on(&self, number: usize, blocks: u64) -> Height {
        let client = self.client(number).await;
        let height = Height(client.head().await.unwrap().0 + blocks);
        self.reaches(number, height).await;
        height
    }

    /// Waits until a validator is at `height`.
    async fn reaches(&self, number: usize, height: Height) {
        let waited = timeout(PATIENCE, async {
            self.client(number).await.wait_for(height).await;
        });
        assert!(waited.await.is_ok(), "validator {number} does not reach {height}");
    }

    /// Waits until customers paid for an epoch that began after `from`, and gives it.
    async fn paid_after(&self, from: Epoch) -> Epoch {
        let client = self.client(0).await;
        let found = timeout(PATIENCE, async {
            let mut heights = client.follow(client.head().await.unwrap());
            let mut spent = None;
            loop {
                heights.next().await;
                let Some(epoch) = client.final_epoch(NETWORK).await.unwrap() else { continue };
                let outcome = client.outcome(NETWORK, epoch).await.unwrap().unwrap();
                // Totals are cumulative.
                let before = *spent.get_or_insert(outcome.totals.spent);
                if epoch > from && outcome.totals.spent > before {
                    return epoch;
                }
            }
        });
        found.await.expect("an epoch in which a customer paid")
    }

    /// Bonds for the fifth validator and registers its key, starts it, and waits until it has its seat.
    async fn join(&mut self) {
        let card = self.key(FIFTH);
        let card: Value = serde_json::from_slice(&std::fs::read(card).unwrap()).unwrap();
        let account: Account = card["account"].as_str().unwrap().parse().unwrap();
        let coin = Intent::transfer(account, U256::from(Tokens::whole(2_000).0));
        self.client(0).await.send_intent(&self.founder, coin).await.unwrap();
        let (dir, url, chain) = (self.path("node-4"), self.url(0), CHAIN.to_string());
        let at = ["--dir", &dir, "--ledger", &url, "--chain-id", &chain];
        let machine = self.machines.get(FIFTH);
        machine.run(&[&["validator", "bond", "1000"][..], &at].concat());
        machine.run(&[&["validator", "register"][..], &at].concat());
        self.start(FIFTH);
        self.node(FIFTH).says("serving:");
        let client = self.client(0).await;
        let seated = timeout(PATIENCE, async {
            let mut heights = client.follow(client.head().await.unwrap());
            loop {
                let status = self
                    .machines
                    .get(FIFTH)
                    .run(&[&["validator", "status", "--json"][..], &at].concat());
                let status: Value = serde_json::from_str(&status).unwrap();
                if status["seats"] == 5 {
                    return status;
                }
                heights.next().await;
            }
        });
        let status = seated.await.expect("a seat for the fifth");
        let own = status["keys"].as_array().unwrap().iter().find(|key| key["ours"] == true);
        assert_eq!(own.unwrap()["seat"], true, "{status}");
    }

    /// Compares the blocks of all of `numbers` from `from` to the lowest head.
    async fn compare_blocks(&self, numbers: &[usize], from: Height) {
        let mut clients = Vec::new();
        for &number in numbers {
            clients.push(self.client(number).await);
        }
        let mut heights = Vec::new();
        for client in &clients {
            heights.push(client.head().await.unwrap());
        }
        let lowest = heights.iter().min().unwrap().0;
        for height in from.0..=lowest {
            let mut blocks = Vec::new();
            for client in &clients {
                blocks.push(block(client, height).await);
            }
            assert!(blocks.windows(2).all(|pair| pair[0] == pair[1]), "{height}: {blocks:?}");
        }
        println!("compared blocks {from} to {lowest} of {} validators", numbers.len());
        assert!(lowest > from.0);
    }

    /// Compares the statements of all of `numbers` with what is final on the ledger. Who was away while an
    /// epoch became final may never have made its statement; all have that of the newest.
    async fn compare_epochs(&self, numbers: &[usize]) {
        let client = self.client(0).await;
        let last = client.final_epoch(NETWORK).await.unwrap().unwrap();
        let mut compared = 0;
        for epoch in (0..=last.0).map(Epoch) {
            let Some(outcome) = client.outcome(NETWORK, epoch).await.unwrap() else { continue };
            for &number in numbers {
                let digest = match self.statement(number, epoch).await {
                    None if epoch == last => Some(self.statement_to_come(number, epoch).await),
                    digest => digest,
                };
                let Some(digest) = digest else { continue };
                assert_eq!(digest, outcome.statement.0, "epoch {epoch} of validator {number}");
                compared += 1;
            }
        }
        println!("compared {compared} statements of {} validators", numbers.len());
    }

    /// The digest of the statement that a validator has of an epoch, if it has one.
    async fn statement(&self, number: usize, epoch: Epoch) -> Option<[u8; 32]> {
        let http = self.machines.get(number).http();
        let url = format!("http://{http}/v1/statement/{NETWORK}/{epoch}");
        let bytes = Http::new().get(&url).await.ok()?;
        Some(protocol::Digest::of(&bytes).0)
    }

    /// The same, as soon as it has one.
    async fn statement_to_come(&self, number: usize, epoch: Epoch) -> [u8; 32] {
        let client = self.client(number).await;
        let found = timeout(PATIENCE, async {
            let mut heights = client.follow(client.head().await.unwrap());
            loop {
                if let Some(digest) = self.statement(number, epoch).await {
                    return digest;
                }
                heights.next().await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("validator {number} has no statement of {epoch}"))
    }
}

/// The hash and the state root of a block.
pub(crate) async fn block(client: &Client, height: u64) -> (String, String) {
    let parameters = [json!(format!("{height:#x}")), json!(false)];
    let block: Value = client.request("eth_getBlockByNumber", &parameters).await.unwrap();
    let part = |name: &str| block[name].as_str().unwrap_or_default().to_owned();
    (part("hash"), part("stateRoot"))
}

/// Faults one after the other, in which the ledger goes on or comes back, and the comparison.
async fn run(machines: Machines) {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::found(folder.path(), machines);
    let _agents = cluster.agents().await;
    let (_service, access) = cluster.service().await;
    let s3 = S3::new(&access, "cluster").unwrap();
    s3.create().await.unwrap();
    let contents = Bytes::from(vec![7; 3_000_000]);
    s3.put("before", contents.clone()).await.unwrap();
    let paid = cluster.paid_after(Epoch(0)).await;

    // One of four dies: the others go on, and it comes back to where they are.
    cluster.kill(2);
    let height = cluster.goes_on(0, AWAY).await;
    cluster.start(2);
    cluster.node(2).says("serving:");
    cluster.reaches(2, height).await;

    // One is cut off.
    cluster.machines.cut(cluster.machines.get(1), cluster.node(1), true);
    let height = cluster.goes_on(0, AWAY).await;
    cluster.machines.cut(cluster.machines.get(1), cluster.node(1), false);
    cluster.reaches(1, height).await;

    // Two of four die: there are no blocks without them, and there are blocks again with them.
    cluster.kill(0);
    cluster.kill(3);
    cluster.start(0);
    cluster.start(3);
    cluster.node(0).says("serving:");
    cluster.node(3).says("serving:");
    let height = cluster.goes_on(0, AWAY).await;
    for number in 0..VALIDATORS {
        cluster.reaches(number, height).await;
    }

    s3.put("after", contents.clone()).await.unwrap();
    assert_eq!(s3.get("before").await.unwrap(), contents);
    assert_eq!(s3.get("after").await.unwrap(), contents);
    cluster.paid_after(paid).await;
    cluster.compare_blocks(&[0, 1, 2, 3], Height(0)).await;
    cluster.compare_epochs(&[0, 1, 2, 3]).await;

    // A fifth joins: its seat counts when another is away.
    cluster.join().await;
    let from = cluster.goes_on(FIFTH, AWAY).await;
    cluster.kill(1);
    let height = cluster.goes_on(FIFTH, AWAY).await;
    cluster.start(1);
    cluster.reaches(1, height).await;
    cluster.compare_blocks(&[0, 1, 2, 3, FIFTH], from).await;

    // Asked to end, it ends well.
    let node = cluster.nodes[3].take().unwrap();
    assert!(node.interrupt().success());
}

#[test]
#[ignore = "minutes long: `.ci/cluster` runs it"]
fn four_validators_and_six_agents_survive_kills_and_cuts() {
    let count = VALIDATORS + 1 + AGENTS + 1;
    let machines = match std::env::var("WAYLEAVE_LOOPBACK") {
        Ok(_) => None,
        Err(_) => Machines::in_namespaces(count),
    };
    let machines = machines.unwrap_or_else(|| {
        println!("SKIPPED the namespaces, which take root and `ip`: all runs on loopback");
        Machines::on_loopback(count)
    });
    tokio::runtime::Runtime::new().unwrap().block_on(run(machines));
}
