//! Transactions end applied, or with a named reason.

use crate::ledger::{Ledger, State, options};
use alloy_primitives::{Address, U256};
use alloy_sol_types::{SolCall as _, SolError as _};
use client::{
    Client, Intent, Options, RpcError, SendError, Signer,
    abi::{IStakes, IToken},
};
use protocol::Height;
use std::{collections::BTreeSet, time::Duration};

const CONTRACT: Address = Address::repeat_byte(0xAA);

fn signer() -> Signer {
    Signer::from_slice(&[7; 32]).unwrap()
}

fn approve(value: u64) -> IToken::approveCall {
    IToken::approveCall { spender: Address::repeat_byte(9), value: U256::from(value) }
}

fn short_of_stake() -> Vec<u8> {
    IStakes::InsufficientStake {
        device: [5; 32].into(),
        stake: U256::from(3),
        needed: U256::from(8),
    }
    .abi_encode()
}

#[tokio::test]
async fn a_call_is_applied_and_its_receipt_comes_back() {
    let ledger = Ledger::start().await;
    ledger.state().eager = true;
    let client = ledger.client().await;
    let receipt = client.send(&signer(), CONTRACT, &approve(1)).await.unwrap();
    assert_eq!(receipt.logs.len(), 1);
    assert_eq!(receipt.gas_used, 21_000);
    assert!(ledger.state().receipts.contains_key(&receipt.transaction));
    let applied = ledger.state().applied.clone();
    assert_eq!(applied, [(signer().address(), 0, approve(1).abi_encode().into())]);
}

#[tokio::test]
async fn a_call_that_would_revert_is_refused_by_name_and_never_sent() {
    let ledger = Ledger::with(|_, _, _| Err(short_of_stake())).await;
    let client = ledger.client().await;
    let error = client.send(&signer(), CONTRACT, &approve(1)).await.unwrap_err();
    let SendError::Refused(revert) = &error else { panic!("{error}") };
    assert_eq!(revert.name(), "InsufficientStake");
    assert!(revert.is::<IStakes::InsufficientStake>());
    assert!(error.to_string().contains("stake: 3, needed: 8"), "{error}");
    assert_eq!(ledger.state().asked("eth_sendRawTransaction"), 0);
}

#[tokio::test]
async fn a_revert_in_a_block_is_named_from_the_receipt() {
    let ledger = Ledger::start().await;
    {
        let mut state = ledger.state();
        (state.eager, state.reasons) = (true, true);
        state.poison = Some((CONTRACT, short_of_stake()));
    }
    let client = ledger.client().await;
    let error = client.send(&signer(), CONTRACT, &approve(1)).await.unwrap_err();
    let SendError::Reverted { revert, .. } = &error else { panic!("{error}") };
    assert_eq!(revert.name(), "InsufficientStake");
}

#[tokio::test]
async fn a_revert_in_a_block_is_named_by_replaying_it() {
    // The estimate succeeds at height 0; once the block is there, the call reverts.
    let ledger = Ledger::with(|_, _, state: &State| match state.height {
        0 => Ok(Vec::new()),
        _ => Err(short_of_stake()),
    })
    .await;
    {
        let mut state = ledger.state();
        state.eager = true;
        state.poison = Some((CONTRACT, short_of_stake()));
    }
    let client = ledger.client().await;
    let error = client.send(&signer(), CONTRACT, &approve(1)).await.unwrap_err();
    let SendError::Reverted { revert, .. } = &error else { panic!("{error}") };
    assert_eq!(revert.name(), "InsufficientStake");
}

#[tokio::test]
async fn concurrent_senders_of_one_account_never_share_a_number() {
    let ledger = Ledger::start().await;
    ledger.state().eager = true;
    let client = ledger.client().await;
    let tasks: Vec<_> = (0..40)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move { client.send(&signer(), CONTRACT, &approve(i)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let state = ledger.state();
    assert_eq!(state.applied.len(), 40);
    let inputs: BTreeSet<_> = state.applied.iter().map(|(_, _, input)| input.clone()).collect();
    assert_eq!(inputs.len(), 40, "every call was applied once");
}

#[tokio::test]
async fn a_forgotten_transaction_is_handed_over_again() {
    let ledger = Ledger::start().await;
    {
        let mut state = ledger.state();
        (state.eager, state.forget) = (true, 2);
    }
    let client = ledger.client().await;
    client.send(&signer(), CONTRACT, &approve(1)).await.unwrap();
    assert_eq!(ledger.state().applied.len(), 1);
    assert!(ledger.state().asked("eth_sendRawTransaction") >= 3);
}

#[tokio::test]
async fn a_restart_of_the_ledger_delays_and_never_repeats() {
    let mut ledger = Ledger::start().await;
    let client = ledger.client().await;
    let sending = {
        let client = client.clone();
        tokio::spawn(async move { client.send(&signer(), CONTRACT, &approve(1)).await })
    };
    ledger.until(|state| !state.pool.is_empty()).await;
    ledger.stop().await;
    {
        let mut state = ledger.state();
        state.pool.clear();
        state.eager = true;
    }
    ledger.resume().await;
    sending.await.unwrap().unwrap();
    client.send(&signer(), CONTRACT, &approve(2)).await.unwrap();
    let numbers: Vec<_> = ledger.state().applied.iter().map(|(_, nonce, _)| *nonce).collect();
    assert_eq!(numbers, [0, 1]);
}

#[tokio::test]
async fn a_used_up_number_is_replaced() {
    let ledger = Ledger::start().await;
    ledger.state().eager = true;
    let client = ledger.client().await;
    client.send(&signer(), CONTRACT, &approve(1)).await.unwrap();
    // Another program sends with the same key; this client believes 1 is next.
    ledger.state().usurp(signer().address());
    client.send(&signer(), CONTRACT, &approve(2)).await.unwrap();
    let numbers: Vec<_> = ledger.state().applied.iter().map(|(_, nonce, _)| *nonce).collect();
    assert_eq!(numbers, [0, 2]);
}

#[tokio::test]
async fn a_displaced_transaction_is_signed_anew_once_it_can_never_be_applied() {
    let ledger = Ledger::start().await;
    let client = ledger.client().await;
    let sending = tokio::spawn(async move { client.send(&signer(), CONTRACT, &approve(1)).await });
    ledger.until(|state| !state.pool.is_empty()).await;
    {
        let mut state = ledger.state();
        state.usurp(signer().address());
        state.eager = true;
    }
    sending.await.unwrap().unwrap();
    let applied = ledger.state().applied.clone();
    assert_eq!(applied, [(signer().address(), 1, approve(1).abi_encode().into())]);
}

#[tokio::test]
async fn a_full_pool_is_waited_for() {
    let ledger = Ledger::start().await;
    {
        let mut state = ledger.state();
        (state.eager, state.full) = (true, 5);
    }
    let client = ledger.client().await;
    client.send(&signer(), CONTRACT, &approve(1)).await.unwrap();
    assert_eq!(ledger.state().asked("eth_sendRawTransaction"), 6);
}

#[tokio::test]
async fn giving_up_on_a_send_leaves_no_gap() {
    let ledger = Ledger::start().await;
    let client = ledger.client().await;
    {
        let call = approve(1);
        let signer = signer();
        let mut sending = std::pin::pin!(client.send(&signer, CONTRACT, &call));
        tokio::select! {
            _ = &mut sending => panic!("nothing makes blocks"),
            () = ledger.until(|state| state.asked("eth_estimateGas") > 0) => {}
        }
    }
    ledger.state().eager = true;
    client.send(&signer(), CONTRACT, &approve(2)).await.unwrap();
    ledger.until(|state| state.applied.len() == 2).await;
}

#[tokio::test]
async fn many_depend_on_one_another_in_order() {
    // The second kind of call reverts until the approval is applied.
    let ledger = Ledger::with(|_, input, state: &State| {
        let ready = state.applied.iter().any(|(_, _, input)| **input == approve(1).abi_encode());
        if input == approve(1).abi_encode() || ready {
            Ok(Vec::new())
        } else {
            Err(short_of_stake())
        }
    })
    .await;
    ledger.state().eager = true;
    let client = ledger.client().await;
    let intents = (1..=5).map(|i| Intent::call(CONTRACT, &approve(i))).collect();
    for result in client.send_many(&signer(), intents).await {
        result.unwrap();
    }
    let inputs: Vec<_> = ledger.state().applied.iter().map(|(_, _, input)| input.clone()).collect();
    let expected: Vec<_> = (1..=5).map(|i| approve(i).abi_encode()).collect();
    assert_eq!(inputs, expected);
}

#[tokio::test]
async fn one_of_many_that_is_refused_does_not_stop_the_others() {
    let ledger = Ledger::with(|_, input, _: &State| {
        if input == approve(2).abi_encode() { Err(short_of_stake()) } else { Ok(Vec::new()) }
    })
    .await;
    ledger.state().eager = true;
    let client = ledger.client().await;
    let intents = (1..=3).map(|i| Intent::call(CONTRACT, &approve(i))).collect();
    let results = client.send_many(&signer(), intents).await;
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(matches!(&results[1], Err(SendError::Refused(_))));
    assert_eq!(ledger.state().applied.len(), 2);
}

#[tokio::test]
async fn without_blocks_a_transaction_ends_unconfirmed() {
    let ledger = Ledger::start().await;
    let hurried = Options { confirm: Duration::from_millis(30), ..options() };
    let client = Client::connect_with(&ledger.url(), hurried).await.unwrap();
    let error = client.send(&signer(), CONTRACT, &approve(1)).await.unwrap_err();
    assert!(matches!(error, SendError::Unconfirmed { .. }), "{error}");
}

#[tokio::test]
async fn nobody_at_the_url_is_said_with_the_url() {
    let mut ledger = Ledger::start().await;
    ledger.stop().await;
    let hasty = Options { patience: Duration::from_millis(10), ..options() };
    let error = Client::connect_with(&ledger.url(), hasty).await.unwrap_err();
    assert!(matches!(&error, RpcError::Unreachable { url, .. } if *url == ledger.url()), "{error}");
    let error = Client::connect_with("not a url", hasty).await.unwrap_err();
    assert!(matches!(error, RpcError::Url { .. }), "{error}");
}

#[tokio::test]
async fn every_height_comes_once_and_a_restart_leaves_none_out() {
    let mut ledger = Ledger::start().await;
    ledger.state().height = 3;
    let client = ledger.client().await;
    let mut heights = client.follow(Height(1));
    for expected in 1..=3 {
        assert_eq!(heights.next().await, Height(expected));
    }
    ledger.stop().await;
    ledger.state().height = 5;
    ledger.resume().await;
    assert_eq!(heights.next().await, Height(4));
    assert_eq!(heights.next().await, Height(5));
    assert_eq!(heights.head(), Some(Height(5)));
}

/// A client that gives up at once.
async fn hasty(ledger: &Ledger) -> Client {
    let hasty = Options { patience: Duration::from_millis(1), ..options() };
    Client::connect_with(&ledger.url(), hasty).await.unwrap()
}

#[tokio::test]
async fn a_lost_answer_ends_unconfirmed_and_is_resumed_without_a_second_application() {
    let ledger = Ledger::start().await;
    ledger.state().lose = u32::MAX;
    let client = hasty(&ledger).await;
    let error = client.send(&signer(), CONTRACT, &approve(1)).await.unwrap_err();
    let SendError::Unconfirmed { transaction, raw, .. } = error else { panic!("{error}") };
    {
        let mut state = ledger.state();
        (state.eager, state.lose) = (true, 0);
    }
    let receipt = client.resume(&raw).await.unwrap();
    assert_eq!(receipt.transaction, transaction);
    // Once applied, it stays so however often it is resumed.
    assert_eq!(client.resume(&raw).await.unwrap(), receipt);
    assert_eq!(ledger.state().applied.len(), 1);
    let error = client.resume(&vec![1, 2, 3].into()).await.unwrap_err();
    assert!(matches!(error, SendError::Rejected(_)), "{error}");
}

#[tokio::test]
async fn a_lost_answer_of_an_applied_transaction_is_not_signed_anew() {
    let ledger = Ledger::start().await;
    {
        let mut state = ledger.state();
        (state.eager, state.lose, state.mine_at_once, state.late) = (true, 1, true, 3);
    }
    let client = ledger.client().await;
    client.send(&signer(), CONTRACT, &approve(1)).await.unwrap();
    assert_eq!(ledger.state().applied.len(), 1);
}

#[tokio::test]
async fn a_ledger_that_goes_away_after_the_hand_over_leaves_it_unconfirmed() {
    let mut ledger = Ledger::start().await;
    let options = Options {
        patience: Duration::from_millis(1),
        confirm: Duration::from_millis(50),
        ..options()
    };
    let client = Client::connect_with(&ledger.url(), options).await.unwrap();
    let sending = tokio::spawn(async move { client.send(&signer(), CONTRACT, &approve(1)).await });
    ledger.until(|state| !state.pool.is_empty()).await;
    ledger.stop().await;
    let error = sending.await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Unconfirmed { .. }), "{error}");
}

#[tokio::test]
async fn fees_beyond_what_is_offered_are_refused_and_nothing_is_sent() {
    let gwei = 1_000_000_000;
    let ledger = Ledger::start().await;
    ledger.state().eager = true;
    let client = ledger.client().await;
    ledger.state().fees = (1_001 * gwei, 1);
    let error = client.send(&signer(), CONTRACT, &approve(1)).await.unwrap_err();
    assert!(matches!(error, SendError::Fee { .. }), "{error}");
    assert_eq!(ledger.state().asked("eth_sendRawTransaction"), 0);
    ledger.state().fees = (900 * gwei, 10 * gwei);
    client.send(&signer(), CONTRACT, &approve(1)).await.unwrap();
}

#[tokio::test]
async fn another_ledger_than_the_one_named_is_refused() {
    let ledger = Ledger::start().await;
    let named = |id| Options { chain_id: Some(id), ..options() };
    let error = Client::connect_with(&ledger.url(), named(7)).await.unwrap_err();
    let RpcError::Chain { expected, found, .. } = error else { panic!("{error}") };
    assert_eq!((expected, found), (7, crate::ledger::CHAIN_ID));
    Client::connect_with(&ledger.url(), named(found)).await.unwrap();
}

#[tokio::test]
async fn nothing_is_signed_for_a_ledger_that_only_a_stranger_names() {
    let ledger = Ledger::start().await;
    ledger.state().eager = true;
    // An address of this machine that does not look like one.
    let url = ledger.url().replace("127.0.0.1", "0.0.0.0");
    let client = Client::connect_with(&url, options()).await.unwrap();
    assert_eq!(client.chain_id(), crate::ledger::CHAIN_ID, "reading is free");
    let error = client.send(&signer(), CONTRACT, &approve(1)).await.unwrap_err();
    assert!(matches!(error, SendError::Chain { .. }), "{error}");
    assert_eq!(ledger.state().asked("eth_sendRawTransaction"), 0);
    let named = Options { chain_id: Some(crate::ledger::CHAIN_ID), ..options() };
    let client = Client::connect_with(&url, named).await.unwrap();
    client.send(&signer(), CONTRACT, &approve(1)).await.unwrap();
}

#[test]
fn the_ledgers_words_for_refusals_are_understood() {
    for kind in rpc::Kind::ALL {
        let word = serde_json::to_value(kind).unwrap();
        let read: client::Kind = serde_json::from_value(word).unwrap();
        assert_eq!(format!("{read:?}"), format!("{kind:?}"));
    }
}

#[tokio::test]
async fn what_the_endpoint_refuses_is_not_asked_twice() {
    let ledger = Ledger::start().await;
    let client = ledger.client().await;
    let error = client.request::<u64>("wayleave_nothing", &[]).await.unwrap_err();
    assert!(matches!(error, RpcError::Refused { code: -32601, .. }), "{error}");
}
