//! Votes of a liar for its own proposals that wait until the proposal itself has passed.
//!
//! The program sends its vote on a faster channel than its block. Who puts another block in the place of
//! the first has to see the first before it can vote for the other.

use super::message::Vote;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Votes held for one peer.
const HELD: usize = 64;

/// Votes by peer.
#[derive(Debug, Default)]
pub struct Held(Mutex<BTreeMap<usize, Vec<Vote>>>);

impl Held {
    /// Holds a vote to a peer back; beyond a limit the oldest is lost.
    pub fn hold(&self, to: usize, vote: Vote) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let votes = held.entry(to).or_default();
        if votes.len() >= HELD {
            votes.remove(0);
        }
        votes.push(vote);
    }

    /// The votes to a peer that were held back.
    pub fn release(&self, to: usize) -> Vec<Vote> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&to).unwrap_or_default()
    }
}
