//! Blocks that are wrong in one field, and proposals that get lost.

use super::*;
use crate::{
    BodyError, Finalized, History, Limits, MemoryFile, Retention,
    committee::Committee,
    engine,
    mempool::Source,
    recovery::Recovery,
    testing::{CHAIN, COIN, genesis, keys, transfer},
};
use alloy_primitives::U256;
use commonware_consensus::{
    marshal::ancestry,
    simplex::types::Context,
    types::{Epoch as Term, Round, View},
};
use commonware_cryptography::Digestible as _;
use commonware_glue::stateful::db::DatabaseSet;
use commonware_parallel::Sequential;
use commonware_runtime::{Runner as _, Supervisor as _, buffer::paged::CacheRef, deterministic};
use commonware_utils::{NZU16, NZUsize};
use execution::Account;

type E = deterministic::Context;

/// An application over a real state, with no consensus around it.
struct Bench {
    context: E,
    app: App,
    databases: Databases<E>,
    genesis: Digested<Block>,
}

impl Bench {
    async fn new(context: E, file: crate::Genesis) -> Self {
        let committee: Arc<Committee> = Arc::new(file.check().unwrap());
        let history =
            History::open_in(MemoryFile::new(), file.digest(), Retention::default()).unwrap();
        let block = engine::genesis_block(&context, "bench", &history, (&file, &committee));
        let block = Box::pin(block).await.unwrap();
        let cache = CacheRef::new(NZU16!(4096), NZUsize!(64));
        let target = state::targets::<E>(&block.header().state);
        let databases = <Databases<E> as DatabaseSet<E>>::init(
            context.child("databases"),
            state::config("bench", &cache),
            Some(target),
        )
        .await;
        let first = history.finalized(0).unwrap().unwrap();
        let (head, _) = watch::channel(Arc::<Finalized>::new(first));
        let term_length = std::num::NonZeroU64::new(file.term_length).unwrap();
        let shared = Shared {
            chain: Chain { chain_id: CHAIN, epoch_length: file.epoch_length, term_length },
            committees: Committees::new(term_length, committee),
            faults: Faults::default(),
            genesis: Arc::new(block.clone()),
            keys: keys(0),
            history: Arc::new(history),
            queues: Arc::new(Queues::new(Limits::default(), Recovery::sequential())),
            peers: watch::Sender::new(0),
            head,
            outcomes: Outcomes::default(),
        };
        let genesis = Digested::compute(block, &Sequential).await;
        Self { context, app: App(Arc::new(shared)), databases, genesis }
    }

    fn queue(&self, raw: &[u8]) {
        let tx = execution::decode(raw).unwrap();
        let account = Account { balance: U256::MAX, ..Account::default() };
        self.app.0.queues.insert(tx, (&account, 0), (Source::Own, true)).unwrap();
    }

    fn round(&self, view: u64) -> ConsensusContext {
        Context {
            round: Round::new(Term::zero(), View::new(view)),
            leader: self.genesis.inner().header().proposer.clone(),
            parent: (View::zero(), self.genesis.digest()),
        }
    }

    async fn batch(&self) -> Batch<E> {
        <Databases<E> as DatabaseSet<E>>::new_batches(&self.databases).await
    }

    async fn propose(&self, view: u64) -> Proposed<App, E> {
        let context = (self.context.child("propose"), self.round(view));
        let line = ancestry::from_iter([self.genesis.clone()]);
        let input = Input { upstream: (), provider: () };
        let mut app = self.app.clone();
        let batch = self.batch().await;
        Application::<E>::propose(&mut app, context, line, batch, input).await.unwrap()
    }

    /// A child of `parent` on its sealed, not applied state.
    async fn propose_on(&self, parent: &Proposed<App, E>) -> Proposed<App, E> {
        let context = (self.context.child("propose"), self.round(9));
        let block = Digested::compute(parent.block.clone(), &Sequential).await;
        let line = ancestry::from_iter([block, self.genesis.clone()]);
        let batch = <Databases<E> as DatabaseSet<E>>::fork_batches(&parent.merkleized);
        let input = Input { upstream: (), provider: () };
        let mut app = self.app.clone();
        Application::<E>::propose(&mut app, context, line, batch, input).await.unwrap()
    }

    async fn verdict(&self, block: Block, finality: Finality) -> bool {
        let context = (self.context.child("process"), self.round(1));
        let block = Digested::compute(block, &Sequential).await;
        let line = ancestry::from_iter([block, self.genesis.clone()]);
        let mut app = self.app.clone();
        let batch = self.batch().await;
        Application::<E>::process(&mut app, context, line, batch, finality).await.is_some()
    }
}

fn bench<T>(scenario: impl AsyncFnOnce(Bench) -> T) -> T {
    bench_of(genesis(1, 100), scenario)
}

fn bench_of<T>(file: crate::Genesis, scenario: impl AsyncFnOnce(Bench) -> T) -> T {
    deterministic::Runner::seeded(1)
        .start(async |context: E| scenario(Box::pin(Bench::new(context, file)).await).await)
}

/// The block with some of its header changed, its body as it was.
fn changed(block: &Block, change: impl FnOnce(&mut Header)) -> Block {
    let mut header = block.header().clone();
    change(&mut header);
    Block::build(header, block.body().clone()).unwrap()
}

#[test]
fn what_is_proposed_is_accepted_and_nothing_else() {
    bench(async |bench| {
        bench.queue(&transfer(1, 0, COIN));
        bench.app.0.queues.insert_blob(Bytes::from_static(b"evidence"), Source::Own).unwrap();
        let block = bench.propose(1).await.block;
        assert_eq!((block.transactions().len(), block.blobs().len()), (1, 1));
        for finality in [Finality::Candidate, Finality::Finalized] {
            assert!(bench.verdict(block.clone(), finality).await);
        }
        let wrong: [fn(&mut Header); 9] = [
            |h| h.state.root = B256::ZERO,
            |h| h.state.ops_root = B256::ZERO,
            |h| h.state.ops_end += 1,
            |h| h.receipts_root = B256::ZERO,
            |h| h.logs_bloom = Bloom::repeat_byte(1),
            |h| h.gas_used += 1,
            |h| h.timestamp_ms += crate::rules::MAX_STEP_MS,
            |h| h.base_fee += 1,
            |h| h.reveal[0] ^= 1,
        ];
        for change in wrong {
            assert!(!bench.verdict(changed(&block, change), Finality::Candidate).await);
        }
    });
}

#[test]
fn an_invalid_transaction_makes_its_block_invalid() {
    bench(async |bench| {
        let empty = bench.propose(1).await.block;
        assert!(empty.transactions().is_empty());
        let bodies: [Vec<u8>; 4] = [
            b"no transaction".to_vec(),
            transfer(1, 5, COIN),
            transfer(9, 0, COIN),
            transfer(1, 0, u128::MAX),
        ];
        for raw in bodies {
            let body = Body { transactions: vec![raw.into()], blobs: Vec::new() };
            let block = Block::build(empty.header().clone(), body).unwrap();
            assert!(!bench.verdict(block, Finality::Candidate).await);
        }
    });
}

#[test]
fn a_time_ahead_of_the_clock_delays_and_does_not_reject() {
    bench(async |bench| {
        let block = bench.propose(1).await.block;
        let later = changed(&block, |h| h.timestamp_ms += 60_000);
        let before = bench.context.current();
        // The state root does not depend on the time here, so only the delay is between the two.
        assert!(bench.verdict(later.clone(), Finality::Candidate).await);
        let waited = bench.context.current().duration_since(before).unwrap();
        let skew = Duration::from_millis(SKEW_MS);
        assert!(waited + skew + skew >= Duration::from_secs(60), "{waited:?}");
        // Once final there is nothing to wait for.
        let before = bench.context.current();
        assert!(bench.verdict(later, Finality::Finalized).await);
        assert!(bench.context.current().duration_since(before).unwrap() < skew);
    });
}

#[test]
fn a_clock_behind_the_head_delays_no_verdict() {
    let mut file = genesis(1, 100);
    file.timestamp_ms = 3_600_000;
    bench_of(file, async |bench| {
        let block = bench.propose(1).await.block;
        assert_eq!(block.header().timestamp_ms, 3_600_001);
        let before = bench.context.current();
        assert!(bench.verdict(block, Finality::Candidate).await);
        assert_eq!(bench.context.current(), before);
    });
}

#[test]
fn a_slow_state_stops_no_height_and_no_other_transaction() {
    bench(async |bench| {
        bench.queue(&transfer(1, 0, COIN));
        bench.queue(&transfer(2, 0, COIN));
        let build = async |reads: usize| {
            let parent = bench.genesis.inner().header();
            let shared = &bench.app.0;
            let round = (0, View::new(1), View::zero());
            let batch = bench.batch().await;
            let seats = bench.app.seats::<E>(&batch, parent).await;
            let header = shared.chain.draft((parent, &seats), &shared.keys, round, 1_000).unwrap();
            let left = std::sync::atomic::AtomicUsize::new(reads);
            let order = std::sync::atomic::Ordering::Relaxed;
            let patience = Patience::while_true(move || {
                left.fetch_update(order, order, |left| left.checked_sub(1)).is_ok()
            });
            let parts = (batch, Taken::default());
            let (block, _) = bench.app.build::<E>(header, parts, patience).await.unwrap();
            let raw = block.transactions().to_vec();
            raw.iter().map(|tx| execution::decode(tx).unwrap().signer()).collect::<Vec<_>>()
        };
        let [slow, other] = [1, 2].map(|n| crate::testing::signer(n).address());
        // The time is over while the first is read: an empty block, and the next tries it last.
        assert_eq!(build(1).await, [Address::ZERO; 0]);
        assert_eq!(build(usize::MAX).await, [other, slow]);
    });
}

#[test]
fn a_lost_proposal_loses_nothing_and_a_kept_one_is_not_repeated() {
    bench(async |bench| {
        for nonce in 0..3 {
            bench.queue(&transfer(1, nonce, COIN));
        }
        bench.app.0.queues.insert_blob(Bytes::from_static(b"evidence"), Source::Own).unwrap();
        let lost = bench.propose(1).await;
        let again = bench.propose(2).await;
        assert_eq!(lost.block.body(), again.block.body());
        assert_eq!(again.block.transactions().len(), 3);
        // A child built before its parent is final takes what the parent left.
        bench.queue(&transfer(1, 3, COIN));
        bench.queue(&transfer(2, 0, COIN));
        bench.app.0.queues.insert_blob(Bytes::from_static(b"more evidence"), Source::Own).unwrap();
        let child = bench.propose_on(&again).await.block;
        assert_eq!(child.transactions().len(), 2);
        assert_eq!(child.blobs(), [Bytes::from_static(b"more evidence")]);
        assert_eq!(child.header().parent, again.block.hash());
        // Without the outcome in memory the parent's body says the same.
        bench.app.0.outcomes.forget(u64::MAX);
        assert_eq!(bench.propose_on(&again).await.block.body(), child.body());
    });
}

#[test]
fn a_final_block_is_recorded_even_if_its_outcome_was_forgotten() {
    bench(async |bench| {
        bench.queue(&transfer(1, 0, COIN));
        let proposed = bench.propose(1).await;
        bench.app.0.outcomes.forget(u64::MAX);
        let mut app = bench.app.clone();
        let mut finalize = async |times: usize| {
            for _ in 0..times {
                let round = bench.round(1);
                let readers = <Databases<E> as DatabaseSet<E>>::readers(&bench.databases);
                let captured = Application::<E>::capture(
                    &mut app,
                    (bench.context.child("capture"), round.clone()),
                    &proposed.block,
                    &proposed.merkleized,
                    readers,
                )
                .await;
                let readers = <Databases<E> as DatabaseSet<E>>::readers(&bench.databases);
                let context = (bench.context.child("finalized"), round);
                Application::<E>::finalized(&mut app, context, &proposed.block, captured, readers)
                    .await;
            }
        };
        // Delivered twice, as after a crash between recording and acknowledging.
        finalize(2).await;
        let shared = &bench.app.0;
        assert_eq!(shared.head.borrow().hash, proposed.block.hash());
        let recorded = shared.history.finalized(1).unwrap().unwrap();
        assert_eq!(recorded.receipts.len(), 1);
        assert_eq!(recorded.block().unwrap(), proposed.block);
        assert_eq!(shared.queues.load(), (0, 0));
    });
}

#[test]
fn bodies_are_bound_to_headers() {
    bench(async |bench| {
        let block = bench.propose(1).await.block;
        let body = Body { blobs: vec![Bytes::from_static(b"other")], ..Body::default() };
        assert_eq!(Block::new(block.header().clone(), body), Err(BodyError::Mismatch));
    });
}
