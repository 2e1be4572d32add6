//! `service s3` takes no dollar that it was not told to take.

use crate::program::{PROGRAM, Program};
use client::{Client, Intent, abi::IToken, address};
use protocol::{Account, Micros, NetworkId};
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// The devnet's customer: everybody knows its key.
const CUSTOMER: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
/// What the new customer holds in stablecoin.
const STABLE: Micros = Micros(50_000_000);

/// A command that has the passphrase.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env("WAYLEAVE_PASSPHRASE", "a test's");
    command
}

/// Makes a key and gives it coin and stablecoin.
async fn customer(client: &Client, file: &str) -> Account {
    let output = command(&["key", "new", file, "--json"]).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let account: Account = made["account"].as_str().unwrap().parse().unwrap();
    let rich = CUSTOMER.parse().unwrap();
    let coin = alloy_primitives::U256::from(10).pow(alloy_primitives::U256::from(18));
    let value = alloy_primitives::U256::from(STABLE.0);
    let gifts = vec![
        Intent::transfer(account, coin),
        Intent::call(address::STABLECOIN, &IToken::transferCall { to: account, value }),
    ];
    for sent in client.send_many(&rich, gifts).await {
        sent.unwrap();
    }
    account
}

/// Runs the service until it answers.
fn serve(arguments: &[&str]) {
    let mut child = command(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let answers = lines.map_while(Result::ok).any(|line| line.starts_with("S3 answers"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answers, "the service ended before it answered");
}

#[test]
fn a_service_deposits_what_it_is_told_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let mut program = Program::new(home.path());
    program.start();
    let file = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (key, data) = (file("customer.json"), file("s3"));
    let at = program.at();
    let mut plain = vec!["service", "s3", "--data", &data, "--payer-key", &key];
    plain.extend(["--listen", "127.0.0.1:0"]);
    plain.extend(at.iter().map(String::as_str));
    let deposit = |amount| [plain.as_slice(), &["--deposit", amount]].concat();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(Client::connect(&at[1])).unwrap();
    let account = runtime.block_on(customer(&client, &key));
    let deposited = || {
        let purse = runtime.block_on(client.purse(NetworkId(1), account)).unwrap();
        purse.deposited
    };

    let asked = command(&plain).output().unwrap();
    let text = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(1), "{text}");
    for part in ["$50.00 in stablecoin", "--deposit ", &key] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert_eq!(deposited(), Micros(0));
    assert!(!Path::new(&data).join("signer.json").exists());

    // More than there is: nothing moves.
    let refused = command(&deposit("50.000001")).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(deposited(), Micros(0));

    serve(&deposit("12.50"));
    assert_eq!(deposited(), Micros(12_500_000));
    // Again, and with less, and without being asked: nothing moves.
    for arguments in [deposit("12.50"), deposit("1"), plain.clone()] {
        serve(&arguments);
        assert_eq!(deposited(), Micros(12_500_000));
    }
    serve(&deposit("20"));
    assert_eq!(deposited(), Micros(20_000_000));
}
