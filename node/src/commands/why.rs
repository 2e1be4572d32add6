//! `wayleave why`: the reasons behind a device's row, with the evidence.

use super::{names, network::Network};
use crate::{cli::Why, exit::Failure, out, units};
use protocol::{
    Epoch,
    statement::{Cause, Row},
};
use serde_json::json;

/// Shows a device's row of an epoch.
pub(crate) async fn run(why: &Why, json: bool) -> anyhow::Result<()> {
    let network = Network::connect(&why.ledger).await?;
    let device = names::device(&why.device, network.ledger.chain_id())?;
    let epoch = match why.epoch {
        Some(epoch) => Epoch(epoch),
        None => network.latest().await?,
    };
    let statement = network.statement(epoch).await?;
    let row = statement.row(device).ok_or_else(|| {
        Failure::NotFound(format!("{device} was not on the roster of epoch {epoch}"))
    })?;
    if json {
        return out::json(&json!({ "epoch": epoch, "row": row }));
    }
    out::line(format!("{} in epoch {epoch}", why.device));
    out::table(&facts(row));
    for cause in &row.causes {
        out::line(explain(cause));
    }
    Ok(())
}

/// The figures of a row.
pub(crate) fn facts(row: &Row) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    vec![
        fact("device", row.device.to_string()),
        fact("owner", row.owner.to_string()),
        fact("proven", units::bytes(row.units)),
        fact(
            "duties",
            format!("{} of {} met, quality {}", row.duties_met, row.duties_due, row.quality),
        ),
        fact("paid", format!("{} by customers, {} of it to the owner", row.paid, row.earned)),
        fact("tokens", format!("{} top-up, {} bootstrap", row.top_up, row.bootstrap)),
        fact("slashed", format!("{} tokens", row.slashed)),
    ]
}

/// One reason in a line or more.
pub(crate) fn explain(cause: &Cause) -> String {
    let rail = cause.rail.map(|rail| format!(" rail {rail}")).unwrap_or_default();
    let duty = cause.duty.map(|duty| format!(" duty {duty}")).unwrap_or_default();
    let mut text = format!("  {}{rail}{duty}: {}", cause.reason, cause.reason.text());
    for digest in cause.evidence.iter().take(3) {
        text.push_str(&format!("\n    evidence {digest}"));
    }
    if cause.evidence.len() > 3 {
        text.push_str(&format!("\n    and {} more", cause.evidence.len() - 3));
    }
    text
}
