//! What the storage agent asks of the ledger beyond what every agent does.

use agent::LedgerError;
use client::{CallError, Client};
use futures::future::BoxFuture;
use protocol::{Account, DeviceId, NetworkId, RailId, inputs::Rail, manifest::KindTerms};
use storage_kind::STORAGE;

/// The ledger as a storage agent needs it.
pub trait Chain: Send + Sync + 'static {
    /// A rail, if there is one of this number.
    fn rail(&self, rail: RailId) -> BoxFuture<'_, Result<Option<Rail>, LedgerError>>;

    /// Who owns a device, if it is registered.
    fn owner(&self, device: DeviceId) -> BoxFuture<'_, Result<Option<Account>, LedgerError>>;

    /// What the network's manifest says of storage now, if anything.
    fn terms(&self, network: NetworkId) -> BoxFuture<'_, Result<Option<KindTerms>, LedgerError>>;
}

impl Chain for Client {
    fn rail(&self, rail: RailId) -> BoxFuture<'_, Result<Option<Rail>, LedgerError>> {
        Box::pin(async move { found(Self::rail(self, rail).await) })
    }

    fn owner(&self, device: DeviceId) -> BoxFuture<'_, Result<Option<Account>, LedgerError>> {
        Box::pin(
            async move { Ok(found(Self::device(self, device).await)?.map(|record| record.owner)) },
        )
    }

    fn terms(&self, network: NetworkId) -> BoxFuture<'_, Result<Option<KindTerms>, LedgerError>> {
        Box::pin(async move {
            let epoch = self.current_epoch().await?;
            let manifest = found(self.manifest(network, epoch).await)?;
            Ok(manifest.and_then(|manifest| manifest.terms(STORAGE).copied()))
        })
    }
}

/// A contract refuses what it does not know.
fn found<T>(answer: Result<T, CallError>) -> Result<Option<T>, LedgerError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(CallError::Reverted(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
