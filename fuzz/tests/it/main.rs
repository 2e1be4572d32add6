//! Every target takes its corpus and a moment's worth of mutations of it.

use fuzz::{corpus, mutate::Mutator, targets::TARGETS};
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

/// How long each target is given; how many inputs that makes depends on the machine.
const MOMENT: Duration = Duration::from_millis(400);

#[test]
fn every_target_takes_what_it_is_given() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        let taken = seeds.iter().filter(|seed| attempt(target, seed)).count();
        assert!(taken > 0 && taken == seeds.len(), "{} takes {taken} seeds", target.name);
        let inputs = corpus::read(target).unwrap();
        for input in &inputs {
            attempt(target, input);
        }
        let mut mutator = Mutator::new(0xDE91);
        let began = Instant::now();
        while began.elapsed() < MOMENT {
            attempt(target, &mutator.mutate(&inputs));
        }
    }
}

/// Runs one input; a fault names it, so that it can be kept in the corpus.
fn attempt(target: &fuzz::Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).unwrap_or_else(|_| {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{} fails on {} bytes: {hex}", target.name, input.len());
    })
}

#[test]
fn names_are_distinct_and_files_belong_to_targets() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
    for entry in std::fs::read_dir(corpus::folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let target = name.strip_suffix(".inputs").unwrap_or_default();
        assert!(name == "README.md" || names.contains(target), "{name} is no target's");
    }
}
