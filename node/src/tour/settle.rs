//! Steps 6 to 9: an operator's statement, the customer's invoice, the epoch verified, the claim.

use super::{Tour, cast::Cast};
use crate::{
    commands::{claim, statement, verify},
    devnet::accounts::Accounts,
};
use anyhow::Context as _;

impl Tour {
    /// Shows an honest operator's statement and the customer's invoice.
    pub(super) async fn statements(&self, cast: &Cast) -> anyhow::Result<()> {
        let accounts = Accounts::derive(self.running.agents)?;
        let name = format!("operator-{}", cast.honest);
        let operator = accounts.by_name(&name).context("the devnet has no such operator")?;
        let latest = self.network.statement(self.network.latest().await?).await?;
        let summary = statement::summary(&self.network, &latest, operator.account()).await?;
        self.say(
            "Earned",
            format!(
                "{name} has {} and {} tokens ({} vested) up to epoch {}",
                summary.earned, summary.granted, summary.vested, summary.epoch
            ),
        );
        let invoice =
            statement::summary(&self.network, &latest, accounts.customer.account()).await?;
        self.say("Invoice", format!("the customer owes {} in all", invoice.spent));
        for line in &invoice.invoice {
            self.more(format!(
                "rail {:<2} storage {:>12}  retrieval {:>12}",
                line.rail,
                line.by_rate.to_string(),
                line.by_voucher.to_string()
            ));
        }
        Ok(())
    }

    /// Recomputes the latest epoch from the archive alone.
    pub(super) async fn verify(&self) -> anyhow::Result<()> {
        let epoch = self.network.latest().await?;
        let archive = verify::open(self.home.path(), Some(&self.home.archive()))?;
        let checked = verify::verify(&self.network, &archive, epoch).await?;
        self.say(
            "Verified",
            format!(
                "epoch {epoch} recomputed from {} envelopes in {} ms; the root is the ledger's",
                checked.envelopes, checked.milliseconds
            ),
        );
        self.more(format!("root {}", checked.root));
        Ok(())
    }

    /// Claims the honest operator's pay, once the first paid epoch can be claimed.
    pub(super) async fn claim(&self, cast: &Cast) -> anyhow::Result<()> {
        let accounts = Accounts::derive(self.running.agents)?;
        let name = format!("operator-{}", cast.honest);
        let operator = accounts.by_name(&name).context("the devnet has no such operator")?;
        let mut told = false;
        while claim::due(&self.network, operator.account())
            .await?
            .is_none_or(|due| due.dollars.is_zero())
        {
            if !told {
                self.more("waiting: an epoch can be claimed when its dispute window is over");
                told = true;
            }
            self.pause().await;
        }
        let paid = claim::claim(&self.network, &operator.signer, operator.account()).await?;
        self.say(
            "Claimed",
            format!(
                "{name} received {} and {} tokens by Merkle proof against the root of epoch {}",
                paid.dollars, paid.tokens, paid.epoch
            ),
        );
        self.more(format!("transaction {}", paid.transaction));
        Ok(())
    }
}
