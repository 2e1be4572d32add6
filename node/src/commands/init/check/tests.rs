//! Three people found a ledger; what is wrong is refused with its reason.

use super::{super::genesis::found, *};
use crate::{
    cli::{Cli, Command, Init, InitGenesis},
    devnet::accounts::Accounts,
};
use clap::Parser as _;
use consensus::ValidatorKeys;
use std::path::PathBuf;
use tempfile::TempDir;

const FOUNDER: &str = "0x1234567890123456789012345678901234567890";

fn card(folder: &TempDir, n: u8) -> PathBuf {
    let endpoint = format!("203.0.113.{n}:8548").parse().unwrap();
    let account = Address::repeat_byte(n);
    let card = Card::new(&ValidatorKeys::derive(&[n; 32]), account, endpoint);
    let path = folder.path().join(format!("{n}.json"));
    std::fs::write(&path, serde_json::to_vec(&card).unwrap()).unwrap();
    path
}

fn parse(cards: &[PathBuf], more: &[&str]) -> Box<InitGenesis> {
    let mut arguments = vec!["wayleave", "init", "genesis", "--out", "genesis.json"];
    if !more.contains(&"--chain-id") {
        arguments.extend(["--chain-id", "71421"]);
    }
    for card in cards {
        arguments.extend(["--card", card.to_str().unwrap()]);
    }
    arguments.extend(more);
    match Cli::try_parse_from(arguments).unwrap().command {
        Command::Init(Init::Genesis(arguments)) => arguments,
        _ => unreachable!("it is `init genesis`"),
    }
}

#[test]
fn three_cards_found_a_ledger_with_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let cards = [1, 2, 3].map(|n| card(&folder, n));
    let more = ["--name", "Valley Storage", "--symbol", "VAL", "--founder", FOUNDER];
    let allocation = format!("{}=7", Address::repeat_byte(2));
    let arguments = parse(&cards, &[&more[..], &["--allocate", &allocation]].concat());
    let genesis = found(&arguments, 1_800_000_000_000).unwrap();
    assert_eq!(genesis.epoch_length, 172_800);
    let summary = Summary::of(&genesis).unwrap();
    assert_eq!(summary.validators.len(), 3);
    assert_eq!(summary.guardian, FOUNDER.parse::<Address>().unwrap());
    // Two accounts have the usual coins, one what was said.
    let total: f64 = summary.coins_total.parse().unwrap();
    assert_eq!(total, 20_007.0);
    assert_eq!(summary.networks[0].name, "Valley Storage");
    assert_eq!(summary.networks[0].manifest.kinds.len(), 1);
    // The same file again, byte for byte: the digest is all that people compare.
    assert_eq!(found(&arguments, 1_800_000_000_000).unwrap().digest(), summary.digest);
    assert_ne!(found(&arguments, 1_800_000_000_001).unwrap().digest(), summary.digest);
}

#[test]
fn a_genesis_that_contradicts_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cards = [1, 2, 3].map(|n| card(&folder, n));
    let genesis = found(&parse(&cards, &[]), 0).unwrap();
    let mut rich = genesis.clone();
    rich.validators[0].account = Address::repeat_byte(9);
    let mut longer = genesis.clone();
    longer.epoch_length += 1;
    let mut late = genesis.clone();
    late.timestamp_ms = u64::MAX;
    let mut empty = genesis;
    empty.contracts.clear();
    for bad in [rich, longer, late, empty] {
        let error = Summary::of(&bad).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::Check(_))), "{error}");
    }
}

#[test]
fn what_would_found_no_good_ledger_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(|n| card(&folder, n));
    let known = format!("{}=1", Accounts::derive(0).unwrap().founder.account());
    let twice = format!("{FOUNDER}=1");
    let manifest = folder.path().join("manifest.json");
    std::fs::write(&manifest, "{}").unwrap();
    let network = ["--name", "V", "--symbol", "V", "--founder", FOUNDER, "--manifest"];
    let with_manifest = [&network[..], &[manifest.to_str().unwrap()]].concat();
    let just = std::slice::from_ref(&one);
    let cases: [(&[PathBuf], &[&str], &str); 11] = [
        (&[one.clone(), one.clone()], &[], "twice"),
        (just, &["--chain-id", "56977"], "taken"),
        (just, &["--allocate", &known], "its key is public"),
        (just, &["--allocate", &twice, "--allocate", &twice], "twice"),
        (just, &["--epoch-length", "11"], "at least 12 blocks"),
        (just, &["--term-length", "1", "--unbonding", "100"], "at least 2 blocks"),
        (&[folder.path().join("missing.json")], &[], "missing.json"),
        (just, &["--bond", "1", "--bond-min", "2"], "below --bond-min"),
        (just, &["--bond", "200", "--bond-min", "100"], "that of 2 keys"),
        (just, &["--term-length", "2"], "takes at most 1024 terms"),
        (&[one.clone(), two], &with_manifest, "no manifest"),
    ];
    for (cards, more, part) in cases {
        let refused = format!("{:#}", found(&parse(cards, more), 0).unwrap_err());
        assert!(refused.contains(part), "{refused}");
    }
}
