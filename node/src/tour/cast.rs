//! Who plays what: agents that hold data with duties in this epoch, so that something is at stake.

use super::Tour;
use crate::devnet::accounts::device;
use anyhow::bail;

/// Who plays what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// The agents that are stopped for a while.
    pub(super) stopped: [u8; 2],
    /// The agent that deletes what it is paid for.
    pub(super) cheat: u8,
    /// The operator whose pay is claimed.
    pub(super) honest: u8,
}

impl Tour {
    /// Casts agents with duties in the epoch under way; right after the first start that is the next.
    pub(super) async fn cast(&self) -> anyhow::Result<Cast> {
        let mut epoch = self.network.ledger.current_epoch().await?;
        for attempt in 0..3 {
            let inputs = self.inputs(epoch).await?;
            let busy: Vec<u8> = (1..=self.running.agents)
                .filter(|&number| {
                    inputs.rails_of(device(number).id()).any(|rail| {
                        inputs.is_live(rail)
                            && inputs.dataset(rail.id).is_some_and(|set| set.bytes > 0)
                    })
                })
                .collect();
            if let [honest, first, second, .., cheat] = busy[..] {
                return Ok(Cast { stopped: [first, second], cheat, honest });
            }
            if attempt == 0 {
                self.more("waiting for the first epoch in which the stored data must be proven");
            }
            epoch = epoch.next();
        }
        bail!("fewer than 4 agents have duties: is the S3 service running?")
    }
}
