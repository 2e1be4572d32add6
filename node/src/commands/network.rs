//! One network as the reading commands see it: the ledger, and statements checked against it.

use crate::{cli, exit::Failure, http::Http};
use anyhow::Context as _;
use client::Client;
use protocol::{Epoch, NetworkId, statement::Statement};

/// A network and where it answers.
#[derive(Debug)]
pub(crate) struct Network {
    /// The ledger.
    pub(crate) ledger: Client,
    /// The network.
    pub(crate) id: NetworkId,
    http: Http,
    validator: String,
}

impl Network {
    /// Connects to the ledger.
    pub(crate) async fn connect(at: &cli::Ledger) -> anyhow::Result<Self> {
        let ledger = at.connect().await?;
        Ok(Self {
            ledger,
            id: NetworkId(at.network),
            http: Http::new(),
            validator: at.http().to_owned(),
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
        let url = format!("{}/v1/statement/{}/{epoch}", self.validator, self.id);
        let bytes = self.http.get(&url).await?;
        let statement = Statement::from_bytes(&bytes).with_context(|| format!("reading {url}"))?;
        if statement.digest().0 != outcome.statement.0 {
            return Err(Failure::Check(format!(
                "{url} is not the statement that the ledger made final for epoch {epoch}"
            ))
            .into());
        }
        Ok(statement)
    }
}
