//! A process with a ledger is killed (SIGKILL) again and again; nothing it said was final is lost.

use crate::support::{NOBODY, coins, config, included, log, sender, transfer};
use alloy_primitives::B256;
use consensus::start;
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

/// Where the killed process keeps its ledger; without it the child has nothing to do.
const FOLDER: &str = "WAYLEAVE_TEST_LEDGER";

/// Sends transfers for ever and says on standard output which are final.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that `killed_at_any_moment` kills"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    log();
    let running = start(config(Path::new(&folder))).await.unwrap();
    let ledger = &running.ledger;
    let mut nonce = ledger.pending_nonce(sender().address()).await.unwrap();
    loop {
        ledger.submit_blob(nonce.to_be_bytes().to_vec().into()).unwrap();
        let hash = ledger.submit(&transfer(nonce)).await.unwrap();
        let located = included(ledger, hash).await;
        let mut out = std::io::stdout();
        writeln!(out, "final {nonce} {} {}", located.place.height, located.block).unwrap();
        out.flush().unwrap();
        nonce += 1;
    }
}

/// Runs the child until it has said `lines` transfers are final, then kills it.
fn run_and_kill(folder: &Path, lines: usize) -> Vec<(u64, u64, B256)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let said = out
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| {
            // The harness may have begun the line.
            let said = line.split("final ").nth(1)?.to_owned();
            let mut words = said.split(' ');
            let nonce = words.next()?.parse().ok()?;
            Some((nonce, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        })
        .take(lines)
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_nothing_final_is_lost() {
    log();
    let folder = tempfile::tempdir().unwrap();
    let mut promised = BTreeMap::new();
    for lines in [1, 4, 2, 7, 3] {
        let path = folder.path().to_owned();
        let said = tokio::task::spawn_blocking(move || run_and_kill(&path, lines)).await.unwrap();
        assert_eq!(said.len(), lines);
        for (nonce, height, block) in said {
            assert_eq!(promised.insert(nonce, (height, block)), None, "said once");
        }
    }
    let running = start(config(folder.path())).await.unwrap();
    let ledger = &running.ledger;
    for (height, block) in promised.values() {
        assert_eq!(ledger.header(*height).unwrap().unwrap().digest(), *block);
    }
    // Every height is there, and the state is what the transfers made it.
    let head = ledger.head().height();
    let mut transfers = 0;
    for height in 1..=head {
        let block = ledger.block(height).unwrap().unwrap();
        transfers += block.transactions.len();
        assert!(block.block().is_some());
    }
    let nonce = ledger.account(sender().address(), head).await.unwrap().nonce;
    assert_eq!(nonce, u64::try_from(transfers).unwrap());
    assert!(transfers >= promised.len());
    assert_eq!(coins(ledger, NOBODY, head).await, u128::from(nonce));
    running.stop().await.unwrap();
}
