//! Accusing: the double votes that the ledger of this process saw are told to the contract `Validators`,
//! which convicts their signer and pays whoever was first (design 5).
//!
//! Every validator sees a double vote and the first transaction convicts, so the others find it done; that
//! costs them nothing, because a transaction that would fail is not sent. What fails for another reason than
//! the contract's is tried again.

use crate::running::RETRY;
use client::{
    Client, Revert, Signer,
    abi::IValidators::{AlreadyConvicted, accuseCall},
    address,
};
use consensus::DoubleVote;
use std::collections::BTreeSet;
use tokio::sync::watch;

/// Tells the ledger what `seen` shows, with `signer`, until the ledger ends.
pub async fn accuse(client: Client, signer: Signer, mut seen: watch::Receiver<Vec<DoubleVote>>) {
    // What is done with, by term and key; no more than `seen` holds.
    let mut done = BTreeSet::new();
    loop {
        let votes = seen.borrow_and_update().clone();
        done.retain(|name| votes.iter().any(|vote| (vote.term, vote.key) == *name));
        let mut all = true;
        for vote in &votes {
            if !done.contains(&(vote.term, vote.key)) {
                if tell(&client, &signer, vote).await {
                    done.insert((vote.term, vote.key));
                } else {
                    all = false;
                }
            }
        }
        let changed = seen.changed();
        if all {
            if changed.await.is_err() {
                return;
            }
        } else if matches!(tokio::time::timeout(RETRY, changed).await, Ok(Err(_))) {
            return;
        }
    }
}

/// Whether the ledger knows of the double vote now, or never will.
async fn tell(client: &Client, signer: &Signer, vote: &DoubleVote) -> bool {
    let DoubleVote { term, view, key, first, second } = vote;
    let call = accuseCall { first: first.clone().into(), second: second.clone().into() };
    match client.send(signer, address::VALIDATORS, &call).await {
        Ok(_) => {
            tracing::warn!(term, view, %key, "accused a validator of a double vote");
            metrics::counter!("wayleave_accusations_total").increment(1);
            true
        }
        Err(error) if error.revert().is_some_and(Revert::is::<AlreadyConvicted>) => true,
        Err(error) => {
            let refused = error.revert().is_some();
            tracing::warn!(term, view, %key, refused, %error, "a double vote could not be reported");
            refused
        }
    }
}
