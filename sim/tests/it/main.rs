//! Worlds by fixed seeds: those that every change has to survive, and those that none can.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use sim::{
    run::{Choice, Report, run},
    scenario::{ALL, Scenario},
};
use std::ops::Range;

fn world(name: &str, seed: u64) -> Report {
    let scenario = Scenario::find(name).unwrap();
    run(Choice { seed, scenario, machines: None, echo: false })
}

/// Whether devices met all that was due, and were paid.
fn all_met(report: &Report) -> bool {
    let (epochs, due, met) = report.settled;
    report.votes.paid > 0 && epochs > 0 && due > 0 && met == due
}

/// Whether there was in a world what its scenario is for, where chance could keep it away.
fn came_about(name: &str, report: &Report) -> bool {
    let votes = report.votes;
    match name {
        "economy" => all_met(report),
        "censor-device" => {
            let kept = report.withheld;
            all_met(report) && kept.envelopes > 0 && kept.blobs > 0 && kept.votes > 0
        }
        "copiers" => votes.copied > 0,
        "dissent" => votes.upheld == 1 && votes.fined == 3 && votes.paid > 0,
        "griefer" => votes.rejected == 1 && votes.paid > 0,
        "storage" => report.stored.answered > 50,
        "storage-lost" => report.stored.lost > 0,
        _ => true,
    }
}

/// Worlds of a scenario, one after the other as they are asked for, none of which may break.
fn survivors(name: &str, seeds: Range<u64>) -> impl Iterator<Item = Report> {
    seeds.map(move |seed| {
        let report = world(name, seed);
        assert_eq!(report.broken, None, "{name} with seed {seed}");
        report
    })
}

/// Runs every scenario whose place in the list leaves `part` when divided by the number of parts, so that
/// the tests run beside each other.
fn survives(part: usize) {
    for (index, scenario) in ALL.iter().enumerate().filter(|(index, _)| index % 4 == part) {
        let seed = u64::try_from(index).unwrap();
        let report = world(scenario.name, seed);
        let said = report.last.join("\n");
        assert_eq!(report.broken, None, "{} with seed {seed}:\n{said}", scenario.name);
        let came = came_about(scenario.name, &report);
        assert!(came, "{} with seed {seed} shows nothing: {report:?}", scenario.name);
        assert!(report.height > 5 && report.carried.0 > 0, "{}: {report:?}", scenario.name);
    }
}

#[test]
fn every_scenario_keeps_every_promise_first_part() {
    survives(0);
}

#[test]
fn every_scenario_keeps_every_promise_second_part() {
    survives(1);
}

#[test]
fn every_scenario_keeps_every_promise_third_part() {
    survives(2);
}

#[test]
fn every_scenario_keeps_every_promise_fourth_part() {
    survives(3);
}

#[test]
fn one_seed_is_one_world_to_the_byte() {
    let (first, second) = (world("mixed", 21), world("mixed", 21));
    assert_eq!(first.broken, None);
    assert_eq!((&first.hash, first.last), (&second.hash, second.last));
    let before = first.hash;
    for name in ["economy-faults", "storage-faults"] {
        let (first, second) = (world(name, 2), world(name, 2));
        assert_eq!(first.broken, None, "{name}");
        assert_ne!(before, first.hash);
        assert_eq!((first.hash, first.last), (second.hash, second.last));
    }
}

#[test]
fn seeds_that_broke_a_promise_once_keep_it() {
    // Machines that refused each other's attempts at a connection in turn, for minutes.
    let report = world("lan", 96);
    assert_eq!(report.broken, None);
}

#[test]
fn checkers_see_what_no_ledger_survives() {
    let lost = world("lying-disks", 1).broken.unwrap();
    assert!(lost.contains("final") || lost.contains("does not start"), "{lost}");
    let stopped = world("too-silent", 1).broken.unwrap();
    assert!(stopped.contains("did not reach"), "{stopped}");
    let false_root = world("false-majority", 1).broken.unwrap();
    assert!(false_root.contains("to another outcome than is final"), "{false_root}");
}

#[test]
fn who_votes_twice_is_named() {
    // A liar that honest peers hung up on before it led says nothing twice, so several seeds are tried.
    let named = survivors("equivocator", 3..6).any(|report| report.convicted.len() == 1);
    assert!(named, "nobody is named");
}

#[test]
fn who_shows_each_peer_one_face_is_accused_by_honest_machines() {
    let accused = survivors("two-faced", 0..4).any(|report| !report.accused.is_empty());
    assert!(accused, "nobody is accused");
}
