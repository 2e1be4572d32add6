//! The commands of docs/operating.md, as they stand there, on one machine.
//!
//! A block whose fence says `sh` and a name is run: by each of the three founders, by one person, or as a
//! node that stays. Blocks for `root` need systemd and are not run. Addresses of the document become those of
//! loopback, its folders temporary ones, and its days a few blocks; nothing else is changed.

use crate::machines::{Machine, Machines, PASSPHRASE, PATIENCE, Process};
use client::{Client, Options};
use protocol::Height;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};
use tokio::time::timeout;

const DOCUMENT: &str = include_str!("../../../docs/operating.md");
const FOUNDERS: [&str; 3] = ["ann", "bob", "eve"];
/// Ann, Bob, Eve, Dan, and the machine of Eve's new key.
const MACHINES: usize = 5;

/// The text of the blocks whose fence is `sh name`, in order.
fn blocks(name: &str) -> Vec<&'static str> {
    let fence = format!("```sh {name}\n");
    DOCUMENT.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// People who follow the document.
struct People {
    folder: PathBuf,
    machines: Machines,
    variables: BTreeMap<String, String>,
}

impl People {
    fn machine(&self, name: &str) -> &Machine {
        let names = ["ann", "bob", "eve", "dan"];
        self.machines.get(names.iter().position(|known| *known == name).unwrap())
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A block as `name` runs it here.
    fn here(&self, name: &str, block: &str) -> String {
        let (own, new) = (self.machine(name), self.machines.get(MACHINES - 1));
        let dir = self.dir(name);
        let mut text = block
            .replace("/var/lib/wayleave", dir.to_str().unwrap())
            .replace("$IP:8548", &own.endpoint().to_string())
            .replace("$IP:8546", &own.http().to_string())
            .replace("$IP:8549", &new.endpoint().to_string())
            .replace("$IP:8556", &new.http().to_string())
            .replace("127.0.0.1:8555", &new.rpc().to_string())
            .replace("127.0.0.1:8545", &own.rpc().to_string())
            .replace("127.0.0.1:8547", "127.0.0.1:0")
            .replace("24h", "20")
            .replace("14d", "200");
        for (at, founder) in FOUNDERS.iter().enumerate() {
            let http = self.machine(founder).http().to_string();
            text = text.replace(&format!("203.0.113.{}:8546", at + 1), &http);
        }
        text
    }

    /// A shell that runs it, with what a person would have exported.
    fn shell(&self, name: &str, text: &str) -> Command {
        let program = Path::new(crate::program::PROGRAM).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command.args(["-euc", text]).current_dir(&self.folder).envs(&self.variables);
        command.env("PATH", format!("{}:{path}", program.display()));
        command.env("WAYLEAVE_PASSPHRASE", PASSPHRASE);
        command.env("WAYLEAVE_LEDGER", format!("http://{}", self.machine(name).rpc()));
        command
    }

    /// Runs a block to its end and gives what it printed.
    fn run(&self, name: &str, block: &str) -> String {
        self.run_at(name, name, block)
    }

    /// Runs a block with the ledger of `at`, as through a tunnel.
    fn run_at(&self, name: &str, at: &str, block: &str) -> String {
        let text = self.here(name, block);
        let mut command = self.shell(name, &text);
        command.env("WAYLEAVE_LEDGER", format!("http://{}", self.machine(at).rpc()));
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} ran\n{text}\n{error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a block that stays.
    fn stay(&self, name: &str, block: &str) -> Process {
        let text = self.here(name, block);
        // The shell gives its place to the program, so that it gets the signals.
        Process::start(name, &mut self.shell(name, &format!("exec {}", text.trim_start())))
    }

    fn card(&self, name: &str) -> Value {
        let bytes = std::fs::read(self.dir(name).join("card.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// What a person exports after the keys are made.
    fn export(&mut self, name: &str, value: String) {
        self.variables.insert(name.to_owned(), value);
    }

    async fn client(&self, name: &str) -> Client {
        let options = Options { confirm: PATIENCE, ..Options::default() };
        let url = format!("http://{}", self.machine(name).rpc());
        Client::connect_with(&url, options).await.unwrap()
    }

    /// The block at `height` as `name` has it, as soon as there is one.
    async fn block(&self, name: &str, height: u64) -> (Value, Value) {
        let client = self.client(name).await;
        let waited = timeout(PATIENCE, client.wait_for(Height(height))).await;
        assert!(waited.is_ok(), "{name} does not reach block {height}");
        let parameters = [json!(format!("{height:#x}")), json!(false)];
        let mut block: Value = client.request("eth_getBlockByNumber", &parameters).await.unwrap();
        (block["hash"].take(), block["stateRoot"].take())
    }

    /// The founders make their keys and one genesis, and compare its digest.
    fn found(&mut self, [keys, check]: [&str; 2], [founder, genesis]: [&str; 2]) {
        for name in FOUNDERS {
            let said = self.run(name, keys);
            let card = self.card(name);
            let peer =
                format!("{}@{}", card["key"].as_str().unwrap(), self.machine(name).endpoint());
            assert!(said.contains(&peer), "{said}");
            self.export(&name.to_uppercase(), peer);
            std::fs::copy(self.dir(name).join("card.json"), self.dir(&format!("{name}.json")))
                .unwrap();
        }
        let made = self.run("ann", founder);
        self.export("FOUNDER", account(&made));
        let made = self.run("ann", genesis);
        let digest = made.lines().find(|line| line.contains("digest")).unwrap().trim();
        for name in FOUNDERS {
            let checked = self.run(name, check);
            assert!(checked.contains(digest) && checked.contains("is in it"), "{checked}");
        }
    }
}

/// The first address of 20 bytes in a text.
fn account(text: &str) -> String {
    let mut words = text.split_whitespace();
    words.find(|word| word.starts_with("0x") && word.len() == 42).unwrap().to_owned()
}

#[test]
fn three_people_follow_the_manual_and_a_fourth_joins() {
    let folder = tempfile::tempdir().unwrap();
    let machines = Machines::on_loopback(MACHINES);
    let mut people =
        People { folder: folder.path().to_owned(), machines, variables: BTreeMap::new() };
    let [keys, check, status] = blocks("each")[..] else { panic!("three blocks for each") };
    let [founder, genesis, send] = blocks("ann")[..] else { panic!("three blocks for Ann") };
    let [make, register] = blocks("dan")[..] else { panic!("two blocks for Dan") };
    let one = |name| <[&str; 1]>::try_from(blocks(name)).unwrap()[0];
    let [node, replace, new, leave] = ["node", "eve", "eve-node", "dan-leaves"].map(one);
    people.found([keys, check], [founder, genesis]);
    let running: Vec<_> = FOUNDERS.iter().map(|name| people.stay(name, node)).collect();
    for process in &running {
        process.says("serving: validator");
    }
    for name in FOUNDERS {
        let said = people.run(name, status);
        assert!(said.contains("has a seat"), "{said}");
    }
    people.run("dan", make);
    let card = people.card("dan");
    people.export("DAN_ACCOUNT", card["account"].as_str().unwrap().to_owned());
    people.export("DAN_KEY", card["key"].as_str().unwrap().to_owned());
    people.export("EVE_KEY", people.card("eve")["key"].as_str().unwrap().to_owned());
    people.run("ann", send);
    people.run_at("dan", "ann", register);
    let dan = people.stay("dan", node);
    dan.says("serving: validator");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let head = people.client("dan").await.head().await.unwrap();
        // By then the election and the beginning of its term have come.
        let height = head.0 + 45;
        let anns = people.block("ann", height).await;
        for name in ["bob", "eve", "dan"] {
            assert_eq!(people.block(name, height).await, anns, "block {height} of {name}");
        }
    });
    let said = people.run("dan", status);
    assert!(said.contains("4, in the next term 4"), "{said}");
    let own = said.lines().find(|line| line.contains("this node")).unwrap();
    assert!(own.ends_with("has a seat"), "{said}");

    people.run("eve", replace);
    let new = people.stay("eve", new);
    new.says("serving: validator");
    people.run_at("dan", "ann", leave);
    let said = people.run_at("dan", "ann", status);
    assert!(said.contains("asked back"), "{said}");
    // A key that was retired is listed as long as it has a seat.
    let own = said.lines().find(|line| line.contains("this node")).unwrap();
    let seated = own.contains("has a seat") && own.ends_with("and is elected no more");
    assert!(seated || own.ends_with("is not registered"), "{said}");
    runtime.block_on(async {
        let head = people.client("ann").await.head().await.unwrap();
        people.block("ann", head.0 + 45).await;
    });
    // Ann, Bob and Eve's new key; Dan and Eve's old one are gone.
    let said = people.run("ann", status);
    assert!(said.contains("3, in the next term 3"), "{said}");
    let key = people.card("eve/new")["key"].as_str().unwrap().to_owned();
    let new = said.lines().find(|line| line.contains(&key)).unwrap();
    assert!(new.ends_with("has a seat"), "{said}");
    for process in running {
        assert!(process.interrupt().success());
    }
}

#[test]
fn units_say_what_the_program_understands() {
    let units: Vec<_> = DOCUMENT
        .split("```ini unit\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(units.len(), 4);
    for unit in units {
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        assert!(start.starts_with("/usr/local/bin/wayleave "), "{start}");
        let words: Vec<_> = start.split(' ').skip(1).collect();
        let command = words.iter().take_while(|word| !word.starts_with("--"));
        let help =
            Command::new(crate::program::PROGRAM).args(command).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{option} ")), "{option} of {start}");
        }
        for hardened in ["LoadCredential=passphrase", "ProtectSystem=strict", "StateDirectory="] {
            assert!(unit.contains(hardened), "{hardened} in {unit}");
        }
        assert!(unit.contains("NoNewPrivileges=true") || unit.contains("DynamicUser=true"));
    }
}
