//! The methods without a port: for whoever has the ledger in its own process.

use crate::{
    methods,
    server::{Context, Limits, ServeError},
};
use consensus::Ledger;
use jsonrpsee::RpcModule;

/// Answers requests of its own process. It counts no connections, batches or bytes: those are limits of the
/// server.
#[derive(Debug)]
pub struct Local(RpcModule<Context>);

impl Local {
    /// All methods over `ledger`.
    ///
    /// # Errors
    /// Two methods have one name: a fault of this program.
    pub fn new(ledger: Ledger, limits: Limits) -> Result<Self, ServeError> {
        Ok(Self(methods::all(Context::new(ledger, limits))?))
    }

    /// The answer to one request, both JSON; nothing if that is no request.
    pub async fn answer(&self, request: &str) -> Option<String> {
        let (answer, _) = self.0.raw_json_request(request, 1).await.ok()?;
        Some(answer.get().to_owned())
    }
}
