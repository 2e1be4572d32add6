//! Answers what other nodes ask in order to join, from the first moment of this one on.

use super::{
    chain::Facts,
    wire::{Body, LINKS, Link, Message, Status, Tip},
};
use crate::{
    application::Shared, committee::Validator, engine::Runtime, history::HistoryError,
    network::Channel,
};
use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_consensus::{marshal::Identifier, types::Height};
use commonware_cryptography::ed25519;
use commonware_p2p::{Receiver as _, Recipients, Sender as _};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Answers of one peer, in the order in which they came.
pub(super) type Answer = (ed25519::PublicKey, Message);

/// Serves one channel: questions are answered, answers handed to [`super::Join`].
pub(super) struct Server<E: Runtime> {
    pub(super) shared: Arc<Shared>,
    pub(super) facts: Facts,
    pub(super) channel: Channel<E>,
    /// Answers beyond its bound are dropped: nobody waits for them.
    pub(super) answers: mpsc::Sender<Answer>,
}

impl<E: Runtime> Server<E> {
    /// Runs until the network ends.
    pub(super) async fn run(mut self) {
        while let Ok((peer, bytes)) = self.channel.1.recv().await {
            let message = match Message::decode(bytes) {
                Ok(message) => message,
                Err(error) => {
                    tracing::debug!(?peer, %error, "a peer's question does not decode");
                    continue;
                }
            };
            let reply = match message.body {
                Body::AskStatus(next) => Ok(Some(self.status(next).await)),
                Body::AskLinks(term) => self.links(term).await.map(Some),
                Body::AskHeader(height) => self.header(height),
                Body::Status(_) | Body::Links(_) | Body::Header(_) => {
                    drop(self.answers.try_send((peer, message)));
                    continue;
                }
            };
            match reply {
                Ok(Some(body)) => {
                    let reply = Message { number: message.number, body }.encode();
                    self.channel.0.send(Recipients::One(peer), reply, false);
                }
                Ok(None) => {}
                // The file is closed when the ledger stops; then there is nothing to answer.
                Err(error) => tracing::debug!(%error, "cannot answer a peer"),
            }
        }
    }

    async fn status(&self, next: u64) -> Body {
        let height = self.shared.head.borrow().height();
        let (has, tip) = match self.shared.marshal.get() {
            Some(marshal) => {
                let has = marshal.get_block(Height::new(next)).await.is_some();
                (has, self.tip().await)
            }
            None => (false, None),
        };
        Body::Status(Box::new(Status { height, has, tip }))
    }

    /// The highest block whose certificate this node holds.
    async fn tip(&self) -> Option<Tip> {
        let marshal = self.shared.marshal.get()?;
        let (height, _) = marshal.get_info(Identifier::Latest).await?;
        let certificate = marshal.get_finalization(height).await?;
        let block = marshal.get_block(height).await?;
        Some(Tip { header: block.inner().header().clone(), certificate })
    }

    async fn links(&self, term: u64) -> Result<Body, HistoryError> {
        let mut links = Vec::new();
        for term in following(term) {
            let Some(last) = ended(&self.shared, term).await? else { break };
            let seats = seats(&self.shared, term.saturating_add(1))?;
            links.push(Link { last, seats });
        }
        Ok(Body::Links(links))
    }

    fn header(&self, height: u64) -> Result<Option<Body>, HistoryError> {
        let next = self.facts.term(height.saturating_add(1));
        let header = match self.shared.history.header(height) {
            Err(HistoryError::Before { .. }) => None,
            header => header?,
        };
        let Some(header) = header else { return Ok(None) };
        Ok(Some(Body::Header(Box::new((header, seats(&self.shared, next)?)))))
    }
}

/// The terms from one on that an answer may tell of: none after the last there is.
fn following(term: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(term), |term| term.checked_add(1)).take(LINKS)
}

/// How a term ended, if this node knows: from the history, where it is kept from then on, or from what
/// marshal still holds.
///
/// Every node asks this as soon as it has applied a term's last block: marshal forgets certificates, and
/// what all have forgotten nobody who joins later can prove.
pub(crate) async fn ended(shared: &Shared, term: u64) -> Result<Option<Tip>, HistoryError> {
    if let Some(kept) = shared.history.link(term)? {
        let tip = Tip::decode(Copying(&kept[..]));
        return tip.map(Some).map_err(|_| HistoryError::Corrupt("the end of a term"));
    }
    let height = shared.committees.last_height(term);
    let Some(marshal) = shared.marshal.get() else { return Ok(None) };
    let header = match shared.history.header(height) {
        Ok(Some(header)) => header,
        Ok(None) | Err(HistoryError::Before { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(certificate) = marshal.get_finalization(Height::new(height)).await else {
        return Ok(None);
    };
    let tip = Tip { header, certificate };
    shared.history.keep_link(term, &tip.encode())?;
    Ok(Some(tip))
}

/// The encoded certificate of the last block of a term, if that is the height.
pub(crate) async fn certificate(shared: &Shared, height: u64) -> Option<Bytes> {
    let term = shared.committees.term(height);
    if shared.committees.last_height(term) != height {
        return None;
    }
    let last = ended(shared, term).await.ok()?;
    last.map(|last| last.certificate.encode())
}

/// The seats of a term, none if they are not known.
pub(super) fn seats(shared: &Shared, term: u64) -> Result<Vec<Validator>, HistoryError> {
    Ok(shared.history.committee(term)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_term_there_is_can_be_asked_for() {
        assert_eq!(following(u64::MAX).collect::<Vec<_>>(), [u64::MAX]);
        assert_eq!(following(u64::MAX - 1).count(), 2);
        assert!(following(7).eq(7..7 + 16));
    }
}
