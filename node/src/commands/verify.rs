//! `wayleave verify-epoch`: an epoch recomputed from the archive alone and compared with the ledger.

use super::network::Network;
use crate::{cli::VerifyEpoch, exit::Failure, home::Home, out};
use evidence::Archive;
use protocol::{Digest, Epoch};
use serde::Serialize;
use std::{path::Path, time::Instant};

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

/// Checks an epoch.
pub(crate) async fn run(root: &Path, arguments: &VerifyEpoch, json: bool) -> anyhow::Result<()> {
    let network = Network::connect(&arguments.ledger).await?;
    let archive = match &arguments.archive {
        Some(folder) => folder.clone(),
        None => Home::devnet(root).archive(),
    };
    let checked = verify(&network, &archive, Epoch(arguments.epoch)).await?;
    if json {
        return out::json(&checked);
    }
    out::line(format!(
        "epoch {} verifies: the archive gives what the ledger made final",
        checked.epoch
    ));
    out::table(&[
        ("inputs".into(), checked.inputs.to_string()),
        ("statement".into(), checked.statement.to_string()),
        ("root".into(), checked.root),
        ("authors at fault".into(), checked.authors.to_string()),
        (
            "replayed".into(),
            format!("{} envelopes in {} ms", checked.envelopes, checked.milliseconds),
        ),
    ]);
    Ok(())
}

/// Recomputes an epoch from `archive` and compares inputs, statement and root with the ledger's.
pub(crate) async fn verify(
    network: &Network,
    archive: &Path,
    epoch: Epoch,
) -> anyhow::Result<Checked> {
    let outcome = network.ledger.outcome(network.id, epoch).await?.ok_or_else(|| {
        Failure::NotFound(format!("epoch {epoch} of network {} is not settled", network.id))
    })?;
    if !archive.exists() {
        return Err(Failure::NotFound(format!(
            "no archive at {}: give its folder with --archive",
            archive.display()
        ))
        .into());
    }
    let archive = Archive::open(archive)?;
    let began = Instant::now();
    let verified = validator::verify_epoch(&archive, network.id, epoch)
        .await
        .map_err(|error| Failure::Check(format!("epoch {epoch} does not verify: {error}")))?;
    for (what, ours, ledgers) in [
        ("inputs file", verified.inputs.0, outcome.inputs.0),
        ("statement", verified.statement.0, outcome.statement.0),
        ("root", verified.root.0, outcome.root.0),
    ] {
        if ours != ledgers {
            return Err(Failure::Check(format!(
                "epoch {epoch}: the archive's {what} is {}, the ledger's is {}",
                Digest(ours),
                Digest(ledgers)
            ))
            .into());
        }
    }
    Ok(Checked {
        epoch,
        inputs: verified.inputs,
        statement: verified.statement,
        root: verified.root.to_string(),
        envelopes: verified.envelopes,
        authors: verified.authors,
        milliseconds: began.elapsed().as_millis(),
    })
}
