//! Steps 4 and 5: one agent deletes what it is paid for and goes on reporting; the epoch decides.

use super::{Tour, cast::Cast};
use crate::{commands::why, devnet::accounts::device, exit::Failure, units};
use anyhow::Context as _;
use protocol::{
    Epoch, Height,
    inputs::Inputs,
    statement::{Row, Statement},
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// How long an epoch may take to settle, or a shard to find a disk, before the tour gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// How often the ledger is asked.
const PAUSE: Duration = Duration::from_millis(250);

impl Tour {
    /// Waits until each stopped agent has missed one whole window since `from`; gives the first one's
    /// epoch.
    pub(super) async fn wait_for_missed_windows(
        &self,
        cast: &Cast,
        from: Height,
    ) -> anyhow::Result<Epoch> {
        let (epoch, first) = self.missed_window(cast.stopped[0], from).await?;
        let (_, second) = self.missed_window(cast.stopped[1], from).await?;
        let until = first.max(second);
        self.network.ledger.wait_for(Height(until.0.saturating_add(1))).await;
        Ok(epoch)
    }

    /// The first window of `agent` that opens after `from`: its epoch, and the height at which it is
    /// over.
    async fn missed_window(&self, agent: u8, from: Height) -> anyhow::Result<(Epoch, Height)> {
        let clock = self.network.ledger.clock().await?;
        let mut epoch = clock.epoch(from);
        loop {
            let inputs = self.inputs(epoch).await?;
            let slack = u64::from(inputs.manifest.evidence.slack);
            let device = inputs
                .device(device(agent).id())
                .with_context(|| format!("agent-{agent} is not on the roster"))?;
            let kind = registry::kind(device.kind).context("the device's kind is unknown")?;
            let duties = kind.duties(&inputs, device);
            let ends = duties.iter().filter(|duty| duty.from > from).map(|duty| duty.to.0);
            if let Some(end) = ends.min() {
                return Ok((epoch, Height(end.saturating_add(slack))));
            }
            epoch = epoch.next();
        }
    }

    /// The inputs of an epoch, once it has begun.
    pub(super) async fn inputs(&self, epoch: Epoch) -> anyhow::Result<Inputs> {
        let url = format!("{}/v1/inputs/{}/{epoch}", self.running.http, self.network.id);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.http.get(&url).await {
                Ok(bytes) => return Ok(Inputs::from_bytes(&bytes)?),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("the inputs of epoch {epoch} never came")));
                }
                Err(_) => self.pause().await,
            }
        }
    }

    /// Deletes an agent's shards from outside and waits for the epoch in which it is caught. Beside its
    /// row stands that of an agent which was only silent, of the epoch in which it `missed` a duty.
    pub(super) async fn cheat_and_wait(&self, cast: &Cast, missed: Epoch) -> anyhow::Result<()> {
        let Cast { cheat, stopped: [silent, _], .. } = *cast;
        let clock = self.network.ledger.clock().await?;
        self.control(cheat, "stop").await?;
        let (count, bytes) = delete_shards(&self.home.agent(cheat))?;
        self.control(cheat, "start-silent-about-losses").await?;
        let from = clock.epoch(self.network.ledger.head().await?);
        self.say(
            "Cheated",
            format!(
                "agent-{cheat} deleted {} ({}) behind everybody's back and goes on reporting",
                units::count(count, "shard"),
                units::bytes(bytes)
            ),
        );
        self.more("waiting for the epoch to end; nobody accuses it, the proofs are due by lot");
        let (statement, row) = self.caught(cheat, from).await?;
        self.say(
            "Caught",
            format!("epoch {} is final; its row for agent-{cheat}:", statement.epoch),
        );
        self.explain(&row);
        let before = self.network.statement(missed).await?;
        if let Some(row) = before.row(device(silent).id()) {
            self.say(
                "Beside it",
                format!("agent-{silent}, which was only away, in epoch {missed}:"),
            );
            self.explain(row);
        }
        self.control(cheat, "stop").await?;
        self.control(cheat, "start").await?;
        Ok(())
    }

    /// Rests before the network is asked again.
    pub(super) async fn pause(&self) {
        tokio::time::sleep(PAUSE).await;
    }

    fn explain(&self, row: &Row) {
        for (name, value) in why::facts(row).iter().skip(2) {
            self.more(format!("{name:8} {value}"));
        }
        for cause in row.causes.iter().take(3) {
            for line in why::explain(cause).lines().take(2) {
                self.more(line.trim_start());
            }
        }
    }

    /// The first statement from `epoch` on in which the cheat lost stake.
    async fn caught(&self, cheat: u8, mut epoch: Epoch) -> anyhow::Result<(Statement, Row)> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.network.ledger.final_epoch(self.network.id).await? < Some(epoch) {
                self.pause().await;
                continue;
            }
            let statement = self.network.statement(epoch).await?;
            let row = statement.row(device(cheat).id()).cloned();
            if let Some(row) = row.filter(|row| !row.slashed.is_zero()) {
                return Ok((statement, row));
            }
            epoch = epoch.next();
        }
        Err(Failure::Check(format!("agent-{cheat} was not slashed within {PATIENCE:?}")).into())
    }
}

/// Removes all shard files of an agent; how many, and how large.
fn delete_shards(agent: &Path) -> anyhow::Result<(usize, u64)> {
    let (mut count, mut bytes) = (0, 0);
    let mut folders = vec![agent.join("shards")];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
                continue;
            }
            bytes += entry.metadata()?.len();
            count += 1;
            fs::remove_file(entry.path())?;
        }
    }
    Ok((count, bytes))
}
