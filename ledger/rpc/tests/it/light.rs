//! What a light client needs.

use crate::support::*;
use alloy_primitives::{B256, Bytes, U64, U256};
use consensus::{Committee, Header, KeyProof, Validator, verify_state};
use execution::{Account, Key, slot};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn headers_certificates_and_proofs_fit_together() {
    let node = Node::new().await;
    let (mut a, b) = (User::new(1), User::new(2));
    node.land(&a.transfer(b.address(), 5)).await;
    let used = node.running.ledger.head().height();
    node.until(|block| block.height() > used).await;

    let proof: Value = node.ask("wayleave_proof", json!([TOKEN, ["0x2", "0x1234"]])).await;
    let header: Value = node.ask("wayleave_header", json!([proof["height"]])).await;
    let bytes: Bytes = serde_json::from_value(header["header"].clone()).unwrap();
    let header_read = Header::from_bytes(&bytes).unwrap();
    let hash: B256 = serde_json::from_value(header["hash"].clone()).unwrap();
    assert_eq!(header_read.digest(), hash);
    assert_eq!(json!(header_read.state.root), proof["root"]);
    let shown: Value = node.ask("eth_getBlockByNumber", json!([proof["height"], false])).await;
    assert_eq!((&shown["hash"], &shown["stateRoot"]), (&header["hash"], &proof["root"]));

    let check = |entry: &Value, key: Key| {
        assert_eq!(entry["key"], json!(B256::from(key.hash())));
        let bytes: Bytes = serde_json::from_value(entry["proof"].clone()).unwrap();
        let proof = KeyProof::from_bytes(&bytes).unwrap();
        let proven = verify_state(header_read.state.root, &key, &proof).unwrap();
        let shown: Option<Bytes> = serde_json::from_value(entry["value"].clone()).unwrap();
        assert_eq!(proven.map(|value| value.to_vec()), shown.map(|value| value.to_vec()));
        assert!(verify_state(B256::ZERO, &key, &proof).is_err());
        proven
    };
    let account = check(&proof["account"], Key::Account(TOKEN)).unwrap();
    assert_eq!(Account::decode(&account).nonce, 1);
    for (entry, index) in proof["slots"].as_array().unwrap().iter().zip([0x2, 0x1234]) {
        let index = U256::from(index);
        let proven = check(entry, Key::Slot(TOKEN, index)).map_or(U256::ZERO, |value| slot(&value));
        let asked: B256 = node.ask("eth_getStorageAt", json!([TOKEN, index, "latest"])).await;
        assert_eq!(asked, B256::from(proven));
    }

    let certified: Value = node.ask("wayleave_finalization", json!([U64::from(used)])).await;
    assert_eq!(certified["height"], json!(U64::from(used)));
    assert!(certified["finalization"].is_string(), "{certified}");
    let about: Value = node.ask("wayleave_ledger", json!([])).await;
    assert_eq!(about["trust"], "founder-trusted");

    // The validators of the running term and of the next, whom headers name; no others are known yet.
    for (term, known) in [("0x0", true), ("0x1", true), ("0x2", false)] {
        let seats: Option<Vec<Validator>> = node.ask("wayleave_committee", json!([term])).await;
        let digest = seats.map(|seats| Committee::new(&seats).unwrap().digest());
        assert_eq!(digest, known.then_some(header_read.committee), "{term}");
    }
    let slots = vec!["0x0"; 65];
    let error = node.try_ask::<Value>("wayleave_proof", json!([TOKEN, slots])).await.unwrap_err();
    assert_eq!(error.code(), -32005);
    node.stop().await;
}
