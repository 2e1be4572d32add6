//! Starting and stopping in one folder, and why a start is refused.

use crate::support::{COIN, NOBODY, coins, config, genesis, included, sender, transfer};
use alloy_primitives::U256;
use consensus::{BlobRefused, HistoryError, KeyProof, QueryError, StartError, start, verify_state};
use execution::Key;
use std::net::{SocketAddr, TcpListener};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_ledger_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = None;
    for round in 0..3u64 {
        let running = start(config(folder.path())).await.unwrap();
        let ledger = running.ledger.clone();
        let head = ledger.head().height();
        if let Some((height, hash)) = last {
            assert!(head >= height);
            assert_eq!(ledger.header(height).unwrap().unwrap().digest(), hash);
        }
        assert_eq!(coins(&ledger, NOBODY, head).await, u128::from(round));
        let hash = ledger.submit(&transfer(round)).await.unwrap();
        ledger.submit_blob(vec![1, 2, 3].into()).unwrap();
        let height = included(&ledger, hash).await.place.height;
        assert_eq!(coins(&ledger, NOBODY, height).await, u128::from(round) + 1);
        assert_eq!(coins(&ledger, NOBODY, height - 1).await, u128::from(round));

        let keys = vec![Key::Account(NOBODY)];
        let proof = ledger.prove(keys.clone()).await.unwrap();
        let root = ledger.header(proof.height).unwrap().unwrap().state.root;
        let held = verify_state(root, &keys[0], &proof.entries[0]).unwrap().unwrap();
        let balance = execution::Account::decode(&held).balance;
        assert_eq!(balance, U256::from(COIN) * U256::from(round + 1));
        assert!(matches!(proof.entries[0], KeyProof::Present { .. }));

        last = Some((height, ledger.header(height).unwrap().unwrap().digest()));
        running.stop().await.unwrap();
        // A handle that outlives its ledger says so.
        let stopped = ledger.account(NOBODY, height).await.unwrap_err();
        assert!(matches!(stopped, QueryError::Stopped), "{stopped}");
        assert_eq!(ledger.submit_blob(vec![4].into()), Err(BlobRefused::Stopped));
        assert!(matches!(ledger.header(0), Err(HistoryError::Closed)));
        assert_eq!(ledger.subscribe().next().await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_transactions_of_one_sender_are_all_carried_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(config(folder.path())).await.unwrap();
    let ledger = &running.ledger;
    let mut last = None;
    for nonce in 0..200 {
        last = Some(ledger.submit(&transfer(nonce)).await.unwrap());
    }
    let height = included(ledger, last.unwrap()).await.place.height;
    assert_eq!(coins(ledger, NOBODY, height).await, 200);
    assert_eq!(ledger.account(sender().address(), height).await.unwrap().nonce, 200);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_is_refused_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut busy = config(folder.path());
    busy.listen = taken.local_addr().unwrap();
    let error = start(busy).await.unwrap_err();
    assert!(matches!(error, StartError::Port { .. }), "{error}");
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()));

    let running = start(config(folder.path())).await.unwrap();
    let error = start(config(folder.path())).await.unwrap_err();
    assert!(matches!(error, StartError::Locked(_)), "{error}");
    assert!(running.listen.port() != 0);
    running.stop().await.unwrap();

    let mut other = config(folder.path());
    other.genesis = genesis(0xDE92);
    let error = start(other).await.unwrap_err();
    assert!(matches!(error, StartError::History(HistoryError::Genesis { .. })), "{error}");

    let mut broken = config(folder.path());
    broken.genesis.validators.clear();
    assert!(matches!(start(broken).await.unwrap_err(), StartError::Genesis(_)));

    let file = folder.path().join("ledger.lock");
    let error = start(config(&file)).await.unwrap_err();
    assert!(matches!(error, StartError::Folder { .. }), "{error}");

    // None of this has hurt the folder.
    let running = start(config(folder.path())).await.unwrap();
    running.stop().await.unwrap();
    let _: SocketAddr = taken.local_addr().unwrap();
}
