//! Four validators that do not all say the same: who decides, who refuses, and what a dissent changes.

use crate::{
    behind::foreign,
    http::get,
    world::{FOUR_CLOCK, Four, NETWORK, dissenter, seats, until},
};
use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent as _;
use client::{
    Intent,
    abi::{
        ISettlements::{self, Committed, Fined, Revealed},
        IValidators::NoSuchSeat,
    },
    address,
};
use protocol::{Digest, Epoch, Height};
use serde_json::{Value, json};
use std::path::Path;

impl Four {
    /// An epoch that begins later, for which these workers' archives have evidence that no block carried.
    async fn forge(&self, liars: &[usize]) -> Epoch {
        let head = self.client.head().await.unwrap();
        let epoch = FOUR_CLOCK.epoch(head).next().next();
        let forged = foreign(FOUR_CLOCK, epoch);
        for &liar in liars {
            self.nodes[liar].archive().record_block(&forged).await.unwrap();
        }
        epoch
    }

    /// The statement that is decided for an epoch, as soon as one is.
    async fn decided(&self, epoch: Epoch) -> Digest {
        until(&self.client, "a decision", async || {
            let outcome = self.client.outcome(NETWORK, epoch).await.unwrap();
            outcome.map(|outcome| outcome.statement.into())
        })
        .await
    }

    /// The statement that a worker's archive has of an epoch.
    async fn archived(&self, node: usize, epoch: Epoch) -> Option<Digest> {
        let statement = self.nodes[node].archive().statement(NETWORK, epoch).await.unwrap();
        statement.map(|statement| statement.digest())
    }

    /// What a worker says that it refuses.
    async fn refused(&self, node: usize) -> Vec<Value> {
        let status = get(self.nodes[node].http, "/v1/status").await.json();
        status["refused"].as_array().unwrap().clone()
    }

    /// Waits until a worker refuses what was decided for an epoch, and gives the refusal.
    async fn refuses(&self, node: usize, epoch: Epoch) -> Value {
        let refused =
            until(&self.client, "a refusal", async || self.refused(node).await.first().cloned())
                .await;
        assert_eq!((&refused["network"], &refused["epoch"]), (&json!(NETWORK), &json!(epoch)));
        refused
    }

    /// The rounds and heights of all events of a kind about an epoch.
    async fn heights(&self, event: B256, epoch: Epoch) -> Vec<(u64, u64)> {
        let word = |number: u64| B256::from(U256::from(number));
        let filter = [json!({
            "address": address::SETTLEMENTS, "fromBlock": "0x0",
            "topics": [event, word(NETWORK.0), word(epoch.0)],
        })];
        let logs: Vec<Value> = self.client.request("eth_getLogs", &filter).await.unwrap();
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        // The first word of the data is the round.
        let height = |log: &Value| {
            let (data, height) = (log["data"].as_str().unwrap(), &log["blockNumber"]);
            (number(&data[50..66]), number(&height.as_str().unwrap()[2..]))
        };
        logs.iter().map(height).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_root_of_one_of_four_is_out_voted_and_the_liar_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut four = Four::start(folder.path(), 2).await;
    for seat in seats() {
        four.add(Some(seat)).await;
    }
    let epoch = four.forge(&[3]).await;
    let decided = four.decided(epoch).await;
    let refused = four.refuses(3, epoch).await;
    assert_eq!(refused["decided"], json!(decided));
    let own = four.archived(3, epoch).await.unwrap();
    assert_eq!(refused["replayed"], json!(own));
    assert_ne!(own, decided);
    // The others give it the statement to compare with, unless they are too slow to be waited for.
    assert_ne!(refused["differences"], json!(0));
    for honest in 0..3 {
        assert_eq!(four.archived(honest, epoch).await, Some(decided));
    }
    // Nobody revealed while commits were open.
    let commits = four.heights(Committed::SIGNATURE_HASH, epoch).await;
    let reveals = four.heights(Revealed::SIGNATURE_HASH, epoch).await;
    assert!(!reveals.is_empty());
    for (round, height) in reveals {
        let mut of_round = commits.iter().filter(|commit| commit.0 == round);
        assert!(of_round.all(|commit| commit.1 < height), "round {round}: {commits:?}");
    }
    // The other three go on, and the liar builds nothing on what it refuses.
    four.decided(epoch.next()).await;
    assert_eq!(four.archived(3, epoch.next()).await, None);
    assert_eq!(four.refused(0).await, Vec::<Value>::new());
    four.stop().await;
}

/// Takes the forged evidence of an epoch out of an archive.
fn mend(folder: &Path, epoch: Epoch) {
    let height = foreign(FOUR_CLOCK, epoch).height;
    let object = folder.join("archive/evidence").join(format!("{:012}.cbor", height.0));
    std::fs::remove_file(object).unwrap();
}

/// Fines every seat of the round that decided first; gives how many there were, and what the dissenter got.
async fn fine_all(four: &Four, epoch: Epoch) -> (usize, U256) {
    let (mut fined, mut rewards, mut round) = (0, U256::ZERO, 1);
    loop {
        let call = ISettlements::rulingOfCall { network: NETWORK.0, epoch: epoch.0, round };
        let ruling = four.client.call(address::SETTLEMENTS, call).await.unwrap();
        if !ruling.dissenter.is_zero() {
            break;
        }
        round += 1;
    }
    for seat in 0.. {
        let call = ISettlements::fineCall { network: NETWORK.0, epoch: epoch.0, round, seat };
        match four.client.send(&dissenter(), address::SETTLEMENTS, &call).await {
            Ok(receipt) => {
                let event: Fined = receipt.event(address::SETTLEMENTS).unwrap();
                assert_eq!(event.reward, event.amount / U256::from(2));
                (fined, rewards) = (fined + 1, rewards + event.reward);
            }
            Err(error) if error.revert().unwrap().is::<NoSuchSeat>() => break,
            Err(error) => assert_eq!(error.revert().unwrap().name(), "NotFinable"),
        }
    }
    (fined, rewards)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_four_lie_and_a_dissent_puts_it_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut four = Four::start(folder.path(), 4).await;
    let [honest, liars @ ..] = seats();
    for liar in liars {
        four.add(Some(liar)).await;
    }
    four.add(Some(honest)).await;
    four.add(None).await;
    let epoch = four.forge(&[0, 1, 2]).await;
    let lie = four.decided(epoch).await;
    assert_eq!(four.archived(0, epoch).await, Some(lie));

    // The honest validator and the observer refuse it, and build nothing on it.
    for node in [3, 4] {
        let refused = four.refuses(node, epoch).await;
        assert_eq!(refused["decided"], json!(lie));
        assert_ne!(refused["differences"], json!(0));
    }
    let truth = four.archived(4, epoch).await.unwrap();
    assert_ne!(truth, lie);
    assert_eq!(four.archived(3, epoch).await, Some(truth));
    let later = epoch.next();
    let wrong = four.decided(later).await;
    assert_eq!(four.archived(4, later).await, None);

    // Two thirds see what they did, and somebody disputes it.
    for node in &four.nodes[..3] {
        mend(&node.folder, epoch);
    }
    let base = four.client.final_before(NETWORK, epoch).await.unwrap().unwrap();
    let base = four.decided(base).await;
    let archive = four.nodes[4].archive();
    let (settled, _) = validator::replay_epoch(&archive, (NETWORK, epoch), base).await.unwrap();
    assert_eq!(settled.statement.digest(), truth);
    let bond = four.client.call(address::SETTLEMENTS, ISettlements::dissentBondCall {}).await;
    let outcome = validator::settle::outcome(&settled);
    let call = ISettlements::dissentCall { network: NETWORK.0, epoch: epoch.0, outcome };
    let intent = Intent { value: bond.unwrap(), ..Intent::call(address::SETTLEMENTS, &call) };
    four.client.send_intent(&dissenter(), intent).await.unwrap();

    // All vote again; nobody refuses any more, and what was built on the lie is settled anew.
    until(&four.client, "the lie to be overruled", async || {
        (four.decided(epoch).await == truth).then_some(())
    })
    .await;
    let anew = until(&four.client, "the next epoch anew", async || {
        Some(four.decided(later).await).filter(|anew| *anew != wrong)
    })
    .await;
    for node in 0..5 {
        let what = format!("worker {node} follows");
        until(&four.client, &what, async || {
            (four.archived(node, later).await == Some(anew)).then_some(())
        })
        .await;
        assert_eq!(four.archived(node, epoch).await, Some(truth));
        assert_eq!(four.refused(node).await, Vec::<Value>::new());
    }
    let statement = four.nodes[4].archive().statement(NETWORK, later).await.unwrap().unwrap();
    assert_eq!(statement.previous, truth);

    // Who decided it pays, when nobody can dispute what replaced it any more.
    let call = ISettlements::claimableFromCall { network: NETWORK.0, epoch: epoch.0 };
    let from = four.client.call(address::SETTLEMENTS, call).await.unwrap();
    four.client.wait_for(Height(from)).await;
    let (fined, rewards) = fine_all(&four, epoch).await;
    assert_eq!(fined, 3);
    assert!(!rewards.is_zero());
    four.stop().await;
}
