//! `verify-epoch` names the rows in which an archive and the ledger differ, and `dissent` files nothing that the
//! archive does not support.

use crate::program::Program;
use client::Client;
use serde_json::Value;
use std::{path::Path, process::Output, time::Duration};
use tokio::time::timeout;

/// How long an epoch may take before the test gives up. Not a measure.
const PATIENCE: Duration = Duration::from_secs(300);

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The first epoch that is settled and had evidence, as soon as there is one.
async fn settled(program: &Program) -> u64 {
    let [_, rpc, ..] = program.at();
    let client = Client::connect(&rpc).await.unwrap();
    let mut heights = client.follow(client.head().await.unwrap());
    loop {
        let status = program.run(&["status", "--json"]);
        assert!(status.status.success(), "{}", text(&status.stderr));
        let figures: Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!((&figures["refused"], &figures["disputed"]), (&Value::Null, &Value::Null));
        // Duties begin in epoch 1.
        if let Some(epoch) = figures["settled"].as_u64().filter(|epoch| *epoch > 0) {
            return epoch;
        }
        heights.next().await;
    }
}

/// A copy of an archive without its evidence.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() && !path.ends_with("evidence") {
            copy(&path, &to);
        } else if path.is_file() {
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn rows_that_differ_are_named_and_no_dissent_is_filed_without_them() {
    let home = tempfile::tempdir().unwrap();
    let mut program = Program::new(home.path());
    program.start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let epoch = runtime.block_on(async { timeout(PATIENCE, settled(&program)).await });
    let epoch = epoch.expect("an epoch is settled").to_string();
    let code = |output: &Output| output.status.code();
    let same = program.run(&["verify-epoch", &epoch]);
    assert!(same.status.success(), "{}", text(&same.stderr));
    let key = home.path().join("none.json");
    let dissent =
        |epoch: &str| program.run(&["dissent", epoch, "--key-file", key.to_str().unwrap()]);
    let json = program.run(&["verify-epoch", &epoch, "--json"]);
    let found: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&found["epoch"].to_string(), &found["differs"]), (&epoch, &serde_json::json!([])));
    let agreed = dissent(&epoch);
    assert_eq!(code(&agreed), Some(4));
    assert!(text(&agreed.stderr).contains("there is nothing to dispute"));
    assert_eq!(code(&dissent("99999")), Some(5));
    let fine = ["fine", &epoch, "--key-file", key.to_str().unwrap()];
    assert!(text(&program.run(&fine).stderr).contains("no keystore"));

    // Without the evidence another statement comes out, and the rows say in what.
    let other = home.path().join("other");
    copy(&home.path().join("devnet/archive"), &other);
    let verify = ["verify-epoch", &epoch, "--archive", other.to_str().unwrap()];
    let differs = program.run(&verify);
    assert_eq!(code(&differs), Some(4), "{}", text(&differs.stderr));
    let said = text(&differs.stdout);
    assert!(said.contains("the archive and what the ledger decided differ in"), "{said}");
    assert!(
        said.lines().any(|line| line.contains("device 0x") && line.contains("duties met")),
        "{said}"
    );
    let json = program.run(&[&verify[..], &["--json"]].concat());
    assert_eq!(code(&json), Some(4));
    let found: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(found["epoch"].to_string(), epoch);
    let rows = found["differs"][0]["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["field"] == "evidence"), "{found}");
}
