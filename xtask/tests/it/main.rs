//! The rules of the house hold for this repository.

use std::path::Path;
use xtask::{tidy, workspace::Workspace};

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let faults = tidy::check(&Workspace::read(root).unwrap()).unwrap();
    let list: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} faults:\n\n{}", list.len(), list.join("\n\n"));
}
