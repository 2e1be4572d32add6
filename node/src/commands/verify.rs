//! `wayleave verify-epoch`: an epoch recomputed from the archive alone and compared with the ledger; where the
//! two differ, or the epoch is disputed, the rows in which they do.

use super::network::Network;
use crate::{cli::VerifyEpoch, exit::Failure, home::Home, out};
use alloy_primitives::B256;
use anyhow::Context as _;
use contracts::{
    abi::{ISettlements, Outcome},
    address,
};
use evidence::Archive;
use protocol::{Digest, Epoch, statement::Statement};
use serde::Serialize;
use settlement::{Differences, Settled, differences};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use validator::settle::{choice, outcome};

/// How many rows are printed for people; `--json` has more.
const SHOWN: usize = 40;

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Checked {
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// The hash of the inputs file.
    pub(crate) inputs: Digest,
    /// The hash of the statement.
    pub(crate) statement: Digest,
    /// The root over the accounts.
    pub(crate) root: String,
    /// Envelopes replayed.
    pub(crate) envelopes: usize,
    /// Authors of batches at fault.
    pub(crate) authors: usize,
    /// How long it took.
    pub(crate) milliseconds: u128,
}

/// What an archive gives for an epoch, and what the ledger has of it.
pub(crate) struct Replay {
    /// What the archive gives.
    pub(crate) settled: Settled,
    /// What the ledger decided, unless the epoch is open.
    pub(crate) decided: Option<Outcome>,
    checked: Checked,
}

/// A statement that is not what the archive gives.
#[derive(Debug, Serialize)]
struct Other {
    /// Whose it is.
    of: &'static str,
    /// In how many fields they differ; nothing if nobody who was asked has that statement.
    count: Option<u64>,
    rows: Vec<Difference>,
}

/// A field in which they differ.
#[derive(Debug, Serialize)]
struct Difference {
    row: String,
    field: &'static str,
    /// What the archive gives.
    archive: Option<String>,
    /// What the other statement says.
    other: Option<String>,
}

/// Checks an epoch.
pub(crate) async fn run(root: &Path, arguments: &VerifyEpoch, json: bool) -> anyhow::Result<()> {
    let network = Network::connect(&arguments.ledger).await?;
    let archive = open(root, arguments.archive.as_ref())?;
    let epoch = Epoch(arguments.epoch);
    let replay = replay(&network, &archive, epoch).await?;
    let others = replay.others(&network, &archive).await?;
    if others.is_empty() {
        if replay.decided.is_none() {
            return Err(undecided(&network, epoch).into());
        }
        return if json { report(&replay.checked, &[]) } else { replay.checked.print() };
    }
    if json {
        report(&replay.checked, &others)?;
    } else {
        others.iter().for_each(Other::print);
    }
    let of: Vec<_> = others.iter().map(|other| other.of).collect();
    Err(Failure::Check(format!("epoch {epoch}: the archive does not give {}", of.join(", nor ")))
        .into())
}

/// Prints as JSON what the archive gives, and what it does not.
fn report(replayed: &Checked, differs: &[Other]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Report<'a> {
        #[serde(flatten)]
        replayed: &'a Checked,
        differs: &'a [Other],
    }
    out::json(&Report { replayed, differs })
}

/// The archive in a folder, the devnet's if none is given.
pub(crate) fn open(root: &Path, folder: Option<&PathBuf>) -> anyhow::Result<Archive> {
    let folder = folder.cloned().unwrap_or_else(|| Home::devnet(root).archive());
    if !folder.exists() {
        let text = format!("no archive at {}: give its folder with --archive", folder.display());
        return Err(Failure::NotFound(text).into());
    }
    Ok(Archive::open(&folder)?)
}

fn undecided(network: &Network, epoch: Epoch) -> Failure {
    Failure::NotFound(format!("epoch {epoch} of network {} is not settled", network.id))
}

/// Recomputes an epoch from `archive`, on what the ledger decided before.
pub(crate) async fn replay(
    network: &Network,
    archive: &Archive,
    epoch: Epoch,
) -> anyhow::Result<Replay> {
    let ledger = &network.ledger;
    let decided = ledger.outcome(network.id, epoch).await?;
    if decided.is_none() && !is_disputed(network, epoch).await?.2 {
        return Err(undecided(network, epoch).into());
    }
    let base = match ledger.final_before(network.id, epoch).await? {
        Some(before) => {
            let outcome = ledger.outcome(network.id, before).await?;
            outcome.context("a decided epoch was opened again; try once more")?.statement.into()
        }
        None => Statement::genesis(ledger.chain_id(), network.id).digest(),
    };
    let began = Instant::now();
    let (settled, envelopes) = validator::replay_epoch(archive, (network.id, epoch), base)
        .await
        .map_err(|error| Failure::Check(format!("epoch {epoch} does not verify: {error}")))?;
    let checked = Checked {
        epoch,
        inputs: settled.statement.inputs,
        statement: settled.statement.digest(),
        root: settled.tree.root().to_string(),
        envelopes,
        authors: settled.statement.authors.len(),
        milliseconds: began.elapsed().as_millis(),
    };
    Ok(Replay { settled, decided, checked })
}

/// The choices of an epoch's dispute, the decided and the dissenter's, and whether it is open.
async fn is_disputed(network: &Network, epoch: Epoch) -> anyhow::Result<(B256, B256, bool)> {
    let call = ISettlements::disputeOfCall { network: network.id.0, epoch: epoch.0 };
    let dispute = network.ledger.call(address::SETTLEMENTS, call).await?;
    Ok((dispute.disputed, dispute.choice, dispute.open))
}

/// Recomputes a decided epoch and compares it with the ledger.
pub(crate) async fn verify(
    network: &Network,
    archive: &Archive,
    epoch: Epoch,
) -> anyhow::Result<Checked> {
    let replay = replay(network, archive, epoch).await?;
    match replay.agrees() {
        Some(true) => Ok(replay.checked),
        Some(false) => {
            Err(Failure::Check(format!("epoch {epoch}: the ledger's root is another one")).into())
        }
        None => Err(undecided(network, epoch).into()),
    }
}

impl Replay {
    /// Whether the archive gives what the ledger decided; nothing if it decided nothing.
    pub(crate) fn agrees(&self) -> Option<bool> {
        self.decided.as_ref().map(|decided| choice(decided) == choice(&outcome(&self.settled)))
    }

    /// All statements of the epoch that count and are not what the archive gives.
    async fn others(&self, network: &Network, archive: &Archive) -> anyhow::Result<Vec<Other>> {
        let (epoch, ours) = (self.checked.epoch, choice(&outcome(&self.settled)));
        let mut sides = Vec::new();
        match &self.decided {
            Some(decided) => sides.push(("what the ledger decided", choice(decided))),
            None => {
                let (disputed, dissent, _) = is_disputed(network, epoch).await?;
                sides.extend([("what is disputed", disputed), ("the dissent", dissent)]);
            }
        }
        let mut others = Vec::new();
        let there = archive.statement(network.id, epoch).await?;
        for (of, side) in sides.into_iter().filter(|(_, side)| *side != ours) {
            let wanted = |statement: &Statement| choice(&outcome(&settled(statement))) == side;
            let theirs = match there.clone().filter(&wanted) {
                Some(there) => Some(there),
                None => network.find(epoch, wanted).await,
            };
            others.push(Other::new(of, theirs.map(|theirs| self.differences(&theirs))));
        }
        if let Some(there) = there.filter(|there| *there != self.settled.statement) {
            others.push(Other::new("its own statement", Some(self.differences(&there))));
        }
        Ok(others)
    }

    fn differences(&self, theirs: &Statement) -> Differences {
        differences(&self.settled.statement, theirs)
    }
}

/// A statement with its tree.
fn settled(statement: &Statement) -> Settled {
    Settled { tree: statement.tree(), statement: statement.clone() }
}

impl Checked {
    fn print(&self) -> anyhow::Result<()> {
        out::line(format!(
            "epoch {} verifies: the archive gives what the ledger decided",
            self.epoch
        ));
        out::table(&[
            ("inputs".into(), self.inputs.to_string()),
            ("statement".into(), self.statement.to_string()),
            ("root".into(), self.root.clone()),
            ("authors at fault".into(), self.authors.to_string()),
            (
                "replayed".into(),
                format!("{} envelopes in {} ms", self.envelopes, self.milliseconds),
            ),
        ]);
        Ok(())
    }
}

impl Other {
    fn new(of: &'static str, found: Option<Differences>) -> Self {
        let count = found.as_ref().map(|found| found.count);
        let rows = found.map(|found| found.kept).unwrap_or_default().into_iter();
        let rows = rows.map(|one| Difference {
            row: one.subject.to_string(),
            field: one.field,
            archive: one.first,
            other: one.second,
        });
        Self { of, count, rows: rows.collect() }
    }

    fn print(&self) {
        let Some(count) = self.count else {
            out::line(format!(
                "the archive does not give {}, and no validator that was asked (--validator URL) has its statement",
                self.of
            ));
            return;
        };
        out::line(format!("the archive and {} differ in {count} fields:", self.of));
        let text = |says: &Option<String>| says.clone().unwrap_or_else(|| "no such row".into());
        for Difference { row, field, archive, other } in self.rows.iter().take(SHOWN) {
            out::line(format!("  {row}, {field}: {} here, {} there", text(archive), text(other)));
        }
        if self.rows.len() > SHOWN {
            out::line("  and more; --json lists them");
        }
    }
}
