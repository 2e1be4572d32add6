//! A lazy voter: it computes nothing, commits to the ballot of somebody else, and reveals what others have
//! revealed. Its worker watches only; what it sends goes out from the account that has the seat.

use super::{NETWORK, votes::reveals};
use crate::{
    checkers::{Broken, chronicle::Chronicle},
    world::{
        errands::{Errand, Errands},
        people,
    },
};
use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use consensus::Finalized;
use contracts::{abi::ISettlements, address::SETTLEMENTS};
use std::{collections::BTreeSet, sync::Arc};

/// A copier.
#[derive(Debug)]
pub(super) struct Copier {
    machine: usize,
    wallet: PrivateKeySigner,
    /// Accounts of which it copies.
    others: Vec<Address>,
    /// What it sends, one after the other.
    pub(super) errands: Errands,
    /// In which rounds of which epochs it has committed.
    committed: BTreeSet<(u64, u64)>,
    /// Of which epochs it sent a reveal, with whose salt.
    revealed: BTreeSet<(u64, B256)>,
}

impl Copier {
    /// The copier on a machine, of so many.
    pub(super) fn new(machine: usize, machines: usize) -> Option<Self> {
        let owners = (0..machines).filter(|other| *other != machine).filter_map(people::owner);
        Some(Self {
            machine,
            wallet: people::owner(machine)?,
            others: owners.map(|owner| owner.address()).collect(),
            errands: Errands::default(),
            committed: BTreeSet::new(),
            revealed: BTreeSet::new(),
        })
    }

    /// The account that has its seat.
    pub(super) const fn account(&self) -> Address {
        self.wallet.address()
    }

    /// Copies what it finds in new blocks; says what.
    pub(super) fn look(
        &mut self,
        chain: &Chronicle,
        new: &[Arc<Finalized>],
    ) -> Result<Vec<String>, Broken> {
        let mut words = Vec::new();
        for (of, call) in new.iter().flat_map(|block| reveals(block)) {
            if call.network == NETWORK.0
                && self.others.contains(&of)
                && self.revealed.insert((call.epoch, call.salt))
            {
                let (n, epoch) = (self.machine, call.epoch);
                words.push(format!("machine {n} copies what was revealed of epoch {epoch}"));
                let acts = vec![people::call(SETTLEMENTS, &call)];
                self.errands.add(Errand { wallet: self.wallet.clone(), acts });
            }
        }
        let network = NETWORK.0;
        let epoch = chain.ask(SETTLEMENTS, &ISettlements::nextEpochCall { network })?;
        let round = chain.ask(SETTLEMENTS, &ISettlements::roundOfCall { network, epoch })?;
        let open = round.opened != 0 && chain.height() < round.commitsUntil;
        if !open || self.committed.contains(&(epoch, round.number)) {
            return Ok(words);
        }
        for validator in &self.others {
            let (round, validator) = (round.number, *validator);
            let call = ISettlements::voteOfCall { network, epoch, round, validator };
            let ballot = chain.ask(SETTLEMENTS, &call)?.ballot;
            if !ballot.is_zero() {
                self.committed.insert((epoch, round));
                let n = self.machine;
                words.push(format!("machine {n} copies a ballot of epoch {epoch}, round {round}"));
                let call = ISettlements::commitCall { network, epoch, round, ballot };
                let acts = vec![people::call(SETTLEMENTS, &call)];
                self.errands.add(Errand { wallet: self.wallet.clone(), acts });
                break;
            }
        }
        Ok(words)
    }
}
