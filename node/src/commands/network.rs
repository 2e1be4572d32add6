//! One network as the reading commands see it: the ledger, and statements checked against it.

use crate::{cli, exit::Failure, http::Http};
use anyhow::Context as _;
use client::Client;
use protocol::{Epoch, NetworkId, statement::Statement};
use serde::{Deserialize, Serialize};
use validator::settle::decides;

/// A decided epoch that a node does not build upon, since its replay gives another statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    network: NetworkId,
    /// The epoch.
    pub(crate) epoch: Epoch,
    decided: String,
    replayed: String,
    /// In how many fields the two differ, if that is known.
    pub(crate) differences: Option<u64>,
}

/// What is read of a node's status.
#[derive(Deserialize)]
struct NodeStatus {
    #[serde(default)]
    refused: Vec<Refused>,
}

/// A network and where it answers.
#[derive(Debug)]
pub(crate) struct Network {
    /// The ledger.
    pub(crate) ledger: Client,
    /// The network.
    pub(crate) id: NetworkId,
    http: Http,
    validators: Vec<String>,
}

impl Network {
    /// Connects to the ledger.
    pub(crate) async fn connect(at: &cli::Ledger) -> anyhow::Result<Self> {
        let ledger = at.connect().await?;
        Ok(Self {
            ledger,
            id: NetworkId(at.network),
            http: Http::new(),
            validators: at.validators().map(str::to_owned).collect(),
        })
    }

    /// The latest final epoch.
    ///
    /// # Errors
    /// [`Failure::NotFound`] before the first one.
    pub(crate) async fn latest(&self) -> anyhow::Result<Epoch> {
        self.ledger.final_epoch(self.id).await?.ok_or_else(|| {
            Failure::NotFound(format!(
                "network {} has no settled epoch yet; the first comes after the end of epoch 1",
                self.id
            ))
            .into()
        })
    }

    /// The statement of an epoch, checked against what the ledger made final.
    pub(crate) async fn statement(&self, epoch: Epoch) -> anyhow::Result<Statement> {
        let outcome = self.ledger.outcome(self.id, epoch).await?.ok_or_else(|| {
            Failure::NotFound(format!("epoch {epoch} of network {} is not settled", self.id))
        })?;
        let url = format!("{}/v1/statement/{}/{epoch}", self.validator(), self.id);
        let bytes = self.http.get(&url).await?;
        let statement = Statement::from_bytes(&bytes).with_context(|| format!("reading {url}"))?;
        if !decides(&outcome, &statement) {
            return Err(Failure::Check(format!(
                "the statement at {url} does not give what the ledger made final for epoch {epoch}"
            ))
            .into());
        }
        Ok(statement)
    }

    /// The newest statement that a validator has and the ledger decided, if there is one.
    pub(crate) async fn newest(&self) -> anyhow::Result<Option<Statement>> {
        let url = format!("{}/v1/statement/{}/newest", self.validator(), self.id);
        let Ok(bytes) = self.http.get(&url).await else { return Ok(None) };
        let statement = Statement::from_bytes(&bytes).with_context(|| format!("reading {url}"))?;
        let outcome = self.ledger.outcome(self.id, statement.epoch).await?;
        let decided = outcome.is_some_and(|outcome| decides(&outcome, &statement));
        Ok(decided.then_some(statement))
    }

    /// A statement of an epoch that is `wanted`, from the first validator that has it.
    pub(crate) async fn find(
        &self,
        epoch: Epoch,
        wanted: impl Fn(&Statement) -> bool,
    ) -> Option<Statement> {
        for validator in &self.validators {
            let url = format!("{validator}/v1/statement/{}/{epoch}", self.id);
            let Ok(bytes) = self.http.get(&url).await else { continue };
            if let Some(found) = Statement::from_bytes(&bytes).ok().filter(&wanted) {
                return Some(found);
            }
        }
        None
    }

    /// What the node behind the first HTTP refuses of this network.
    pub(crate) async fn refused(&self) -> anyhow::Result<Option<Refused>> {
        let url = format!("{}/v1/status", self.validator());
        let bytes = self.http.get(&url).await?;
        let status: NodeStatus =
            serde_json::from_slice(&bytes).with_context(|| format!("reading {url}"))?;
        Ok(status.refused.into_iter().find(|refused| refused.network == self.id))
    }

    fn validator(&self) -> &str {
        self.validators.first().map_or("", String::as_str)
    }
}
