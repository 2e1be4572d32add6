//! The pace of blocks: a wrapper that lets a leader wait before it builds.
//!
//! It stands outside `glue`'s `Stateful` because finality waits while that builds. A leader waits
//! until one pace after its parent's time, by its clock, and never longer than one pace: a clock set
//! back makes times creep and stops nothing. A ledger that lags does not wait, unless it lags by more
//! than one block may catch up with. Nobody waits for the first block: genesis has no certificate, so that
//! is the first thing that a light client can believe.

use crate::{block::Block, header::ConsensusContext, rules::MAX_STEP_MS};
use commonware_consensus::{Application, Handoff, marshal::ancestry::Ancestry};
use commonware_cryptography::Digested;
use commonware_runtime::Clock;
use commonware_utils::SystemTimeExt as _;
use futures::StreamExt as _;
use std::time::Duration;

/// Blocks between two warnings of a clock that is behind.
const WARN_EVERY: u64 = 64;

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
        let parent = parent.inner().header();
        let now = Duration::from_millis(runtime.current().epoch_millis());
        let parent_time = Duration::from_millis(parent.timestamp_ms);
        if parent_time > now + self.pace && parent.height.is_multiple_of(WARN_EVERY) {
            tracing::warn!(ahead = ?(parent_time - now), "the ledger is ahead of this machine's clock");
        }
        if parent.height > 0 {
            runtime.sleep(wait(parent_time, now, self.pace)).await;
        }
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

/// How long a leader waits at `now` on a parent of this time, both since 1970.
fn wait(parent: Duration, now: Duration, pace: Duration) -> Duration {
    match (parent + pace).checked_sub(now) {
        Some(wait) => wait.min(pace),
        None if now - parent > Duration::from_millis(MAX_STEP_MS) => pace,
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_waits_at_most_one_pace() {
        let seconds = Duration::from_secs;
        let waits = |parent, now| wait(seconds(parent), seconds(now), seconds(5));
        assert_eq!(waits(100, 100), seconds(5));
        assert_eq!(waits(100, 102), seconds(3));
        assert_eq!(waits(100, 110), Duration::ZERO);
        // A clock set back by an hour, and one that a year has passed on.
        assert_eq!(waits(3_700, 100), seconds(5));
        assert_eq!(waits(100, 31_536_100), seconds(5));
    }
}
