//! The methods without a server: for who is in the same process, as a simulator is.
//!
//! What is asked goes through the same list of methods as over HTTP, with the same [`Limits`] on what a
//! method does; those on requests, answers and connections are the server's. What reads the disk is done
//! at once and on no other thread, so that the order of what happens does not depend on threads.

use crate::{
    methods,
    server::{Context, Limits, ServeError},
};
use consensus::Ledger;
use jsonrpsee::{
    RpcModule,
    core::params::ArrayParams,
    server::MethodsError,
    types::{ErrorObjectOwned, error::INTERNAL_ERROR_CODE, error::INVALID_PARAMS_CODE},
};
use serde_json::Value;

/// The methods over one ledger.
#[derive(Debug)]
pub struct Local(RpcModule<Context>);

impl Local {
    /// The methods over `ledger`.
    ///
    /// # Errors
    /// Never, unless two methods have one name.
    pub fn new(ledger: Ledger, limits: Limits) -> Result<Self, ServeError> {
        Ok(Self(methods::all(Context::new(ledger, limits, true))?))
    }

    /// Asks a method, with its parameters by position. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The error object that a caller over HTTP is answered with.
    pub async fn call(&self, method: &str, params: &[Value]) -> Result<Value, ErrorObjectOwned> {
        let failed = |code, error: String| ErrorObjectOwned::owned(code, error, None::<()>);
        let mut arguments = ArrayParams::new();
        for param in params {
            let inserted = arguments.insert(param);
            inserted.map_err(|error| failed(INVALID_PARAMS_CODE, error.to_string()))?;
        }
        self.0.call(method, arguments).await.map_err(|error| match error {
            MethodsError::JsonRpc(object) => object,
            error => failed(INTERNAL_ERROR_CODE, error.to_string()),
        })
    }

    /// The answer to one request, both JSON; nothing if that is no request.
    pub async fn answer(&self, request: &str) -> Option<String> {
        let (answer, _) = self.0.raw_json_request(request, 1).await.ok()?;
        Some(answer.get().to_owned())
    }
}
