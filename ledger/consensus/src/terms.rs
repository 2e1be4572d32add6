//! One simplex engine a term.
//!
//! A term is a range of heights with one committee (design 5). Its engine is rooted in the last block
//! of the term before; when the term's own last block is final, the engine ends and the next begins.
//! A seat in the committee signs; anybody else follows.

use crate::{
    application::Shared,
    committee::{Committee, ValidatorKeys},
    engine::{Automaton, Marshal, Runtime, Settings, VIEWS_KEPT},
    history::{Finalized, HistoryError},
    join::Role,
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
    certificate::{self, Scoped},
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

/// The signing scheme of every term: with our vote if we have a seat.
#[derive(Clone, Debug)]
pub(crate) struct Schemes {
    namespace: Vec<u8>,
    key: ed25519::PrivateKey,
    /// Whether this node ever votes.
    votes: bool,
    committee: Arc<Committee>,
}

impl Schemes {
    pub(crate) fn new(
        namespace: Vec<u8>,
        (keys, role): (&ValidatorKeys, Role),
        committee: Arc<Committee>,
    ) -> Self {
        Self { namespace, key: keys.signer().clone(), votes: role == Role::Validator, committee }
    }

    fn scheme(&self) -> Scheme {
        let seats = self.committee.participants();
        let key = self.votes.then(|| self.key.clone());
        key.and_then(|key| Scheme::signer(&self.namespace, seats.clone(), key))
            .unwrap_or_else(|| Scheme::verifier(&self.namespace, seats))
    }
}

impl certificate::Provider for Schemes {
    type Scope = Term;
    type Scheme = Scheme;

    fn scoped(&self, _: Term) -> Option<Scoped<Scheme>> {
        Some(Scoped::scheme(Arc::new(self.scheme())))
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
    Automaton<E>,
    Sequential,
>;
/// Votes of terms that have no engine here.
type Later = mpsc::Receiver<(u64, (ed25519::PublicKey, IoBuf))>;

impl<E: Runtime> Terms<E> {
    fn partition(&self, term: u64) -> String {
        format!("{}-votes-{term}", self.settings.prefix)
    }

    fn last_height(&self, term: u64) -> u64 {
        term.saturating_add(1).saturating_mul(self.settings.term_length.get()).saturating_sub(1)
    }

    /// The block in which the engine of `term` is rooted, once it is final: the last one before the term.
    ///
    /// A node that began in the middle of the term may not have that, and one without votes of the term
    /// may have lost them: these root in the highest certificate they hold, which is behind every view
    /// in which an earlier life may have voted.
    async fn root(&self, runtime: &E, term: u64) -> Option<Root> {
        let height = term.checked_sub(1).map_or(0, |before| self.last_height(before));
        let before = match self.shared.history.header(height) {
            Ok(header) => header,
            Err(HistoryError::Before { .. }) => {
                let block = self.marshal.get_block(Height::new(height)).await;
                block.map(|block| block.inner().header().clone())
            }
            Err(error) => crate::application::fail_stop("failed to read the history", &error),
        };
        let before = before.map(|header| Floor::Genesis(header.sha256()));
        let votes = runtime.scan(&self.partition(term)).await;
        if votes.is_ok_and(|files| !files.is_empty()) && before.is_some() {
            return before;
        }
        let mut at = self.shared.head.borrow().height();
        while at > height {
            if let Some(certificate) = self.marshal.get_finalization(Height::new(at)).await {
                return Some(Floor::Finalized(certificate));
            }
            at -= 1;
        }
        before
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
                // Somebody votes in a later term: ask them how ours ended.
                message = later.recv() => {
                    let (theirs, (peer, _)) = message?;
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
        let (mux, mut votes, mut later) =
            Muxer::builder(runtime.child("vote_mux"), votes.0, votes.1).with_backup().build();
        mux.start();
        let (mux, mut certificates) =
            Muxer::new(runtime.child("certificate_mux"), certificates.0, certificates.1);
        mux.start();
        let (mux, mut resolver) = Muxer::new(runtime.child("resolver_mux"), resolver.0, resolver.1);
        mux.start();
        let mut head = self.shared.head.subscribe();
        let mut term = head.borrow().height().saturating_add(1) / self.settings.term_length.get();
        loop {
            let Some(root) = self.root(&runtime, term).await else {
                tracing::error!(term, "no final block to begin the term with");
                return;
            };
            tracing::info!(term, "term begins");
            let registered = (
                votes.register(term).await,
                certificates.register(term).await,
                resolver.register(term).await,
            );
            let (Ok(votes), Ok(certificates), Ok(resolver)) = registered else { return };
            let engine = simplex::Engine::new(
                runtime.child("simplex").with_attribute("term", term),
                self.config(term, root),
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

    fn config(&self, term: u64, floor: Root) -> Simplex<E> {
        // A leader waits for a pace before it proposes, so others wait longer for it.
        let leader_timeout = 2 * self.settings.pace + Duration::from_secs(1);
        let certification_timeout = leader_timeout + Duration::from_secs(1);
        simplex::Config {
            scheme: self.schemes.scheme(),
            elector: RoundRobin::<Sha256>::default(),
            blocker: self.blocker.clone(),
            automaton: self.automaton.clone(),
            relay: self.automaton.clone(),
            reporter: self.automaton.clone(),
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
            track_historical_votes: false,
        }
    }
}
