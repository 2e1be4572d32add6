//! The pace of blocks: a wrapper that lets a leader wait before it builds.
//!
//! It stands outside `glue`'s `Stateful` because finality waits while that builds. A leader waits
//! until one pace after its parent's time; a ledger that lags behind the clock does not wait.

use crate::{block::Block, header::ConsensusContext};
use commonware_consensus::{Application, Handoff, marshal::ancestry::Ancestry};
use commonware_cryptography::Digested;
use commonware_runtime::Clock;
use futures::StreamExt as _;
use std::time::{Duration, SystemTime};

/// An application whose proposals keep a pace.
#[derive(Clone, Debug)]
pub(crate) struct Paced<A> {
    pub(crate) inner: A,
    pub(crate) pace: Duration,
}

impl<E, A> Application<E> for Paced<A>
where
    E: Clock + Send + Sync + 'static,
    A: Application<E, Block = Block, Context = ConsensusContext, Input = ()> + Sync,
{
    type SigningScheme = A::SigningScheme;
    type Context = ConsensusContext;
    type Block = Block;
    type Input = ();

    async fn prepare(
        &mut self,
        context: (E, ConsensusContext),
        ancestry: impl Ancestry<Block>,
        input: (),
    ) -> Handoff<Digested<Block>> {
        self.inner.prepare(context, ancestry, input).await
    }

    async fn propose(
        &mut self,
        (runtime, context): (E, ConsensusContext),
        ancestry: impl Ancestry<Block>,
        input: (),
    ) -> Option<Digested<Block>> {
        let parent = ancestry.clone().next().await?;
        let parent_time = Duration::from_millis(parent.inner().header().timestamp_ms);
        runtime.sleep_until(SystemTime::UNIX_EPOCH + parent_time + self.pace).await;
        self.inner.propose((runtime, context), ancestry, input).await
    }

    async fn verify(
        &mut self,
        context: (E, ConsensusContext),
        ancestry: impl Ancestry<Block>,
    ) -> bool {
        self.inner.verify(context, ancestry).await
    }
}
