//! Joining a ledger that runs, following it, and finding back to it.
//!
//! A node that starts asks its peers where they stand ([`wire`]), believes only what certificates prove
//! ([`chain`]), and goes one of two ways:
//!
//! * it **replays** the blocks it lacks, if peers still have them and a fresh node does not lack many;
//!   an archive always does;
//! * it **fetches the state** of a recent final block from peers. QMDB checks every piece against the root
//!   over its operations in that block's header, and [`begin`] compares the canonical root as well. The
//!   node's history then begins after that block ([`crate::History::first`]). A node that was away for so
//!   long that its peers have pruned the next block goes the same way and says so.
//!
//! The choice to fetch is durable before anything is changed, so a crash at any moment goes on with it.
//!
//! **What is trusted.** The genesis file names the committee of term 0. From there the node walks term by
//! term: the last header of each, certified by its committee, names the next committee (see [`chain`]). So
//! nothing but the genesis file is trusted, *as long as no past committee conspires*: validators who have
//! long taken their bond back lose nothing by certifying another past. Who joins after that (the weak
//! subjectivity of proof of stake) names a block that others vouch for, `trust` in [`crate::Config`]: the
//! walk then begins at that header, which must have that hash. Past terms' last certificates are kept
//! in the history file for ever, so that every node can lead others along this walk.
//!
//! That a tip is *recent* is not proven by anything: more than a third of the committee has to be asked,
//! or some time has to pass, and later tips are followed anyway.
//!
//! **One key, one node.** Two nodes that vote with one key get it slashed. Votes are journalled before they
//! are sent, so a restart is safe; a copy of a key is not, nor is a lost folder. Hence: a node that is not
//! alone votes only after it has heard a peer and has every block it heard of; if what it heard bears its
//! own vote beyond its own history, it listens for a few blocks more, and if those bear its vote too,
//! somebody else votes with its key: it ends with [`JoinError::KeyInUse`]. And an engine whose journal is
//! empty is rooted in the latest certificate, behind all views in which an earlier life may have voted.

mod begin;
mod chain;
mod serve;
mod walk;
mod wire;

pub(crate) use begin::{BeginError, begin};
pub(crate) use chain::Facts;
pub(crate) use serve::{certificate, ended};
pub(crate) use wire::{Message, Tip};

use crate::{
    application::{Shared, fail_stop},
    engine::{Marshal, Runtime},
    history::HistoryError,
    network::Channel,
};
use alloy_primitives::B256;
use chain::Proven;
use commonware_consensus::{Reporter as _, simplex::types::Activity};
use commonware_cryptography::Signer as _;
use commonware_utils::SystemTimeExt as _;
use serve::{Answer, Server};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};
use wire::Status;

/// Answers that wait to be read.
const ANSWERS: usize = 256;
/// How long further answers to a question are waited for after the first.
const ROUND: Duration = Duration::from_millis(500);
/// How long the first answer to a question is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// Rounds after the first answer after which those that answered must do.
const ROUNDS: u32 = 4;
/// How long a node that has what it needs waits for its peers before it starts without them.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a node that cannot start without its peers waits for them: connections are tried once a
/// minute.
const LONG_PATIENCE: Duration = Duration::from_secs(180);
/// How often it is said that nobody answers.
const COMPLAIN: Duration = Duration::from_secs(10);
/// How long a node listens whether its key is used by another. A ledger that stands still says nothing.
const LISTEN: Duration = Duration::from_secs(20);
/// Blocks after the first that is heard of in which a vote of ours may be one of an earlier life of this
/// node, if clocks differ: otherwise it did not vote for what was proposed after this one began.
const EARLIER_BLOCKS: u64 = 2;
/// How often a node looks whether it keeps up.
const WATCH: Duration = Duration::from_secs(5);

/// What a node does for the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Votes in every term in which its keys have a seat, and follows in the others.
    #[default]
    Validator,
    /// Follows and serves without ever voting.
    Observer,
    /// An observer that keeps all blocks and blobs, from genesis on, and serves them to others.
    Archive,
}

/// A block that others vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// Its height.
    pub height: u64,
    /// The digest of its header.
    pub hash: B256,
}

/// Why a node could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nobody answered.
    #[error(
        "no peer answers with genesis block {genesis} after {seconds} s: check the addresses of the peers, \
         that they have this genesis file and know this node's key, and that no other node uses its key"
    )]
    NoPeer {
        /// Digest of the genesis block.
        genesis: B256,
        /// How long was waited.
        seconds: u64,
    },
    /// Peers answered, but none could prove how the ledger stands.
    #[error("no peer proves a final block after {seconds} s: {hint}")]
    NoProof {
        /// How long was waited.
        seconds: u64,
        /// What may be wrong.
        hint: &'static str,
    },
    /// An archive needs every block.
    #[error(
        "no peer has block {height} any more, and an archive needs all: name an archive as a peer"
    )]
    NoBlock {
        /// The first block that is missing.
        height: u64,
    },
    /// The trusted block is not of this ledger.
    #[error(
        "the trusted block {height} is {given}, but this node holds {here} there: one is of another ledger"
    )]
    Trust {
        /// The height of both.
        height: u64,
        /// What was to be trusted.
        given: B256,
        /// What the node has.
        here: B256,
    },
    /// Somebody else votes with our key.
    #[error(
        "the key of this node is in use by another node, which voted for block {height}: stop one of \
         them, since double votes are slashed"
    )]
    KeyInUse {
        /// A block with a vote of ours that is not ours.
        height: u64,
    },
    /// The history could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// How a node joins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) role: Role,
    pub(crate) trust: Option<Trusted>,
    /// Most blocks that a fresh node replays instead of fetching the state.
    pub(crate) replay_blocks: u64,
    /// Whether the configuration names no peer.
    pub(crate) strangers: bool,
}

/// Which way a node starts.
#[derive(Debug)]
pub(crate) enum Way {
    /// From its own files, and by replaying what it lacks.
    Own(Heard),
    /// By fetching the state after this block.
    Fetch(Box<Tip>),
}

/// What a node that starts from its own files has heard before.
#[derive(Debug)]
pub(crate) enum Heard {
    /// There is nobody to hear.
    Alone,
    /// Nobody answered yet.
    Nothing,
    /// Others stand at this block, or at genesis.
    Peers(Option<Box<Tip>>),
}

/// Asks peers and follows them.
pub(crate) struct Join<E: Runtime> {
    runtime: E,
    shared: Arc<Shared>,
    facts: Facts,
    settings: Settings,
    /// Whether the only seat is ours: then there is nobody to wait for.
    sole: bool,
    sender: crate::network::Sender<E>,
    answers: mpsc::Receiver<Answer>,
    /// How far the walk has come; nothing before the trusted block is found.
    proven: Option<Proven>,
    /// Questions asked so far: the number of the last.
    questions: u64,
    /// Peers that the last question went to.
    asked: usize,
}

impl<E: Runtime> Join<E> {
    /// Serves others below `context` from now on.
    pub(crate) fn start(
        context: &E,
        (shared, facts): (&Arc<Shared>, Facts),
        settings: Settings,
        channel: Channel<E>,
    ) -> Result<Self, JoinError> {
        let (reply, answers) = mpsc::channel(ANSWERS);
        let sender = channel.0.clone();
        let server =
            Server { shared: Arc::clone(shared), facts: facts.clone(), channel, answers: reply };
        context.child("join_server").spawn(move |_| server.run());
        let head = shared.history.head()?.unwrap_or(0);
        let begins = facts.term(head.saturating_add(1));
        let mut proven = known(shared, begins)?;
        if let Some(Trusted { height, hash }) = settings.trust {
            match shared.history.header(height) {
                Ok(Some(header)) if header.digest() == hash => {}
                Ok(Some(header)) => {
                    return Err(JoinError::Trust { height, given: hash, here: header.digest() });
                }
                // The walk has to come by the trusted block, so it begins there.
                Ok(None) if height > head => proven = None,
                Ok(None) | Err(HistoryError::Before { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let own = shared.keys.signer().public_key();
        let sole = shared.votes
            && proven.as_ref().is_some_and(|proven| {
                let mut seats = proven.committee.validators();
                proven.committee.seat(&own).is_some() && seats.nth(1).is_none()
            });
        Ok(Self {
            runtime: context.child("join"),
            shared: Arc::clone(shared),
            facts,
            settings,
            sole,
            sender,
            answers,
            proven,
            questions: 0,
            asked: 0,
        })
    }

    /// The last height recorded.
    fn recorded(&self) -> Result<u64, HistoryError> {
        Ok(self.shared.history.head()?.unwrap_or(0))
    }

    /// Whether our key has a seat, as far as this node knows.
    fn seated(&self) -> bool {
        let key = self.shared.keys.signer().public_key();
        let seat = |proven: &Proven| proven.committee.seat(&key).is_some();
        self.shared.votes && self.proven.as_ref().is_some_and(seat)
    }

    /// Decides which way to start; `resume` if the state was being fetched when the node ended.
    ///
    /// # Errors
    /// Why it cannot start.
    pub(crate) async fn decide(&mut self, resume: bool) -> Result<Way, JoinError> {
        let head = self.recorded()?;
        // With an empty folder even a sole validator asks first: it may have lost what others have.
        if self.sole && !resume && (head > 0 || self.settings.strangers) {
            return Ok(Way::Own(Heard::Alone));
        }
        if head == 0 && self.shared.votes && !self.seated() {
            tracing::warn!("the key of this node has no seat: it follows until it has one");
        }
        let needs_others = resume || (head == 0 && !self.seated());
        let patience = match needs_others {
            _ if self.settings.strangers => Duration::ZERO,
            true => LONG_PATIENCE,
            false => PATIENCE,
        };
        let began = self.runtime.current();
        let (mut rounds, mut complained) = (0, began);
        loop {
            let statuses = self.statuses(head.saturating_add(1)).await?;
            rounds += u32::from(rounds > 0 || !statuses.is_empty());
            if let Some(way) = self.judge(head, &statuses, (rounds, resume)) {
                return self.listened(head, way, &statuses).await;
            }
            let now = self.runtime.current();
            let waited = now.duration_since(began).unwrap_or_default();
            if waited >= patience {
                return self.lonely(head, (needs_others, rounds), waited.as_secs());
            }
            if now.duration_since(complained).is_ok_and(|since| since >= COMPLAIN) {
                complained = now;
                tracing::warn!(
                    genesis = %self.shared.genesis.hash(),
                    seconds = waited.as_secs(),
                    answers = statuses.len(),
                    "waiting for peers of this ledger: others refuse the connection if their genesis is another"
                );
            }
            if self.asked > 0 {
                self.runtime.sleep(ROUND).await;
            }
        }
    }

    /// What to do if patience ends without a decision.
    fn lonely(
        &self,
        head: u64,
        (needs_others, rounds): (bool, u32),
        seconds: u64,
    ) -> Result<Way, JoinError> {
        if self.settings.role == Role::Archive && rounds > 0 {
            return Err(JoinError::NoBlock { height: head.saturating_add(1) });
        }
        match (needs_others, rounds) {
            (true, 0) => Err(JoinError::NoPeer { genesis: self.shared.genesis.hash(), seconds }),
            (true, _) if self.proven.is_none() => {
                Err(JoinError::NoProof { seconds, hint: "none has the trusted block" })
            }
            (true, _) => Err(JoinError::NoProof {
                seconds,
                hint: "they are starting too, or have not kept how past terms ended",
            }),
            (false, _) if self.sole => Ok(Way::Own(Heard::Alone)),
            (false, _) => {
                tracing::warn!(
                    genesis = %self.shared.genesis.hash(),
                    "no peer answers: starting from what is here, and voting once one is heard"
                );
                Ok(Way::Own(Heard::Nothing))
            }
        }
    }

    /// Which way to go, if enough is known.
    fn judge(&self, head: u64, statuses: &[Status], (rounds, resume): (u32, bool)) -> Option<Way> {
        let answers = statuses.len();
        let seats = self.proven.as_ref()?.committee.validators().count();
        // More than a third of the committee, everybody there is, or those that answered in time.
        let enough = answers > seats.saturating_sub(1) / 3 || answers >= self.asked;
        if answers == 0 || !(enough || rounds >= ROUNDS) {
            return None;
        }
        let highest = highest(statuses);
        let Some(tip) = highest.filter(|tip| resume || tip.header.height > head) else {
            let ahead = statuses.iter().any(|status| status.height > head);
            return (!resume && !ahead)
                .then(|| Way::Own(Heard::Peers(highest.cloned().map(Box::new))));
        };
        let height = tip.header.height;
        let available = statuses.iter().any(|status| status.has);
        let replay = available && (head > 0 || height <= self.settings.replay_blocks);
        match self.settings.role {
            _ if resume => {}
            Role::Archive if available => {
                return Some(Way::Own(Heard::Peers(Some(tip.clone().into()))));
            }
            Role::Archive => return None,
            _ if replay => return Some(Way::Own(Heard::Peers(Some(tip.clone().into())))),
            // Whoever answers next may be an archive.
            _ if head > 0 && rounds < ROUNDS => return None,
            _ if head > 0 => tracing::warn!(
                head,
                tip = height,
                "this node was away for so long that no peer has block {}: fetching the state instead, \
                 the blocks between will be missing here",
                head.saturating_add(1)
            ),
            _ => {}
        }
        Some(Way::Fetch(Box::new(tip.clone())))
    }

    /// Listens before the way is taken, if our key may be in use, and goes it with what is heard last.
    async fn listened(
        &mut self,
        head: u64,
        way: Way,
        statuses: &[Status],
    ) -> Result<Way, JoinError> {
        let heard = self.listen(head, statuses).await?;
        Ok(match (way, heard) {
            (Way::Fetch(_), Some(tip)) => Way::Fetch(tip),
            (way, _) => way,
        })
    }

    /// If peers hold a vote of ours beyond our history, listens whether more come; gives the last tip heard.
    async fn listen(
        &mut self,
        head: u64,
        statuses: &[Status],
    ) -> Result<Option<Box<Tip>>, JoinError> {
        let began = self.runtime.current();
        let votes = |this: &Self, tip: &Tip| {
            this.shared.votes
                && this.proven.as_ref().is_some_and(|p| p.signed(tip, this.shared.keys.signer()))
        };
        let Some(first) = highest(statuses).cloned() else { return Ok(None) };
        let ours = statuses.iter().filter_map(|status| status.tip.as_ref());
        if !ours.clone().any(|tip| tip.header.height > head && votes(self, tip)) {
            return Ok(None);
        }
        tracing::info!("listening whether another node votes with our key");
        let earlier = first.header.height.saturating_add(EARLIER_BLOCKS);
        let mut last = first;
        while self.runtime.current() < began + LISTEN && last.header.height <= earlier {
            self.runtime.sleep(ROUND).await;
            let statuses = self.statuses(head.saturating_add(1)).await?;
            for tip in statuses.iter().filter_map(|status| status.tip.as_ref()) {
                let height = tip.header.height;
                // A block proposed after we began: whoever voted for it is not this node.
                let later = tip.header.timestamp_ms > began.epoch_millis() && height > earlier;
                if later && votes(self, tip) {
                    return Err(JoinError::KeyInUse { height });
                }
                if tip.certificate.round() > last.certificate.round() {
                    last = tip.clone();
                }
            }
        }
        Ok(Some(Box::new(last)))
    }

    /// Tells marshal of later and later blocks while the state of one is being fetched: without them the
    /// target would become so old that peers prune it.
    pub(crate) async fn lead(&mut self, marshal: &Marshal) -> Result<(), JoinError> {
        loop {
            self.runtime.sleep(ROUND).await;
            let statuses = self.statuses(0).await?;
            if let Some(tip) = highest(&statuses) {
                report(marshal, tip);
            }
        }
    }

    /// Waits until somebody is heard and nobody else votes with our key; gives the height from which on it
    /// is safe to vote, which is that of the last block heard of.
    ///
    /// # Errors
    /// Somebody else votes with our key.
    pub(crate) async fn hear(&mut self, marshal: &Marshal, heard: Heard) -> Result<u64, JoinError> {
        let tip = match heard {
            Heard::Alone => None,
            Heard::Peers(tip) => tip,
            Heard::Nothing => loop {
                tracing::warn!(
                    "no peer answers, so this node does not vote: if its peers run, another node may use its key"
                );
                let head = self.recorded()?;
                let statuses = self.statuses(head.saturating_add(1)).await?;
                if !statuses.is_empty() {
                    let listened = self.listen(head, &statuses).await?;
                    break listened.or_else(|| highest(&statuses).cloned().map(Box::new));
                }
                self.runtime.sleep(WATCH).await;
            },
        };
        let Some(tip) = tip else { return Ok(0) };
        report(marshal, &tip);
        Ok(tip.header.height)
    }

    /// Says when the head has reached the height at which it is `safe` to vote, keeps how terms end, and
    /// looks whether this node keeps up, as long as the ledger runs.
    ///
    /// # Errors
    /// The history failed. A node that does not keep up stops and has to start anew.
    pub(crate) async fn watch(
        &mut self,
        marshal: &Marshal,
        safe: (u64, oneshot::Sender<()>),
    ) -> Result<(), JoinError> {
        let (mut before, mut behind, mut safe) = (0, 0u32, Some(safe));
        loop {
            safe = self.pause(safe).await;
            let head = self.shared.head.borrow().height();
            self.walk(self.facts.term(head.saturating_add(1))).await?;
            let stands = std::mem::replace(&mut before, head) == head;
            if self.sole || !stands {
                behind = 0;
                continue;
            }
            let statuses = self.statuses(head.saturating_add(1)).await?;
            let ahead =
                |status: &&Status| status.tip.as_ref().is_some_and(|tip| tip.header.height > head);
            if let Some(tip) = highest(&statuses).filter(|tip| tip.header.height > head) {
                report(marshal, tip);
            }
            let able = statuses.iter().filter(ahead).any(|status| status.has);
            let any = statuses.iter().any(|status| ahead(&status));
            behind = if any && !able { behind + 1 } else { 0 };
            if behind >= ROUNDS {
                let height = head.saturating_add(1);
                fail_stop(
                    "this node fell behind",
                    &format!(
                        "no peer has block {height} any more: start it again to fetch the state"
                    ),
                );
            }
        }
    }

    /// Waits between two looks, and says meanwhile when it is safe to vote.
    async fn pause(
        &self,
        safe: Option<(u64, oneshot::Sender<()>)>,
    ) -> Option<(u64, oneshot::Sender<()>)> {
        let Some((height, safe)) = safe else {
            self.runtime.sleep(WATCH).await;
            return None;
        };
        let mut head = self.shared.head.subscribe();
        let timeout = self.runtime.sleep(WATCH);
        commonware_macros::select! {
            reached = head.wait_for(|head| head.height() >= height) => {
                // The other end is gone if the ledger ends, as is the one that sets the head.
                let _: Result<(), ()> = reached.map_err(drop).and_then(|_| safe.send(()));
                None
            },
            () = timeout => Some((height, safe)),
        }
    }
}

/// The committee with which the walk of a node begins that has its own history: what it executed itself
/// needs no proof. One term earlier if it has not kept how that ended.
fn known(shared: &Shared, begins: u64) -> Result<Option<Proven>, HistoryError> {
    let committee = |term| shared.committees.get(term).map(|committee| (term, committee));
    let before = begins.checked_sub(1).and_then(committee);
    let found = match before {
        Some((term, committee)) if shared.history.link(term)?.is_none() => Some((term, committee)),
        _ => committee(begins).or_else(|| committee(0)),
    };
    Ok(found.map(|(term, committee)| Proven::new(term, committee)))
}

/// The highest proven tip.
fn highest(statuses: &[Status]) -> Option<&Tip> {
    statuses
        .iter()
        .filter_map(|status| status.tip.as_ref())
        .max_by_key(|tip| (tip.header.height, tip.certificate.round()))
}

/// Tells marshal of a final block; it fetches what lies between.
fn report(marshal: &Marshal, tip: &Tip) {
    let _: commonware_actor::Feedback =
        marshal.clone().report(Activity::Finalization(tip.certificate.clone()));
}

#[cfg(test)]
mod tests;
