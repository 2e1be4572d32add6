//! The validators an agent knows: over iroh where a key and address are known, else, or when that
//! fails, over HTTP.
//!
//! Nothing they say is taken on trust: inputs are checked against the hash on the ledger, an
//! acceptance against its signature and the envelope's digest.

use crate::{
    http::{Base, HttpError},
    state::Submitted,
};
use bytes::Bytes;
use evidence::wire::{self, Answer, Answers, Request, Response, Submit};
use futures::future::BoxFuture;
use protocol::{Digest, Epoch, Height, NetworkId, inputs::Inputs};
use std::{sync::Arc, time::Duration};
use transport::{Endpoint, Peer};

/// The largest inputs file that is fetched, in bytes.
pub const INPUTS_MAX: usize = 64 << 20;
/// Time for one submission.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a validator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// Its HTTP server, `http://host:port`.
    pub http: String,
    /// Its iroh endpoint, if known.
    pub peer: Option<Peer>,
}

/// Why inputs could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no validator gave the inputs: {0}")]
pub struct InputsError(String);

/// The validators as an agent needs them.
pub trait Validators: Send + Sync + 'static {
    /// How many there are. At least 1.
    fn count(&self) -> u64;

    /// The inputs of an epoch, whose file must hash to `expected`.
    fn inputs(
        &self,
        network: NetworkId,
        epoch: Epoch,
        expected: Digest,
    ) -> BoxFuture<'_, Result<Inputs, InputsError>>;

    /// Gives an envelope to one of them.
    fn submit(&self, validator: u64, envelope: Arc<[u8]>) -> BoxFuture<'_, Submitted>;

    /// Asks one of them whether a block carries an envelope: `None` if it cannot say.
    fn carried(&self, validator: u64, digest: Digest) -> BoxFuture<'_, Option<Option<Height>>>;
}

/// Validators over the network.
#[derive(Debug)]
pub struct Remote {
    chain_id: u64,
    endpoint: Endpoint,
    validators: Vec<(Base, Option<Peer>)>,
}

impl Remote {
    /// Speaks to `validators` through `endpoint`.
    ///
    /// # Errors
    /// When there is none, or the URL of one is malformed.
    pub fn new(
        chain_id: u64,
        endpoint: Endpoint,
        validators: &[Validator],
    ) -> Result<Self, HttpError> {
        let validators: Vec<_> = validators
            .iter()
            .map(|validator| Ok((Base::new(&validator.http)?, validator.peer)))
            .collect::<Result<_, HttpError>>()?;
        if validators.is_empty() {
            return Err(HttpError::Url("an empty list of validators".into()));
        }
        Ok(Self { chain_id, endpoint, validators })
    }

    fn validator(&self, number: u64) -> &(Base, Option<Peer>) {
        let count = self.validators.len();
        &self.validators[usize::try_from(number).unwrap_or(0) % count]
    }

    async fn ask(
        &self,
        peer: Peer,
        request: Request,
        body: Bytes,
    ) -> Result<(Response, Bytes), String> {
        let connection = self.endpoint.connection(peer, wire::ALPN);
        let (header, body) = connection
            .request_within(&request.to_bytes(), body, SUBMIT_TIMEOUT)
            .await
            .map_err(|error| error.to_string())?;
        Ok((Response::from_bytes(&header).map_err(|error| error.to_string())?, body))
    }

    async fn file(
        &self,
        (base, peer): &(Base, Option<Peer>),
        network: NetworkId,
        epoch: Epoch,
        expected: Digest,
    ) -> Result<Inputs, String> {
        let mut bytes = None;
        if let Some(peer) = peer
            && let Ok((Response::File, file)) =
                self.ask(*peer, Request::Inputs(network, epoch), Bytes::new()).await
        {
            bytes = Some(file);
        }
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => {
                let path = format!("/v1/inputs/{network}/{epoch}");
                let (status, bytes) =
                    base.get(&path, INPUTS_MAX).await.map_err(|error| error.to_string())?;
                if !status.is_success() {
                    return Err(format!("{path}: {status}"));
                }
                bytes
            }
        };
        if Digest::of(&bytes) != expected {
            return Err("the file is not the one whose hash is on the ledger".into());
        }
        Inputs::from_bytes(&bytes).map_err(|error| error.to_string())
    }

    async fn give(&self, number: u64, envelope: &[u8]) -> Result<Submitted, String> {
        let (base, peer) = self.validator(number);
        let body = Submit::new([envelope.to_vec()]).to_bytes();
        let mut answers = None;
        if let Some(peer) = peer {
            match self.ask(*peer, Request::Submit, body.clone().into()).await {
                Ok((Response::Answers, bytes)) => answers = Some(bytes),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "no iroh, trying http"),
            }
        }
        let answers = match answers {
            Some(bytes) => bytes,
            None => {
                let limit = wire::SUBMIT_MAX;
                let posted = base.post("/v1/evidence", wire::MEDIA_TYPE, body, limit).await;
                let (status, bytes) = posted.map_err(|error| error.to_string())?;
                if !status.is_success() {
                    return Err(format!("/v1/evidence: {status}"));
                }
                bytes
            }
        };
        let mut answers = Answers::from_bytes(&answers).map_err(|error| error.to_string())?.answers;
        match (answers.pop(), answers.is_empty()) {
            (Some(answer), true) => self.judge(&answer, Digest::of(envelope)),
            _ => Err("not one answer for one envelope".into()),
        }
    }

    fn judge(&self, answer: &Answer, digest: Digest) -> Result<Submitted, String> {
        let acceptance = match answer.accepted() {
            Ok(acceptance) => acceptance,
            Err(reason) => return Ok(Submitted::Refused(reason)),
        };
        if acceptance.digest != digest {
            return Err("the acceptance is for another envelope".into());
        }
        acceptance.verify(self.chain_id).map_err(|error| format!("acceptance: {error}"))?;
        Ok(Submitted::Accepted(acceptance.to_bytes()))
    }
}

impl Validators for Remote {
    fn count(&self) -> u64 {
        u64::try_from(self.validators.len()).unwrap_or(u64::MAX)
    }

    fn inputs(
        &self,
        network: NetworkId,
        epoch: Epoch,
        expected: Digest,
    ) -> BoxFuture<'_, Result<Inputs, InputsError>> {
        Box::pin(async move {
            let mut last = String::new();
            for validator in &self.validators {
                match self.file(validator, network, epoch, expected).await {
                    Ok(inputs) => return Ok(inputs),
                    Err(error) => last = error,
                }
            }
            Err(InputsError(last))
        })
    }

    fn submit(&self, validator: u64, envelope: Arc<[u8]>) -> BoxFuture<'_, Submitted> {
        Box::pin(async move {
            self.give(validator, &envelope).await.unwrap_or_else(Submitted::Unreachable)
        })
    }

    fn carried(&self, validator: u64, digest: Digest) -> BoxFuture<'_, Option<Option<Height>>> {
        Box::pin(async move {
            let path = format!("/v1/evidence/{digest}");
            let (status, bytes) = self.validator(validator).0.get(&path, 64).await.ok()?;
            match status.as_u16() {
                200 => Some(Some(Height(std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?))),
                404 => Some(None),
                _ => None,
            }
        })
    }
}
