//! Transactions that have to be applied in their order: some at once, then the next.
//!
//! All of one [`Errand`] are sent together, by one account; the next begins when the last of them is final.
//! What takes long is sent again, to every machine.

use super::people::{Act, sign};
use crate::checkers::chronicle::Chronicle;
use alloy_primitives::{B256, keccak256};
use alloy_signer_local::PrivateKeySigner;
use std::{collections::VecDeque, time::Duration};

/// How long until an errand is sent again.
const PATIENCE: Duration = Duration::from_secs(6);

/// What one account does next.
#[derive(Debug)]
pub struct Errand {
    /// Who.
    pub wallet: PrivateKeySigner,
    /// What, in this order.
    pub acts: Vec<Act>,
}

/// Errands one after the other.
#[derive(Debug, Default)]
pub struct Errands {
    next: VecDeque<Errand>,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    raws: Vec<Vec<u8>>,
    last: B256,
    at: Duration,
}

impl Errands {
    /// Adds one.
    pub fn add(&mut self, errand: Errand) {
        self.next.push_back(errand);
    }

    /// Whether all are done.
    pub fn done(&self) -> bool {
        self.next.is_empty() && self.under_way.is_none()
    }

    /// The transactions to be sent now, in their order.
    pub fn step(&mut self, now: Duration, chain: &Chronicle) -> Option<Vec<Vec<u8>>> {
        if let Some(under_way) = &mut self.under_way {
            if chain.place(under_way.last).is_none() {
                let due = now.saturating_sub(under_way.at) > PATIENCE;
                return due.then(|| {
                    under_way.at = now;
                    under_way.raws.clone()
                });
            }
            self.under_way = None;
        }
        let Errand { wallet, acts } = self.next.pop_front()?;
        let nonces = chain.nonce(wallet.address())..;
        let raws: Option<Vec<_>> =
            nonces.zip(acts).map(|(nonce, act)| sign(&wallet, nonce, act)).collect();
        let raws = raws?;
        let last = keccak256(raws.last()?);
        self.under_way = Some(UnderWay { raws: raws.clone(), last, at: now });
        Some(raws)
    }
}
