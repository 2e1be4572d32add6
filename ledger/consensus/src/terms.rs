//! One simplex engine a term.
//!
//! A term is a range of heights with one committee (design 5, [`crate::committees`]). Its engine is rooted
//! in the last block of the term before; when the term's own last block is final, the engine ends and the
//! next begins. Who has a seat in the term's committee signs; anybody else follows, and may have a seat
//! again in the next.
//!
//! A node that lags hears votes or certificates of a later term, and asks who sent them for the last block
//! of its own: its certificate is by a committee that the node knows, and the state after it tells the next.
//! So it goes from term to term until it is there.

use crate::{
    application::Shared,
    committee::Committee,
    engine::{Automaton, Marshal, Runtime, Settings, VIEWS_KEPT},
    faults::Watched,
    history::Finalized,
    network::{Channel, MAILBOX},
    state::BUFFER_BYTES,
};
use alloy_primitives::B256;
use commonware_consensus::{
    simplex::{
        self,
        config::{Floor, ForwardPolicy, SkipPolicy},
        elector::RoundRobin,
        scheme::ed25519::Scheme,
    },
    types::{Epoch as Term, Height},
};
use commonware_cryptography::{
    Sha256,
    certificate::{self, Scheme as _, Scoped},
    ed25519, sha256,
};
use commonware_p2p::{
    authenticated::lookup::Oracle,
    utils::mux::{Builder as _, Muxer},
};
use commonware_parallel::Sequential;
use commonware_runtime::{Handle, IoBuf, buffer::paged::CacheRef};
use commonware_utils::{NZDuration, vec::NonEmptyVec};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Separates the votes and connections of one ledger from those of every other.
pub(crate) fn namespace(genesis: B256) -> Vec<u8> {
    [b"wayleave/ledger/1/", genesis.as_slice()].concat()
}

/// The signing scheme of every known term: with our vote if we have a seat in it.
#[derive(Clone, Debug)]
pub(crate) struct Schemes {
    namespace: Vec<u8>,
    shared: Arc<Shared>,
}

impl Schemes {
    pub(crate) const fn new(namespace: Vec<u8>, shared: Arc<Shared>) -> Self {
        Self { namespace, shared }
    }

    fn scheme(&self, committee: &Committee) -> Scheme {
        let seats = committee.participants();
        let key = self.shared.keys.signer().clone();
        Scheme::signer(&self.namespace, seats.clone(), key)
            .unwrap_or_else(|| Scheme::verifier(&self.namespace, seats))
    }
}

impl certificate::Provider for Schemes {
    type Scope = Term;
    type Scheme = Scheme;

    /// Nothing for terms whose committee is not known yet or no longer: what they certify is refused for
    /// now, and nobody is blamed.
    fn scoped(&self, term: Term) -> Option<Scoped<Scheme>> {
        let committee = self.shared.committees.get(term.get())?;
        Some(Scoped::scheme(Arc::new(self.scheme(&committee))))
    }
}

/// Runs the engines, one after the other.
pub(crate) struct Terms<E: Runtime> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) schemes: Schemes,
    pub(crate) automaton: Automaton<E>,
    pub(crate) marshal: Marshal,
    pub(crate) blocker: Oracle<ed25519::PublicKey>,
    pub(crate) page_cache: CacheRef,
    pub(crate) settings: Settings,
}

type Root = Floor<Scheme, sha256::Digest>;
/// How one simplex engine is set up.
type Simplex<E> = simplex::Config<
    Scheme,
    RoundRobin<Sha256>,
    Oracle<ed25519::PublicKey>,
    sha256::Digest,
    Automaton<E>,
    Automaton<E>,
    Watched<E, Automaton<E>>,
    Sequential,
>;
/// Messages of terms that have no engine here.
type Unclaimed = mpsc::Receiver<(u64, (ed25519::PublicKey, IoBuf))>;

/// Votes and certificates of terms that have no engine here.
struct Later {
    votes: Unclaimed,
    certificates: Unclaimed,
}

impl Later {
    /// The term of the next such message and who sent it; nothing once the network has stopped.
    async fn next(&mut self) -> Option<(u64, ed25519::PublicKey)> {
        tokio::select! {
            biased;
            vote = self.votes.recv() => vote,
            certificate = self.certificates.recv() => certificate,
        }
        .map(|(term, (peer, _))| (term, peer))
    }
}

impl<E: Runtime> Terms<E> {
    fn partition(&self, term: u64) -> String {
        format!("{}-votes-{term}", self.settings.prefix)
    }

    fn last_height(&self, term: u64) -> u64 {
        self.shared.committees.last_height(term)
    }

    /// The block in which the engine of `term` is rooted, once it is final.
    async fn root(&self, term: u64) -> Option<Root> {
        let height = term.checked_sub(1).map_or(0, |before| self.last_height(before));
        match self.shared.history.header(height) {
            Ok(Some(header)) => return Some(Floor::Genesis(header.sha256())),
            Ok(None) => {}
            Err(error) => crate::application::fail_stop("failed to read the history", &error),
        }
        // A node that began in the middle of the term roots in the highest certificate it holds.
        let mut at = self.shared.head.borrow().height();
        while at > height {
            if let Some(certificate) = self.marshal.get_finalization(Height::new(at)).await {
                return Some(Floor::Finalized(certificate));
            }
            at -= 1;
        }
        None
    }

    /// Waits until the last block of `term` is final; nothing if the ledger ends before.
    async fn wait_for_end(
        &self,
        term: u64,
        head: &mut watch::Receiver<Arc<Finalized>>,
        later: &mut Later,
    ) -> Option<()> {
        let last = self.last_height(term);
        while head.borrow_and_update().height() < last {
            tokio::select! {
                // In this order, so that a seeded run repeats itself.
                biased;
                changed = head.changed() => changed.ok()?,
                // Somebody is in a later term: ask them how ours ended.
                message = later.next() => {
                    let (theirs, peer) = message?;
                    if theirs > term {
                        self.marshal.hint_finalized(Height::new(last), NonEmptyVec::new(peer));
                    }
                }
            }
        }
        Some(())
    }

    /// Runs until the ledger ends.
    pub(crate) async fn run(self, runtime: E, channels: (Channel<E>, Channel<E>, Channel<E>)) {
        let (votes, certificates, resolver) = channels;
        let (mux, mut votes, later_votes) =
            Muxer::builder(runtime.child("vote_mux"), votes.0, votes.1).with_backup().build();
        mux.start();
        let (mux, mut certificates, later_certificates) =
            Muxer::builder(runtime.child("certificate_mux"), certificates.0, certificates.1)
                .with_backup()
                .build();
        mux.start();
        let (mux, mut resolver) = Muxer::new(runtime.child("resolver_mux"), resolver.0, resolver.1);
        mux.start();
        let mut later = Later { votes: later_votes, certificates: later_certificates };
        let mut head = self.shared.head.subscribe();
        let mut term = self.shared.committees.term(head.borrow().height().saturating_add(1));
        loop {
            let Some(root) = self.root(term).await else {
                tracing::error!(term, "no final block to begin the term with");
                return;
            };
            let Some(committee) = self.shared.committees.get(term) else {
                tracing::error!(term, "no committee for the term");
                return;
            };
            let registered = (
                votes.register(term).await,
                certificates.register(term).await,
                resolver.register(term).await,
            );
            let (Ok(votes), Ok(certificates), Ok(resolver)) = registered else { return };
            let scheme = self.schemes.scheme(&committee);
            let seated = scheme.me().is_some();
            tracing::info!(term, seats = committee.validators().count(), seated, "term begins");
            let faults = (self.shared.faults.clone(), committee);
            let watch = runtime.child("faults").with_attribute("term", term);
            let reporter = Watched::new(watch, scheme.clone(), faults, self.automaton.clone());
            let engine = simplex::Engine::new(
                runtime.child("simplex").with_attribute("term", term),
                self.config(term, root, (scheme, reporter)),
            );
            let engine: Handle<()> = engine.start(votes, certificates, resolver);
            if self.wait_for_end(term, &mut head, &mut later).await.is_none() {
                return;
            }
            engine.abort();
            // The votes of a term are of no use two terms later; a missing file is fine.
            if let Some(old) = term.checked_sub(1) {
                drop(runtime.remove(&self.partition(old), None).await);
            }
            term += 1;
        }
    }

    fn config(
        &self,
        term: u64,
        floor: Root,
        (scheme, reporter): (Scheme, Watched<E, Automaton<E>>),
    ) -> Simplex<E> {
        // A leader waits for a pace before it proposes, so others wait longer for it.
        let leader_timeout = 2 * self.settings.pace + Duration::from_secs(1);
        let certification_timeout = leader_timeout + Duration::from_secs(1);
        simplex::Config {
            scheme,
            elector: RoundRobin::<Sha256>::default(),
            blocker: self.blocker.clone(),
            automaton: self.automaton.clone(),
            relay: self.automaton.clone(),
            reporter,
            strategy: Sequential,
            partition: self.partition(term),
            mailbox_size: MAILBOX,
            epoch: Term::new(term),
            floor,
            replay_buffer: BUFFER_BYTES,
            write_buffer: BUFFER_BYTES,
            page_cache: self.page_cache.clone(),
            leader_timeout,
            certification_timeout,
            timeout_retry: certification_timeout,
            view_retention: VIEWS_KEPT,
            skip: SkipPolicy::Enabled {
                timeout: 2 * certification_timeout,
                budget: simplex::SkipBudget::Participants,
            },
            fetch_timeout: NZDuration!(Duration::from_secs(1)),
            fetch_retry_delay: Duration::from_millis(100),
            forward: ForwardPolicy::Disabled,
            // So that a double vote is found whenever its second half comes.
            track_historical_votes: true,
        }
    }
}

#[cfg(test)]
mod tests;
