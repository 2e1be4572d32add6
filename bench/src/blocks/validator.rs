//! One validator of a run: consensus, marshal, and the way its blocks travel.

use super::{
    block::{Block, Coded, CodedName, FIRST, Shape, Whole},
    meter::{Counted, Meter},
};
use bytes::Bytes;
use commonware_actor::Feedback;
use commonware_broadcast::buffered;
use commonware_coding::ReedSolomon;
use commonware_consensus::{
    Application, CertifiableAutomaton, CertifiableBlock as _, Heightable as _, Relay, Reporter,
    marshal::{
        self, Update,
        ancestry::Ancestry,
        coding::{
            Coding, Marshaled, MarshaledConfig, shards,
            types::{CodedBlock, hash_context},
        },
        core::Actor,
        resolver::{handler, p2p as resolver},
        standard::{Deferred, Standard},
    },
    simplex::{
        self,
        config::{Floor, ForwardPolicy, SkipPolicy},
        elector::RoundRobin,
        scheme::ed25519::Scheme,
        types::{Activity, Context, Finalization},
    },
    types::{Epoch, FixedEpocher, ViewDelta},
};
use commonware_cryptography::{
    Committable as _, Digest, Digested, Digestible as _, Sha256, Signer as _,
    certificate::{ConstantProvider, Verifier as _},
    ed25519::{PrivateKey, PublicKey},
    sha256,
};
use commonware_p2p::simulated;
use commonware_parallel::Sequential;
use commonware_runtime::{
    Clock as _, Quota, Supervisor as _, buffer::paged::CacheRef, deterministic,
};
use commonware_storage::{archive::prunable, translator::EightCap};
use commonware_utils::{
    Acknowledgement as _, NZDuration, NZU16, NZU32, NZU64, NZUsize, ordered::Set,
};
use futures::StreamExt as _;
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

/// Between two blocks, so that each has the network for itself.
const PACE: Duration = Duration::from_secs(10);
/// Nobody is slow, only far away.
const PATIENCE: Duration = Duration::from_secs(60);
const MAILBOX: NonZeroUsize = NZUsize!(256);
const BUFFER: NonZeroUsize = NZUsize!(65_536);
const MESSAGES_PER_SECOND: Quota = Quota::per_second(NZU32!(1_000));

type Runtime = deterministic::Context;
type Provider = ConstantProvider<Scheme, Epoch>;
type Code = ReedSolomon<Sha256>;
type Pieces = Coding<Block<Coded>, Code, Sha256, PublicKey>;
type Sender = simulated::Sender<PublicKey, Runtime>;
type Receiver = simulated::Receiver<PublicKey>;

/// Where a validator runs.
pub(crate) struct Place {
    pub(crate) context: Runtime,
    pub(crate) key: PrivateKey,
    pub(crate) peers: Set<PublicKey>,
    pub(crate) oracle: simulated::Oracle<PublicKey, Runtime>,
    pub(crate) meter: Meter,
}

/// How the blocks of a shape travel.
pub(crate) trait Start: Shape {
    /// Starts a validator that proposes blocks of `bytes`.
    fn start(place: Place, bytes: usize) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Start for Whole {
    async fn start(place: Place, bytes: usize) -> anyhow::Result<()> {
        let (app, scheme) = (App::new(&place, bytes), place.scheme());
        let first = place.first::<Self>();
        let name = first.digest();
        let (engine, buffer) = buffered::Engine::new(
            place.context.child("broadcast"),
            buffered::Config {
                public_key: place.key.public_key(),
                mailbox_size: MAILBOX,
                deque_size: 4,
                priority: false,
                codec_config: (),
                peer_provider: place.oracle.manager(),
                strategy: Sequential,
            },
        );
        engine.start(place.counted().await?);
        let (actor, mailbox, _) = Actor::<_, Standard<Block<Self>>, _, _, _, _, _>::init(
            place.context.child("marshal"),
            place.certificates::<Self>().await?,
            place.archive::<Arc<Block<Self>>>("blocks", ()).await?,
            place.marshal(marshal::Start::Genesis(first)),
        )
        .await;
        actor.start(app.clone(), buffer, place.resolver().await?);
        let context = place.context.child("deferred");
        let automaton = Deferred::new(context, app, mailbox, epocher());
        place.consensus(scheme, name, automaton).await
    }
}

impl Start for Coded {
    async fn start(place: Place, bytes: usize) -> anyhow::Result<()> {
        let (app, scheme) = (App::new(&place, bytes), place.scheme());
        let first = place.first::<Self>();
        let (digest, context) = (first.digest(), hash_context::<Sha256, _>(&first.context()));
        let name = CodedName::from((digest, digest, context, FIRST));
        let first: Arc<CodedBlock<_, Code, Sha256>> =
            Arc::new(CodedBlock::precomputed(first, name));
        debug_assert_eq!(first.commitment(), name);
        let (engine, shards) = shards::Engine::<_, _, _, _, Code, Sha256, _, _, _>::new(
            place.context.child("shards"),
            shards::Config {
                scheme_provider: Provider::new(scheme.clone()),
                blocker: place.oracle.control(place.key.public_key()),
                block_codec_config: (),
                strategy: Sequential,
                mailbox_size: MAILBOX,
                peer_buffer_size: NZUsize!(16),
                records: NZUsize!(16),
                peer_provider: place.oracle.manager(),
            },
        );
        engine.start(place.counted().await?);
        let (actor, mailbox, _) = Actor::<_, Pieces, _, _, _, _, _>::init(
            place.context.child("marshal"),
            place.certificates::<Self>().await?,
            place.archive("blocks", ()).await?,
            place.marshal(marshal::Start::Genesis(first)),
        )
        .await;
        actor.start(app.clone(), shards.clone(), place.resolver().await?);
        let automaton = Marshaled::new(
            place.context.child("marshaled"),
            MarshaledConfig {
                application: app,
                marshal: mailbox,
                shards,
                scheme_provider: Provider::new(scheme.clone()),
                strategy: Sequential,
                epocher: epocher(),
            },
        );
        place.consensus(scheme, name, automaton).await
    }
}

const fn epocher() -> FixedEpocher {
    FixedEpocher::new(NZU64!(1_000_000))
}

impl Place {
    fn scheme(&self) -> Scheme {
        Scheme::signer(b"bench", self.peers.clone(), self.key.clone())
            .unwrap_or_else(|| Scheme::verifier(b"bench", self.peers.clone()))
    }

    fn first<S: Shape>(&self) -> Digested<Block<S>> {
        let leader = self.peers.iter().next().cloned().unwrap_or_else(|| self.key.public_key());
        let block = Block::first(leader);
        let digest = block.digest();
        Digested::precomputed(block, digest)
    }

    async fn channel(&self, number: u64) -> anyhow::Result<(Sender, Receiver)> {
        let control = self.oracle.control(self.key.public_key());
        Ok(control.register(number, MESSAGES_PER_SECOND).await?)
    }

    /// The channel of blocks.
    async fn counted(&self) -> anyhow::Result<(Counted<Sender>, Receiver)> {
        let (inner, receiver) = self.channel(4).await?;
        let (from, meter) = (self.key.public_key(), self.meter.clone());
        Ok((Counted { inner, from, meter }, receiver))
    }

    async fn resolver<D: Digest>(
        &self,
    ) -> anyhow::Result<(handler::Receiver<D>, resolver::Mailbox<D, PublicKey>)> {
        let config = resolver::Config {
            public_key: self.key.public_key(),
            peer_provider: self.oracle.manager(),
            blocker: self.oracle.control(self.key.public_key()),
            mailbox_size: MAILBOX,
            fetch_timeout: NZDuration!(PATIENCE),
            fetch_retry_delay: Duration::from_millis(100),
            priority_requests: false,
            priority_responses: false,
        };
        Ok(resolver::init(self.context.child("resolver"), config, self.channel(3).await?))
    }

    async fn archive<V: commonware_codec::Codec + Send + Sync + Clone>(
        &self,
        name: &str,
        codec_config: V::Cfg,
    ) -> anyhow::Result<prunable::Archive<EightCap, Runtime, sha256::Digest, V>> {
        let key = self.key.public_key();
        let config = prunable::Config {
            translator: EightCap,
            metadata_partition: format!("{key}-{name}-metadata"),
            key_partition: format!("{key}-{name}-keys"),
            key_page_cache: page_cache(),
            value_partition: format!("{key}-{name}-values"),
            compression: None,
            codec_config,
            items_per_section: NZU64!(256),
            key_write_buffer: BUFFER,
            value_write_buffer: BUFFER,
            replay_buffer: BUFFER,
        };
        let context = self.context.child("archive").with_attribute("name", name);
        Ok(prunable::Archive::init(context, config).await?)
    }

    async fn certificates<S: Shape>(
        &self,
    ) -> anyhow::Result<
        prunable::Archive<EightCap, Runtime, sha256::Digest, Finalization<Scheme, S::Name>>,
    > {
        self.archive("certificates", Scheme::certificate_codec_config_unbounded()).await
    }

    fn marshal<AB, B, D>(
        &self,
        start: marshal::Start<Scheme, D, B>,
    ) -> marshal::Config<Provider, FixedEpocher, Sequential, AB, B, D>
    where
        AB: commonware_consensus::Block + commonware_codec::Codec<Cfg = ()>,
        D: Digest,
    {
        marshal::Config {
            provider: Provider::new(self.scheme()),
            epocher: epocher(),
            start,
            partition_prefix: format!("{}", self.key.public_key()),
            mailbox_size: MAILBOX,
            view_retention: ViewDelta::new(64),
            prunable_items_per_section: NZU64!(64),
            page_cache: page_cache(),
            replay_buffer: BUFFER,
            key_write_buffer: BUFFER,
            value_write_buffer: BUFFER,
            block_codec_config: (),
            max_repair: NZUsize!(16),
            max_pending_acks: NZUsize!(8),
            strategy: Sequential,
        }
    }

    /// Starts consensus from the block named `first`.
    async fn consensus<D, A>(&self, scheme: Scheme, first: D, automaton: A) -> anyhow::Result<()>
    where
        D: Digest,
        A: CertifiableAutomaton<Context = Context<D, PublicKey>, Digest = D>
            + Relay<Digest = D, PublicKey = PublicKey, Plan = simplex::Plan<PublicKey>>
            + Reporter<Activity = Activity<Scheme, D>>,
    {
        let engine = simplex::Engine::new(
            self.context.child("simplex"),
            simplex::Config {
                scheme,
                elector: RoundRobin::<Sha256>::default(),
                blocker: self.oracle.control(self.key.public_key()),
                automaton: automaton.clone(),
                relay: automaton.clone(),
                reporter: automaton,
                strategy: Sequential,
                partition: format!("{}-votes", self.key.public_key()),
                mailbox_size: MAILBOX,
                epoch: Epoch::zero(),
                floor: Floor::Genesis(first),
                replay_buffer: BUFFER,
                write_buffer: BUFFER,
                page_cache: page_cache(),
                leader_timeout: PATIENCE,
                certification_timeout: 2 * PATIENCE,
                timeout_retry: PATIENCE,
                view_retention: ViewDelta::new(64),
                skip: SkipPolicy::Disabled,
                fetch_timeout: NZDuration!(PATIENCE),
                fetch_retry_delay: Duration::from_millis(100),
                forward: ForwardPolicy::Disabled,
                track_historical_votes: false,
            },
        );
        engine.start(self.channel(0).await?, self.channel(1).await?, self.channel(2).await?);
        Ok(())
    }
}

fn page_cache() -> CacheRef {
    CacheRef::new(NZU16!(4096), NZUsize!(256))
}

/// What proposes blocks and takes the final ones.
struct App<S> {
    clock: Arc<Runtime>,
    me: PublicKey,
    body: Bytes,
    meter: Meter,
    shape: std::marker::PhantomData<S>,
}

impl<S> Clone for App<S> {
    fn clone(&self) -> Self {
        Self {
            clock: Arc::clone(&self.clock),
            me: self.me.clone(),
            body: self.body.clone(),
            meter: self.meter.clone(),
            shape: self.shape,
        }
    }
}

impl<S> App<S> {
    fn new(place: &Place, bytes: usize) -> Self {
        Self {
            clock: Arc::new(place.context.child("clock")),
            me: place.key.public_key(),
            body: vec![7; bytes].into(),
            meter: place.meter.clone(),
            shape: std::marker::PhantomData,
        }
    }
}

impl<S: Shape> Application<Runtime> for App<S> {
    type SigningScheme = Scheme;
    type Context = Context<S::Name, PublicKey>;
    type Block = Block<S>;
    type Input = ();

    async fn propose(
        &mut self,
        (runtime, context): (Runtime, Self::Context),
        mut ancestry: impl Ancestry<Block<S>>,
        (): (),
    ) -> Option<Digested<Block<S>>> {
        let parent = ancestry.next().await?;
        runtime.sleep(PACE).await;
        let block = Block::next(&parent, context, self.body.clone());
        self.meter.proposed(block.height().get(), self.me.clone(), self.clock.current());
        let digest = block.digest();
        Some(Digested::precomputed(block, digest))
    }

    async fn verify(&mut self, _: (Runtime, Self::Context), _: impl Ancestry<Block<S>>) -> bool {
        true
    }
}

impl<S: Shape> Reporter for App<S> {
    type Activity = Update<Block<S>>;

    fn report(&mut self, update: Self::Activity) -> Feedback {
        if let Update::Block(block, done) = update {
            self.meter.finalized(block.height().get(), self.clock.current());
            done.acknowledge();
        }
        Feedback::Ok
    }
}
