//! `wayleave status`: the network in one screen, and the figures of `up`'s status line.

use super::network::{Network, Refused};
use crate::{cli, exit::Failure, out, show, units};
use client::Client;
use contracts::{
    abi::{IDevices, ISettlements, IValidators},
    address,
};
use protocol::{Epoch, Micros, Reason, Tokens, statement::Statement};
use serde::Serialize;

/// The figures of a network.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// The newest block.
    pub(crate) height: u64,
    /// The epoch under way.
    pub(crate) epoch: Epoch,
    /// The latest settled epoch.
    pub(crate) settled: Option<Epoch>,
    /// The latest epoch whose pay can be claimed.
    pub(crate) claimable: Option<Epoch>,
    /// The epoch that is voted on again, if one is disputed.
    pub(crate) disputed: Option<Epoch>,
    /// What the ledger decided and the node that was asked does not build upon. The figures below are those
    /// of the newest epoch before it.
    pub(crate) refused: Option<Refused>,
    /// Devices registered.
    pub(crate) registered: u64,
    /// Devices heard from in the latest settled epoch.
    pub(crate) online: usize,
    /// Devices that met every duty in it.
    pub(crate) proven: usize,
    /// Devices that a customer paid in it.
    pub(crate) paying: usize,
    /// Bytes that agents must hold, all shards counted.
    pub(crate) stored: u64,
    /// Dollars paid by customers so far.
    pub(crate) paid: Micros,
    /// Dollars set aside to buy and burn tokens.
    pub(crate) to_burn: Micros,
    /// Tokens slashed so far.
    pub(crate) slashed: Tokens,
}

/// Shows the network.
pub(crate) async fn run(ledger: &cli::Ledger, json: bool) -> anyhow::Result<()> {
    let network = Network::connect(ledger).await?;
    let figures = figures(&network).await?;
    if json {
        out::json(&figures)?;
        return figures.verdict();
    }
    let name = network.ledger.network(network.id).await?.name;
    out::line(format!("network {} ({name}) on {}", network.id, ledger.rpc()));
    let fact = |name: &str, value: String| (name.to_owned(), value);
    out::table(&[
        fact("block", figures.height.to_string()),
        fact(
            "epoch",
            format!(
                "{}, settled up to {}, claimable up to {}",
                figures.epoch,
                number(figures.settled),
                number(figures.claimable)
            ),
        ),
        fact("trust", trust(&network.ledger).await?),
        fact("read", reading(&network.ledger)),
        fact(
            "devices",
            format!(
                "{} registered, {} online, {} proven, {} paid by a customer",
                figures.registered, figures.online, figures.proven, figures.paying
            ),
        ),
        fact("stored", units::bytes(figures.stored)),
        fact("paid", format!("{}, {} of it to burn", figures.paid, figures.to_burn)),
        fact("slashed", format!("{} tokens", figures.slashed)),
    ]);
    if let Some(epoch) = figures.disputed {
        out::line(format!(
            "epoch {epoch} is disputed: it is voted on again, and those after it wait"
        ));
    }
    figures.verdict()
}

/// Whose word the figures are.
fn reading(ledger: &client::Client) -> String {
    match ledger.trust() {
        Some(light) => format!("proven by the genesis file, as of block {}", light.height()),
        None => "on the endpoint's word; give the ledger's genesis file with --genesis".into(),
    }
}

/// Who has to be trusted, by the seats of the running term.
async fn trust(ledger: &Client) -> anyhow::Result<String> {
    let terms = ledger.call(address::VALIDATORS, IValidators::termsCall {}).await?;
    let all = IValidators::allSeatsCall { term: terms.current };
    Ok(match ledger.call(address::VALIDATORS, all).await? {
        1 => "founder-trusted: one validator decides alone".into(),
        seats => format!("a committee: more than two thirds of its {seats} seats decide"),
    })
}

fn number(epoch: Option<Epoch>) -> String {
    epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string())
}

/// The epoch under dispute: the one that is voted on next, as one dispute opens all epochs from its own on.
async fn disputed(network: &Network) -> anyhow::Result<Option<Epoch>> {
    let epoch = network.ledger.next_epoch(network.id).await?;
    let call = ISettlements::disputeOfCall { network: network.id.0, epoch: epoch.0 };
    let dispute = network.ledger.call(address::SETTLEMENTS, call).await?;
    Ok(dispute.open.then_some(epoch))
}

/// Reads the figures of a network.
pub(crate) async fn figures(network: &Network) -> anyhow::Result<Figures> {
    let ledger = &network.ledger;
    let height = ledger.head().await?;
    let count = IDevices::deviceCountCall { network: network.id.0 };
    let mut figures = Figures {
        height: height.0,
        epoch: ledger.current_epoch().await?,
        settled: ledger.final_epoch(network.id).await?,
        claimable: ledger.claimable_epoch(network.id).await?,
        disputed: disputed(network).await?,
        refused: network.refused().await?,
        registered: ledger.call(address::DEVICES, count).await?,
        stored: ledger.datasets(network.id, height).await?.iter().map(|set| set.bytes).sum(),
        ..Figures::default()
    };
    if figures.refused.is_some() {
        if let Some(statement) = network.newest().await? {
            figures.add(&statement);
        }
    } else if let Some(epoch) = figures.settled {
        figures.add(&network.statement(epoch).await?);
    }
    Ok(figures)
}

impl Figures {
    /// A failed check if the node refuses what the ledger decided.
    fn verdict(&self) -> anyhow::Result<()> {
        let Some(Refused { epoch, differences, .. }) = &self.refused else { return Ok(()) };
        let differ = differences.map_or_else(String::new, |count| format!(", in {count} fields"));
        Err(Failure::Check(format!(
            "the ledger decided epoch {epoch} otherwise than this node's replay gives{differ}: the node builds nothing on it; `wayleave verify-epoch {epoch}` shows the rows, and {}",
            self.remedy(*epoch)
        ))
        .into())
    }

    /// What can be done about an epoch that was decided falsely.
    fn remedy(&self, epoch: Epoch) -> String {
        if self.disputed.is_some_and(|disputed| disputed <= epoch) {
            "it is disputed already".into()
        } else if self.claimable >= Some(epoch) {
            "it is too late to dispute it, as it can be claimed".into()
        } else {
            format!("`wayleave dissent {epoch}` disputes it until it can be claimed")
        }
    }

    fn add(&mut self, statement: &Statement) {
        let silent = |row: &&protocol::statement::Row| {
            row.causes.iter().any(|cause| cause.reason == Reason::Silent)
        };
        self.online = statement.rows.iter().filter(|row| !silent(row)).count();
        let proven = |row: &&protocol::statement::Row| {
            row.duties_due > 0 && row.duties_met == row.duties_due
        };
        self.proven = statement.rows.iter().filter(proven).count();
        self.paying = statement.rows.iter().filter(|row| !row.paid.is_zero()).count();
        self.paid = statement.totals.spent;
        self.to_burn = statement.totals.to_burn;
        self.slashed = statement.totals.slashed;
    }
}

impl show::Figures for Figures {
    /// The status line of `up`.
    fn line(&self, columns: usize) -> String {
        let Self { height, epoch, registered, online, proven, paying, .. } = self;
        let Self { paid, to_burn, slashed, .. } = self;
        let stored = units::bytes(self.stored);
        let Some(settled) = self.settled else {
            let text = format!(
                "block {height} | epoch {epoch} | {registered} devices | what they proved shows when the epoch is settled"
            );
            return text.chars().take(columns).collect();
        };
        let devices = format!("{online} online, {proven} proven, {paying} paid");
        let lines = [
            format!(
                "block {height} | epoch {epoch}, settled {settled} | devices: {registered} registered, {devices} by a customer | stored {stored} | paid {paid} | to burn {to_burn} | slashed {slashed} tokens"
            ),
            format!(
                "block {height} | epoch {epoch} | devices: {registered}, {devices} | stored {stored} | paid {paid} | to burn {to_burn} | slashed {slashed}"
            ),
            format!(
                "block {height} | epoch {epoch} | {devices} | {stored} | paid {paid} | slashed {slashed}"
            ),
            format!("block {height} | {devices} | {stored} | {paid} | slashed {slashed}"),
        ];
        let fits = lines.iter().find(|line| line.chars().count() <= columns);
        fits.unwrap_or(&lines[3]).chars().take(columns).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use show::Figures as _;

    #[test]
    fn the_status_line_fits_and_leaves_out_the_least() {
        let figures = Figures {
            height: 1_234,
            epoch: Epoch(82),
            settled: Some(Epoch(80)),
            claimable: Some(Epoch(78)),
            disputed: None,
            refused: None,
            registered: 8,
            online: 8,
            proven: 7,
            paying: 6,
            stored: 86_402_000,
            paid: Micros(12_345),
            to_burn: Micros(1_234),
            slashed: Tokens::whole(14),
        };
        let remedy = |disputed, epoch| Figures { disputed, ..figures.clone() }.remedy(Epoch(epoch));
        assert!(remedy(None, 79).starts_with("`wayleave dissent 79`"));
        assert!(remedy(None, 78).starts_with("it is too late"));
        assert_eq!(remedy(Some(Epoch(79)), 79), "it is disputed already");
        let first = Figures { height: 12, registered: 8, ..Figures::default() };
        assert_eq!(
            first.line(100),
            "block 12 | epoch 0 | 8 devices | what they proved shows when the epoch is settled"
        );
        assert_eq!(first.line(9), "block 12 ");
        for columns in 0..300 {
            assert!(figures.line(columns).chars().count() <= columns, "{columns}");
        }
        assert_eq!(
            figures.line(300),
            "block 1234 | epoch 82, settled 80 | devices: 8 registered, 8 online, 7 proven, 6 paid by a customer | stored 82.3 MiB | paid $0.012345 | to burn $0.001234 | slashed 14 tokens"
        );
        assert_eq!(
            figures.line(79),
            "block 1234 | 8 online, 7 proven, 6 paid | 82.3 MiB | $0.012345 | slashed 14"
        );
    }
}
