//! Asking, and walking from term to term.

use super::{
    ANSWER, Join, JoinError, ROUND, Trusted,
    chain::{Doubt, Proven},
    serve,
    wire::{Body, Link, Message, Status, Tip},
};
use crate::{application::Shared, engine::Runtime, history::HistoryError};
use commonware_codec::Encode as _;
use commonware_cryptography::ed25519;
use commonware_p2p::{Recipients, Sender as _};
use std::{collections::BTreeMap, sync::Arc};

impl<E: Runtime> Join<E> {
    /// Asks all peers and gives what they answer: all of it, or what comes within a round of the first answer.
    ///
    /// The first is waited for longer, since peers may be far away or busy; who is mute holds up the others
    /// no more than for a round. An answer to an earlier question is none to this one.
    pub(super) async fn ask(&mut self, question: Body) -> BTreeMap<ed25519::PublicKey, Body> {
        self.questions = self.questions.saturating_add(1);
        let number = self.questions;
        let question = Message { number, body: question }.encode();
        self.asked = self.sender.send(Recipients::All, question, false).len();
        let patience = if self.asked == 0 { ROUND } else { ANSWER };
        let mut until = self.runtime.current() + patience;
        let mut answers = BTreeMap::new();
        while self.asked == 0 || answers.len() < self.asked {
            let timeout = self.runtime.sleep_until(until);
            commonware_macros::select! {
                () = timeout => break,
                answer = self.answers.recv() => match answer {
                    Some((_, answer)) if answer.number != number => {}
                    Some((peer, answer)) => {
                        if answers.is_empty() {
                            until = until.min(self.runtime.current() + ROUND);
                        }
                        answers.insert(peer, answer.body);
                    }
                    // The network has ended, and so will this.
                    None => std::future::pending().await,
                },
            }
        }
        answers
    }

    /// Where the peers stand: tips that are not proven are left out.
    pub(super) async fn statuses(&mut self, next: u64) -> Result<Vec<Status>, JoinError> {
        let answers = self.ask(Body::AskStatus(next)).await;
        let mut statuses: Vec<Status> = answers
            .into_values()
            .filter_map(|answer| match answer {
                Body::Status(status) => Some(*status),
                _ => None,
            })
            .collect();
        let highest = statuses
            .iter()
            .filter_map(|status| status.tip.as_ref())
            .map(|tip| tip.header.term)
            .max();
        if let Some(term) = highest {
            self.walk(term).await?;
        }
        for status in &mut statuses {
            if let Some(tip) = &status.tip
                && let Err(doubt) = self.check(tip)
            {
                tracing::debug!(height = tip.header.height, %doubt, "a peer's tip is not believed");
                status.tip = None;
            }
        }
        Ok(statuses)
    }

    fn check(&mut self, tip: &Tip) -> Result<(), Doubt> {
        let proven = self.proven.as_ref().ok_or(Doubt::Term)?;
        proven.check(&self.facts, tip, &mut self.runtime)
    }

    /// Walks from term to term as far as `term`, from what is kept, or else from what peers prove.
    pub(super) async fn walk(&mut self, term: u64) -> Result<(), JoinError> {
        let Some(mut proven) = self.anchor().await? else { return Ok(()) };
        while proven.term < term {
            if !self.step(&mut proven).await? {
                break;
            }
        }
        self.proven = Some(proven);
        Ok(())
    }

    /// Where the walk begins or has come to.
    async fn anchor(&mut self) -> Result<Option<Proven>, JoinError> {
        if self.proven.is_some() {
            return Ok(self.proven.clone());
        }
        let Some(Trusted { height, hash }) = self.settings.trust else { return Ok(None) };
        let answers = self.ask(Body::AskHeader(height)).await;
        let found = answers.into_values().find_map(|answer| match answer {
            Body::Header(answer) if answer.0.digest() == hash && answer.0.height == height => {
                Proven::from_header(&self.facts, &answer.0, &answer.1).ok()
            }
            _ => None,
        });
        if let Some(proven) = &found {
            learn(&self.shared, proven)?;
        }
        Ok(found)
    }

    /// Goes on by what is kept or what a peer proves; says whether it did.
    async fn step(&mut self, proven: &mut Proven) -> Result<bool, JoinError> {
        let began = proven.term;
        if let Some(last) = serve::ended(&self.shared, began).await? {
            let seats = serve::seats(&self.shared, began.saturating_add(1))?;
            if proven.adopt(&last.header, &seats).is_ok() {
                learn(&self.shared, proven)?;
                return Ok(true);
            }
        }
        let answers = self.ask(Body::AskLinks(began)).await;
        for (peer, answer) in answers {
            let Body::Links(links) = answer else { continue };
            for link in links {
                if let Err(doubt) = self.follow(proven, &link)? {
                    tracing::debug!(?peer, term = proven.term, %doubt, "a peer's link is not believed");
                    break;
                }
            }
        }
        Ok(proven.term > began)
    }

    fn follow(
        &mut self,
        proven: &mut Proven,
        link: &Link,
    ) -> Result<Result<(), Doubt>, HistoryError> {
        let term = proven.term;
        if link.last.header.term < term {
            // Another peer proved it already.
            return Ok(Ok(()));
        }
        let followed = proven.follow(&self.facts, link, &mut self.runtime);
        if followed.is_ok() {
            self.shared.history.keep_link(term, &link.last.encode())?;
            learn(&self.shared, proven)?;
        }
        Ok(followed)
    }
}

/// Makes a proven committee known to the rest of the node, and to others.
fn learn(shared: &Shared, proven: &Proven) -> Result<(), HistoryError> {
    shared.committees.insert(proven.term, Arc::clone(&proven.committee));
    shared.history.record_committee(proven.term, &proven.committee)
}
