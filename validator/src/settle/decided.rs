//! What the ledger decided, compared with the replay: a node that follows the ledger believes no root, with a
//! seat or without.
//!
//! A statement's hash is not all that is decided: claims are paid by the root beside it. So the whole outcome is
//! compared with what the statement gives.
//!
//! Epochs whose evidence is not all in the archive cannot be replayed: those before the block at which the
//! ledger was joined. Their newest statement is taken from another validator by the ledger's hash, as the
//! ledger's state was, and everything after it is replayed.

use super::{Base, Refusal, Replayed, Said, SettleEpochError, Settler, aside, choice, outcome};
use alloy_primitives::B256;
use client::{
    abi::{ISettlements, Outcome},
    address,
};
use protocol::{Epoch, Height, NetworkId, statement::Statement};
use settlement::{Differences, Settled, differences};
use tracing::error;

/// How many differences are logged.
const LOGGED: usize = 20;

impl Settler {
    /// The decided epoch on which `open` builds, and its statement; the network's beginning if there is none.
    pub(super) async fn base(
        &self,
        network: NetworkId,
        open: Epoch,
    ) -> Result<Base, SettleEpochError> {
        let client = &self.files.client;
        if let Some(before) = client.final_before(network, open).await?
            && let Some(outcome) = client.outcome(network, before).await?
        {
            let (epoch, statement) = (Some(before), outcome.statement.into());
            return Ok(Base { epoch, statement, choice: choice(&outcome) });
        }
        let statement = Statement::genesis(client.chain_id(), network).digest();
        Ok(Base { epoch: None, statement, choice: B256::ZERO })
    }

    /// Replays all that was decided before `open` and is not in the archive, and compares. False if not all
    /// of its evidence is recorded yet.
    pub(super) async fn agree(
        &self,
        network: NetworkId,
        (open, recorded): (Epoch, Height),
        said: &mut Said,
    ) -> Result<bool, SettleEpochError> {
        let client = &self.files.client;
        if let Some((epoch, refused, at)) = said.refused {
            let decided = client.outcome(network, epoch).await?;
            let stands = decided.is_some_and(|outcome| choice(&outcome) == refused);
            if stands && recorded.0.saturating_sub(at.0) < self.clock.length {
                return Err(SettleEpochError::Dissent { network, epoch });
            }
            // What was found before says nothing about the files as they are now.
            (said.refused, said.replayed) = (None, None);
            if !stands {
                self.relent(network);
            }
        }
        let mut previous = Statement::genesis(client.chain_id(), network);
        let (mut missed, mut next) = (Vec::new(), open);
        loop {
            let base = self.base(network, next).await?;
            let Some(before) = base.epoch else { break };
            let ours = self.files.archive.statement(network, before).await?;
            if let Some(statement) = ours
                && gives(&statement, base).await
            {
                previous = statement;
                break;
            }
            if self.clock.grace_end(before) >= recorded {
                return Ok(false);
            }
            if !self.records(before).await? {
                let there = self.files.statement(network, before, base.statement).await?;
                previous = there.ok_or(SettleEpochError::Missing("statement", before))?;
                if !gives(&previous, base).await {
                    return Err(self.refuse(&previous, (base, recorded), said).await);
                }
                break;
            }
            missed.push((before, base));
            next = before;
        }
        for (epoch, base) in missed.into_iter().rev() {
            previous = self.compare((epoch, base, recorded), previous, said).await?;
        }
        self.relent(network);
        Ok(true)
    }

    /// Replays an epoch that was decided as `decided`, and archives what that gives; an error if it is
    /// something else.
    async fn compare(
        &self,
        (epoch, decided, recorded): (Epoch, Base, Height),
        previous: Statement,
        said: &mut Said,
    ) -> Result<Statement, SettleEpochError> {
        let network = previous.network;
        let archive = &self.files.archive;
        let known = said.replayed.as_ref().filter(|known: &&Replayed| {
            (known.epoch, known.previous) == (epoch, previous.digest())
        });
        let there = archive.statement(network, epoch).await?;
        let ours = match there.filter(|there| known.is_some_and(|k| k.statement == there.digest()))
        {
            Some(statement) => statement,
            None => {
                let statement = self.replay(network, epoch, previous).await?.statement;
                archive.put_statement(&statement).await?;
                statement
            }
        };
        if gives(&ours, decided).await {
            tracing::info!(%epoch, "replayed an epoch that others decided");
            return Ok(ours);
        }
        Err(self.refuse(&ours, (decided, recorded), said).await)
    }

    /// Says that what was decided is not what this node replayed, and in what the statements differ if somebody
    /// has the decided one. They do not if root or totals alone are false.
    async fn refuse(
        &self,
        ours: &Statement,
        (base, recorded): (Base, Height),
        said: &mut Said,
    ) -> SettleEpochError {
        let Statement { network, epoch, .. } = *ours;
        said.refused = Some((epoch, base.choice, recorded));
        let (decided, replayed) = (base.statement, ours.digest());
        let wanted = |there: &Statement| there.digest() == decided;
        let differ = self.files.statement_where(network, epoch, wanted).await.map(|theirs| {
            let found = differences(ours, &theirs);
            log("the replay", "the ledger", &found);
            found.count
        });
        metrics::counter!("wayleave_settlement_dissents_total").increment(1);
        self.refusals.add(Refusal { network, epoch, decided, replayed, differences: differ });
        self.count_refusals();
        error!(
            %network, %epoch, %decided, %replayed,
            "the ledger decided something else than this node's replay gives: nothing is built on it; `wayleave verify-epoch {epoch}` shows the rows, and `wayleave dissent {epoch}` disputes it"
        );
        SettleEpochError::Dissent { network, epoch }
    }

    /// Nothing of a network is refused any more.
    fn relent(&self, network: NetworkId) {
        self.refusals.clear(network);
        self.count_refusals();
    }

    fn count_refusals(&self) {
        metrics::gauge!("wayleave_settlement_refused_networks")
            .set(f64::from(self.refusals.count()));
    }

    /// Says in what the two sides of a dispute about a replayed epoch differ, if it is disputed and somebody
    /// has the statement that is not ours. Our rows are in the archive, for anybody to fetch.
    pub(super) async fn dispute(
        &self,
        network: NetworkId,
        settled: &Settled,
    ) -> Result<(), SettleEpochError> {
        let (epoch, ours) = (settled.statement.epoch, choice(&outcome(settled)));
        let call = ISettlements::disputeOfCall { network: network.0, epoch: epoch.0 };
        let dispute = self.files.client.call(address::SETTLEMENTS, call).await?;
        if !dispute.open {
            return Ok(());
        }
        metrics::counter!("wayleave_settlement_disputes_total").increment(1);
        let upholds = ours == dispute.choice;
        tracing::warn!(
            %network, %epoch, dissenter = %dispute.dissenter, upholds,
            "an epoch is disputed and was replayed again"
        );
        for (side, choice_of) in
            [("what was decided", dispute.disputed), ("the dissent", dispute.choice)]
        {
            if choice_of == ours {
                continue;
            }
            let wanted = |there: &Statement| choice(&of_statement(there)) == choice_of;
            match self.files.statement_where(network, epoch, wanted).await {
                Some(theirs) => log("the replay", side, &differences(&settled.statement, &theirs)),
                None => tracing::warn!(%epoch, "nobody who was asked has the statement of {side}"),
            }
        }
        Ok(())
    }
}

/// Whether a statement gives what was decided, its root and totals too.
async fn gives(statement: &Statement, decided: Base) -> bool {
    if statement.digest() != decided.statement {
        return false;
    }
    let statement = statement.clone();
    aside(move || choice(&Outcome::from(&statement)) == decided.choice).await
}

/// What a vote for a statement would be for.
fn of_statement(statement: &Statement) -> client::abi::Outcome {
    outcome(&Settled { tree: statement.tree(), statement: statement.clone() })
}

fn log(first: &str, second: &str, found: &Differences) {
    let nothing = || "nothing".to_owned();
    for one in found.kept.iter().take(LOGGED) {
        let says = [&one.first, &one.second].map(|text| text.clone().unwrap_or_else(nothing));
        tracing::warn!(subject = %one.subject, field = one.field, "{first} says {}, {second} {}", says[0], says[1]);
    }
    let more = found.count.saturating_sub(u64::try_from(LOGGED).unwrap_or(u64::MAX));
    if more > 0 {
        tracing::warn!(more, "further differences are not logged");
    }
}
