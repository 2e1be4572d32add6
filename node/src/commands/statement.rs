//! `wayleave statement`: what an account earned, spent and may claim; for a payer, the invoice.

use super::{names, network::Network};
use crate::{cli, exit::Failure, out, units};
use protocol::{Account, Micros, Tokens, statement::Statement};
use serde::Serialize;

/// What an account gained and owes.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// The account.
    pub(crate) account: Account,
    /// The epoch of the statement.
    pub(crate) epoch: u64,
    /// Tokens vested and granted so far.
    pub(crate) vested: Tokens,
    /// Tokens granted, vested or not.
    pub(crate) granted: Tokens,
    /// Dollars earned in cash.
    pub(crate) earned: Micros,
    /// Dollars spent.
    pub(crate) spent: Micros,
    /// Stake lost.
    pub(crate) slashed: Tokens,
    /// Tokens that can be claimed.
    pub(crate) claimable_tokens: Tokens,
    /// Dollars that can be claimed.
    pub(crate) claimable_dollars: Micros,
    /// The rails it pays: the invoice.
    pub(crate) invoice: Vec<Line>,
}

/// One rail of an invoice.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// The rail.
    pub(crate) rail: u64,
    /// Who was paid.
    pub(crate) payee: Account,
    /// For proven storage.
    pub(crate) by_rate: Micros,
    /// For retrieval, by voucher.
    pub(crate) by_voucher: Micros,
    /// The most the rail can pay.
    pub(crate) limit: Micros,
}

/// Shows an account.
pub(crate) async fn run(arguments: &cli::Statement, json: bool) -> anyhow::Result<()> {
    let network = Network::connect(&arguments.ledger).await?;
    let account = names::account(&arguments.account, network.ledger.chain_id())?;
    let statement = network.statement(network.latest().await?).await?;
    let summary = summary(&network, &statement, account).await?;
    if json {
        return out::json(&summary);
    }
    print(&arguments.account, &summary);
    Ok(())
}

/// What `statement` says of `account`.
pub(crate) async fn summary(
    network: &Network,
    statement: &Statement,
    account: Account,
) -> anyhow::Result<Summary> {
    let state = statement.account(account).ok_or_else(|| {
        Failure::NotFound(format!("{account} neither earned nor spent in network {}", network.id))
    })?;
    let leaf = state.leaf(network.id, statement.epoch);
    let (tokens, cash) = network.ledger.claimed(network.id, account).await?;
    let mut invoice = Vec::new();
    for paid in &statement.rails {
        let rail = network.ledger.rail(paid.rail).await?;
        if rail.payer == account {
            invoice.push(Line {
                rail: paid.rail.0,
                payee: rail.payee,
                by_rate: paid.by_rate,
                by_voucher: paid.by_voucher,
                limit: rail.limit,
            });
        }
    }
    Ok(Summary {
        account,
        epoch: statement.epoch.0,
        vested: leaf.vested,
        granted: state.granted(),
        earned: leaf.earned.cash,
        spent: leaf.spent,
        slashed: leaf.slashed,
        claimable_tokens: leaf.vested.saturating_sub(tokens),
        claimable_dollars: leaf.earned.cash.saturating_sub(cash),
        invoice,
    })
}

/// Prints a summary for people.
pub(crate) fn print(name: &str, summary: &Summary) {
    out::line(format!("{name} up to epoch {}", summary.epoch));
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![fact("account", summary.account.to_string())];
    // An account that only spends has nothing to say of earnings, any other does, though it be nothing.
    if summary.earned.0 > 0 || summary.granted.0 > 0 || summary.invoice.is_empty() {
        facts.extend([
            fact(
                "earned",
                format!("{}, {} not yet claimed", summary.earned, summary.claimable_dollars),
            ),
            fact(
                "tokens",
                format!(
                    "{} granted, {} vested, {} not yet claimed",
                    summary.granted, summary.vested, summary.claimable_tokens
                ),
            ),
            fact("slashed", format!("{} tokens", summary.slashed)),
        ]);
    }
    if !summary.invoice.is_empty() {
        facts.push(fact("spent", summary.spent.to_string()));
    }
    out::table(&facts);
    out::rows_of(&summary.invoice.iter().map(row).collect::<Vec<_>>());
}

fn row(line: &Line) -> [String; 4] {
    [
        format!("rail {}", line.rail),
        format!("to {}", units::short(&line.payee)),
        format!("storage {}", line.by_rate),
        format!("retrieval {}", line.by_voucher),
    ]
}
