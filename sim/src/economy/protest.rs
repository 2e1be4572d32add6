//! Somebody without a seat who disputes a decided epoch: for the truth, or to hold up what others are paid.
//!
//! For the truth it waits until two thirds have decided what no replay gives, until those whose judge was
//! wrong run the right one, and until every honest machine refuses the root. Then it dissents with what an
//! honest archive gives, and once the new outcome can be claimed it has everybody fined who revealed the
//! other. It must be upheld with its bond back, and exactly those must be fined.
//!
//! A griefer disputes a true root, once. It must lose its bond, and the epoch must be claimable later by no
//! more than the blocks until the votes that it caused were over.

use super::{NETWORK, desk::lie};
use crate::{
    checkers::{Broken, chronicle::Chronicle},
    scenario::Dissent,
    world::{errands::Errand, people},
};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall as _;
use contracts::{
    abi::{
        ISettlements::{self, ISettlementsEvents as Event},
        Outcome,
    },
    address::SETTLEMENTS,
};
use protocol::Epoch;
use std::collections::{BTreeMap, BTreeSet};

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is to be disputed yet.
    Waits,
    /// The dissent is on its way.
    Sent,
    /// It is on the ledger.
    Open,
    /// The votes are over, and the outcome cannot be claimed yet.
    Ruled,
    /// Nothing is left to be done, but for fines that are under way.
    Ends,
}

/// What becomes of a dissent.
#[derive(Debug)]
pub(super) struct Protest {
    /// What for.
    pub(super) why: Dissent,
    stage: Stage,
    epoch: Epoch,
    /// What it disputes, as a choice.
    disputed: B256,
    /// From when on the epoch could be claimed without it.
    claimable: u64,
    /// The last epoch that it opened again, and the heights of the dissent and of the decision on that one.
    behind: Epoch,
    began: u64,
    ended: Option<u64>,
    /// The round that is overruled.
    round: u64,
    /// Who revealed which choice, by epoch and round.
    revealed: BTreeMap<(u64, u64), Vec<(Address, B256)>>,
    fined: BTreeSet<Address>,
}

impl Protest {
    /// Nobody has a reason yet.
    pub(super) fn new(why: Dissent) -> Self {
        Self {
            why,
            stage: Stage::Waits,
            epoch: Epoch(0),
            disputed: B256::ZERO,
            claimable: 0,
            behind: Epoch(0),
            began: 0,
            ended: None,
            round: 0,
            revealed: BTreeMap::new(),
            fined: BTreeSet::new(),
        }
    }

    /// Whether nothing was sent yet.
    pub(super) fn waits(&self) -> bool {
        self.stage == Stage::Waits
    }

    /// Whether all has come about.
    pub(super) fn done(&self) -> bool {
        let guilty = match self.why {
            Dissent::ForTruth => self.guilty(),
            Dissent::ToHoldUp => BTreeSet::new(),
        };
        self.stage == Stage::Ends && self.fined == guilty
    }

    /// Who revealed what was overruled, in the round that decided it.
    fn guilty(&self) -> BTreeSet<Address> {
        let votes = self.revealed.get(&(self.epoch.0, self.round));
        let wrong = votes.into_iter().flatten().filter(|(_, choice)| *choice == self.disputed);
        wrong.map(|(validator, _)| *validator).collect()
    }

    /// Dissents from an epoch that is decided, when its true outcome is `truth`.
    pub(super) fn file(
        &mut self,
        chain: &Chronicle,
        epoch: Epoch,
        truth: Outcome,
    ) -> Result<Option<Errand>, Broken> {
        let Some(wallet) = people::dissenter() else { return Ok(None) };
        let (network, number) = (NETWORK.0, epoch.0);
        let call = ISettlements::claimableFromCall { network, epoch: number };
        self.claimable = chain.ask(SETTLEMENTS, &call)?;
        let bond = chain.ask(SETTLEMENTS, &ISettlements::dissentBondCall {})?;
        let outcome = match self.why {
            Dissent::ForTruth => truth,
            Dissent::ToHoldUp => lie(truth),
        };
        (self.epoch, self.stage) = (epoch, Stage::Sent);
        let call = ISettlements::dissentCall { network, epoch: number, outcome };
        Ok(Some(Errand { wallet, acts: vec![(SETTLEMENTS, bond, call.abi_encode().into())] }))
    }

    /// Hears what the ledger says; `newest` is the last epoch that was decided before.
    pub(super) fn hear(
        &mut self,
        (height, event): (u64, &Event),
        newest: Option<Epoch>,
    ) -> Result<(), Broken> {
        match event {
            Event::Revealed(said) => {
                let votes = self.revealed.entry((said.epoch, said.round)).or_default();
                votes.push((said.validator, said.choice));
            }
            Event::Disputed(said) => {
                (self.stage, self.disputed, self.began) = (Stage::Open, said.disputed, height);
                self.behind = newest.unwrap_or(self.epoch);
            }
            Event::DisputeEnded(said) => {
                let right = match self.why {
                    Dissent::ForTruth => said.upheld && said.paid > U256::ZERO,
                    Dissent::ToHoldUp => !said.upheld && said.paid.is_zero(),
                };
                if !right {
                    let (upheld, paid) = (said.upheld, said.paid);
                    return Err(Broken(format!(
                        "a dissent {:?} ended with upheld = {upheld}, and {paid} wei paid",
                        self.why
                    )));
                }
                (self.stage, self.round) = (Stage::Ruled, said.round);
            }
            Event::Fined(said) => {
                let half = said.amount / U256::from(2);
                if !self.fined.insert(said.validator) || said.reward != half || half.is_zero() {
                    return Err(Broken(format!("{} is fined wrongly", said.validator)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Hears at which height an epoch is decided.
    pub(super) fn decided(&mut self, height: u64, epoch: Epoch) {
        let reopened = matches!(self.stage, Stage::Open | Stage::Ruled);
        if reopened && epoch >= self.behind && self.ended.is_none() {
            self.ended = Some(height);
        }
    }

    /// Hears which epoch is the newest that can be claimed, and gives what is to be done then.
    pub(super) fn claimable(
        &mut self,
        chain: &Chronicle,
        newest: Epoch,
        seats: u64,
    ) -> Result<Option<Errand>, Broken> {
        if self.stage != Stage::Ruled || newest < self.epoch {
            return Ok(None);
        }
        self.stage = Stage::Ends;
        let (network, epoch, round) = (NETWORK.0, self.epoch.0, self.round);
        match self.why {
            Dissent::ForTruth => {
                let fine = |seat| ISettlements::fineCall { network, epoch, round, seat };
                let acts = (0..seats).map(|seat| people::call(SETTLEMENTS, &fine(seat))).collect();
                Ok(people::dissenter().map(|wallet| Errand { wallet, acts }))
            }
            Dissent::ToHoldUp => {
                let call = ISettlements::claimableFromCall { network, epoch };
                let (now, before) = (chain.ask(SETTLEMENTS, &call)?, self.claimable);
                let votes = self.ended.map_or(0, |ended| ended.saturating_sub(self.began));
                if now > before + votes {
                    return Err(Broken(format!(
                        "a griefer held up epoch {epoch} from height {before} to {now}, when its \
                         votes took {votes} blocks"
                    )));
                }
                Ok(None)
            }
        }
    }

    /// How far it has come, in words.
    pub(super) fn words(&self) -> String {
        let (stage, fined, guilty) = (self.stage, &self.fined, self.guilty());
        format!("dissent {:?}: {stage:?}, fined {fined:?} of {guilty:?}", self.why)
    }
}
