//! Sending: a transaction ends *applied*, or with a named reason; never merely "sent".
//!
//! How a call becomes a receipt:
//! 1. **estimate** on the newest state: a call that would revert is refused here, by name, at no cost;
//! 2. **hand over** in the account's lane ([`crate::nonce`]): number, sign (EIP-1559), submit. From now
//!    on the hash is fixed, and submitting the same bytes again can apply them once at most;
//! 3. **watch** until a finalized block holds it. If the ledger forgot it (it restarted, its pool was
//!    full), the same bytes are handed over again. If another transaction took its number, which proves
//!    that this one never was and never will be applied, it is numbered and signed anew.
//!
//! From the first attempt to hand it over on, whatever goes wrong with the endpoint ends as
//! [`SendError::Unconfirmed`], which holds the signed bytes: [`Client::resume`] goes on with them. To send
//! the same intent again instead could apply it twice.
//!
//! For a client that trusts its endpoint with nothing, *applied* and *reverted* are proven. That a transaction
//! was *not* applied has no proof, so such a client never signs an intent again under another number because a
//! stranger says that its number is used up: that too ends as [`SendError::Unconfirmed`]. (A node on this
//! machine is no stranger.)
//!
//! All of this runs in a task of its own: a caller that stops waiting does not leave a gap in the
//! account's numbers.

use crate::{
    Client, Intent, Receipt, Revert,
    cost::{Cost, rejection},
    light::LightError,
    nonce::Lane,
    receipt::Wire,
    rpc::{Kind, RpcError},
};
use alloy_consensus::{
    SignableTransaction as _, Transaction as _, TxEip1559, TxEnvelope,
    transaction::SignerRecoverable as _,
};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{Address, B256, Bytes, TxKind, U64};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use protocol::Height;
use serde_json::json;
use std::{collections::VecDeque, time::Duration};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

/// How many transactions of one [`Client::send_many`] are under way at once.
pub const FLIGHT_MAX: usize = 64;
/// How many times a transaction is numbered anew before giving up.
const RENUMBER_MAX: u32 = 16;
/// How many looks without a receipt before the same bytes are handed over again.
const LOOKS_BEFORE_RESUBMIT: u32 = 10;

/// What nothing proves.
const DISPLACED: &str = "the endpoint says that its number is used up, and does not prove by what";

/// The key of an account that sends transactions.
pub type Signer = PrivateKeySigner;

/// Why a transaction was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It would revert now; nothing was sent and nothing paid.
    #[error("refused: {0}")]
    Refused(Revert),
    /// It is in a block and reverted there; its gas is paid.
    #[error("reverted in transaction {transaction}: {revert}")]
    Reverted {
        /// Its hash.
        transaction: B256,
        /// Why.
        revert: Revert,
    },
    /// The account cannot pay for value and gas.
    #[error("account {account} cannot pay for the transaction ({message}); send it some coin")]
    Funds {
        /// The account.
        account: Address,
        /// What the ledger said.
        message: String,
    },
    /// The ledger refused it for another reason.
    #[error("the ledger refused the transaction: {0}")]
    Rejected(String),
    /// It was handed over, or may have been, and is not known to be applied. It may still be:
    /// [`Client::resume`] goes on with `raw`.
    #[error("transaction {transaction} is not applied after {waited:?}; it may still be ({why})")]
    Unconfirmed {
        /// Its hash.
        transaction: B256,
        /// The signed transaction (EIP-2718 bytes).
        raw: Bytes,
        /// How long it was watched.
        waited: Duration,
        /// What was met last.
        why: String,
    },
    /// The endpoint names a price or tip beyond [`crate::Options::fee_max`] or [`crate::Options::tip_max`].
    #[error(
        "the ledger asks for {asked} for a unit of gas, over the limit of {limit}; nothing was sent"
    )]
    Fee {
        /// What the endpoint named.
        asked: u128,
        /// What is offered at most.
        limit: u128,
    },
    /// Nobody but the endpoint says which ledger it is.
    #[error(
        "nothing is signed for the chain id that {url} claims: name the ledger's own (--chain-id)"
    )]
    Chain {
        /// The endpoint.
        url: String,
    },
    /// The endpoint does not answer as it should.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The signature could not be made, or the runtime is shutting down.
    #[error("signing failed: {0}")]
    Sign(String),
}

impl SendError {
    /// The revert, if one is the reason.
    pub const fn revert(&self) -> Option<&Revert> {
        match self {
            Self::Refused(revert) | Self::Reverted { revert, .. } => Some(revert),
            _ => None,
        }
    }
}

/// A transaction that was handed over.
#[derive(Clone, Debug)]
struct Pending {
    nonce: u64,
    hash: B256,
    raw: Bytes,
}

impl Pending {
    /// The error of a transaction that may be with the ledger.
    fn unconfirmed(&self, start: Instant, why: impl ToString) -> SendError {
        SendError::Unconfirmed {
            transaction: self.hash,
            raw: self.raw.clone(),
            waited: start.elapsed(),
            why: why.to_string(),
        }
    }
}

/// How the ledger took a transaction.
enum Verdict {
    /// It has it now, or had it already.
    Taken,
    /// Its number is used up.
    Stale,
    /// Not now: the pool is full or a number before is missing.
    Later(String),
    /// Never.
    Never(SendError),
}

/// What one look for a receipt found.
enum Seen {
    Applied(Wire),
    Displaced,
    Nothing,
}

impl Client {
    /// Sends one call and waits until it is applied.
    ///
    /// Must be called in a tokio runtime. Giving up on the future does not take the transaction back.
    ///
    /// # Errors
    /// [`SendError`]; a revert names the contract's error.
    pub async fn send<C: SolCall>(
        &self,
        signer: &Signer,
        to: Address,
        call: &C,
    ) -> Result<Receipt, SendError> {
        self.send_intent(signer, Intent::call(to, call)).await
    }

    /// Sends any intent, calls of foreign contracts and transfers of coin included.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_intent(&self, signer: &Signer, intent: Intent) -> Result<Receipt, SendError> {
        let (task, _) = self.launch(signer, intent);
        outcome(task).await
    }

    /// Sends many intents of one account in this order, up to [`FLIGHT_MAX`] at once; each has its own
    /// result. One that would revert on the newest state is judged again once those before it are
    /// applied, so that an approval and the transfer that needs it can go together.
    pub async fn send_many(
        &self,
        signer: &Signer,
        intents: Vec<Intent>,
    ) -> Vec<Result<Receipt, SendError>> {
        let mut results = Vec::with_capacity(intents.len());
        let mut flight = VecDeque::new();
        for intent in intents {
            if flight.len() >= FLIGHT_MAX
                && let Some(task) = flight.pop_front()
            {
                results.push(outcome(task).await);
            }
            let (mut task, handed_over) = self.launch(signer, intent.clone());
            // The channel closes without a word when the transaction was refused before that.
            if handed_over.await.is_err() && !flight.is_empty() {
                while let Some(earlier) = flight.pop_front() {
                    results.push(outcome(earlier).await);
                }
                let refused = outcome(task).await;
                if matches!(refused, Err(SendError::Refused(_))) {
                    let (again, handed_over) = self.launch(signer, intent);
                    let _ = handed_over.await;
                    task = again;
                } else {
                    results.push(refused);
                    continue;
                }
            }
            flight.push_back(task);
        }
        for task in flight {
            results.push(outcome(task).await);
        }
        results
    }

    /// Goes on with a transaction that ended [`SendError::Unconfirmed`]: watches it, and hands the same
    /// bytes over again where the ledger does not have them.
    ///
    /// # Errors
    /// As [`Client::send`]; [`SendError::Rejected`] when `raw` is no transaction, or another one took its
    /// number, so that it never was and never will be applied.
    pub async fn resume(&self, raw: &Bytes) -> Result<Receipt, SendError> {
        let malformed = |_| SendError::Rejected("the bytes are no signed transaction".to_owned());
        let envelope = TxEnvelope::decode_2718_exact(raw.as_ref()).map_err(malformed)?;
        let account = envelope.recover_signer().map_err(|e| SendError::Rejected(e.to_string()))?;
        let intent = Intent {
            to: envelope.to().unwrap_or_default(),
            value: envelope.value(),
            input: envelope.input().clone(),
            gas: 0,
        };
        let (nonce, hash) = (envelope.nonce(), *envelope.tx_hash());
        let pending = Pending { nonce, hash, raw: raw.clone() };
        let start = Instant::now();
        match self.watch(account, &intent, &pending, start).await? {
            Some(receipt) => Ok(receipt),
            None if !self.may_renumber() => Err(pending.unconfirmed(start, DISPLACED)),
            None => Err(SendError::Rejected("another transaction took its number".to_owned())),
        }
    }

    /// Whether the endpoint's word suffices that a transaction's number went to another one.
    fn may_renumber(&self) -> bool {
        self.trusted().is_none() || self.is_local()
    }

    /// Starts the task of one transaction, and tells when it was handed over.
    fn launch(
        &self,
        signer: &Signer,
        intent: Intent,
    ) -> (JoinHandle<Result<Receipt, SendError>>, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let (client, signer) = (self.clone(), signer.clone());
        let task = tokio::spawn(async move { client.drive(&signer, &intent, sender).await });
        (task, receiver)
    }

    async fn drive(
        &self,
        signer: &Signer,
        intent: &Intent,
        handed_over: oneshot::Sender<()>,
    ) -> Result<Receipt, SendError> {
        let start = Instant::now();
        let cost = self.estimate(signer.address(), intent).await?;
        let mut pending = self.hand_over(signer, intent, cost, start).await?;
        let _ = handed_over.send(());
        for _ in 0..RENUMBER_MAX {
            tracing::debug!(transaction = %pending.hash, nonce = pending.nonce, "handed over");
            match self.watch(signer.address(), intent, &pending, start).await? {
                Some(receipt) => return Ok(receipt),
                None if !self.may_renumber() => return Err(pending.unconfirmed(start, DISPLACED)),
                None => pending = self.hand_over(signer, intent, cost, start).await?,
            }
        }
        Err(SendError::Rejected("other transactions keep taking its number".to_owned()))
    }

    /// Numbers, signs and submits until the ledger has it.
    async fn hand_over(
        &self,
        signer: &Signer,
        intent: &Intent,
        cost: Cost,
        start: Instant,
    ) -> Result<Pending, SendError> {
        let account = signer.address();
        let mut lane = self.lanes().take(account).await;
        for _ in 0..RENUMBER_MAX {
            let nonce = match lane.next {
                Some(next) => next,
                None => self.nonce_at(account, "pending").await?,
            };
            let pending = self.sign(signer, intent, cost, nonce)?;
            if self.submit_patiently(account, &pending, &mut lane, start).await? {
                return Ok(pending);
            }
            if !self.may_renumber() {
                return Err(pending.unconfirmed(start, DISPLACED));
            }
        }
        Err(SendError::Rejected("other transactions keep taking its number".to_owned()))
    }

    /// Submits one numbered transaction while the ledger says "later". False if its number is used up.
    async fn submit_patiently(
        &self,
        account: Address,
        pending: &Pending,
        lane: &mut Lane,
        start: Instant,
    ) -> Result<bool, SendError> {
        let mut lost = false;
        loop {
            let submitted = self.submit(account, pending, &mut lost).await;
            match submitted.map_err(|error| pending.unconfirmed(start, error))? {
                Verdict::Taken => {
                    lane.next = pending.nonce.checked_add(1);
                    return Ok(true);
                }
                Verdict::Stale => {
                    lane.next = None;
                    return Ok(false);
                }
                Verdict::Later(why) => {
                    if start.elapsed() > self.options().confirm {
                        lane.next = None;
                        return Err(SendError::Rejected(why));
                    }
                    tokio::time::sleep(self.options().poll).await;
                }
                Verdict::Never(error) => return Err(error),
            }
        }
    }

    fn sign(
        &self,
        signer: &Signer,
        intent: &Intent,
        cost: Cost,
        nonce: u64,
    ) -> Result<Pending, SendError> {
        let chain_id = self
            .signing_chain_id()
            .ok_or_else(|| SendError::Chain { url: self.url().to_owned() })?;
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: cost.gas,
            max_fee_per_gas: cost.fee_max,
            max_priority_fee_per_gas: cost.tip,
            to: TxKind::Call(intent.to),
            value: intent.value,
            access_list: Default::default(),
            input: intent.input.clone(),
        };
        let signature = signer
            .sign_hash_sync(&transaction.signature_hash())
            .map_err(|error| SendError::Sign(error.to_string()))?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        Ok(Pending { nonce, hash: *envelope.tx_hash(), raw: envelope.encoded_2718().into() })
    }

    /// Hands the bytes over until there is an answer. `lost` says whether one may have got lost.
    async fn submit(
        &self,
        account: Address,
        pending: &Pending,
        lost: &mut bool,
    ) -> Result<Verdict, RpcError> {
        let params = [json!(pending.raw)];
        let mut patience = self.rpc().patience();
        loop {
            match self.rpc().attempt::<B256>("eth_sendRawTransaction", &params).await {
                Ok(_) => return Ok(Verdict::Taken),
                Err(RpcError::Refused { message, kind, .. }) => {
                    return Ok(verdict(account, *lost, message, kind));
                }
                Err(error) => {
                    *lost = true;
                    patience.bear(error).await?;
                }
            }
        }
    }

    /// Watches until the transaction is applied. None if another took its number.
    async fn watch(
        &self,
        account: Address,
        intent: &Intent,
        pending: &Pending,
        start: Instant,
    ) -> Result<Option<Receipt>, SendError> {
        let mut displaced = None;
        let mut why = "no block holds it".to_owned();
        for look in 1u32.. {
            match self.look(account, pending, look, &mut displaced).await {
                Ok(Seen::Applied(wire)) => {
                    let concluded = self.conclude(account, intent, pending, wire).await;
                    return concluded.map(Some).map_err(|error| match error {
                        SendError::Rpc(error) => pending.unconfirmed(start, error),
                        error => error,
                    });
                }
                Ok(Seen::Displaced) => {
                    self.lanes().take(account).await.next = None;
                    return Ok(None);
                }
                Ok(Seen::Nothing) => {}
                // The ledger is away; the transaction is not lost by that.
                Err(error) => {
                    tracing::warn!(transaction = %pending.hash, %error, "still waiting");
                    why = error.to_string();
                }
            }
            if start.elapsed() > self.options().confirm {
                break;
            }
            tokio::time::sleep(self.options().poll).await;
        }
        self.lanes().take(account).await.next = None;
        Err(pending.unconfirmed(start, why))
    }

    /// Looks for the receipt once, and now and then hands the same bytes over again.
    async fn look(
        &self,
        account: Address,
        pending: &Pending,
        look: u32,
        displaced: &mut Option<Height>,
    ) -> Result<Seen, RpcError> {
        if let Some(wire) = self.receipt_of(pending.hash).await? {
            return Ok(Seen::Applied(wire));
        }
        if !look.is_multiple_of(LOOKS_BEFORE_RESUBMIT) {
            return Ok(Seen::Nothing);
        }
        match (self.revive(account, pending).await?, *displaced) {
            (None, _) => *displaced = None,
            (Some(head), None) => *displaced = Some(head),
            // Two blocks after its number was used up there still is no receipt.
            (Some(head), Some(since)) if head.0 >= since.0.saturating_add(2) => {
                return Ok(match self.receipt_of(pending.hash).await? {
                    Some(wire) => Seen::Applied(wire),
                    None => Seen::Displaced,
                });
            }
            (Some(_), Some(_)) => {}
        }
        Ok(Seen::Nothing)
    }

    /// Hands the same bytes over again. The head, if the transaction's number is used up.
    async fn revive(
        &self,
        account: Address,
        pending: &Pending,
    ) -> Result<Option<Height>, RpcError> {
        let applied = self.nonce_at(account, "latest").await?;
        if applied > pending.nonce {
            return self.head().await.map(Some);
        }
        // Whatever the ledger says to a repetition, the receipt decides.
        self.submit(account, pending, &mut true).await?;
        Ok(None)
    }

    async fn conclude(
        &self,
        from: Address,
        intent: &Intent,
        pending: &Pending,
        wire: Wire,
    ) -> Result<Receipt, SendError> {
        let (succeeded, receipt) = match self.trusted() {
            Some(_) => Box::pin(self.proven_outcome(pending.hash)).await?,
            None => (wire.succeeded(), wire.receipt(pending.hash)?),
        };
        if succeeded {
            self.until_head(receipt.height).await;
            return Ok(receipt);
        }
        let data = match &wire.revert_reason {
            Some(data) => data.clone(),
            None => self.replay(from, intent, receipt.height).await,
        };
        Err(SendError::Reverted { transaction: pending.hash, revert: Revert::decode(data) })
    }

    /// Whether a transaction was applied, and its receipt, both proven.
    async fn proven_outcome(&self, hash: B256) -> Result<(bool, Receipt), RpcError> {
        let missing = LightError::Receipt("the endpoint shows it and does not prove it");
        let proven = self.proven_receipt(hash).await;
        let proven = proven.and_then(|proven| proven.ok_or(missing));
        let proven = proven.map_err(|why| self.untrue(why))?;
        Ok((proven.succeeded, proven.receipt))
    }

    /// Waits until reading sees the block that a receipt is of: receipts may be there before its state.
    async fn until_head(&self, height: Height) {
        let reached = tokio::time::timeout(self.options().confirm, self.wait_for(height)).await;
        if reached.is_err() {
            tracing::warn!(height = height.0, "the endpoint has receipts and no such block");
        }
    }

    /// The revert data of a call as it went at `height`, as far as past state can tell.
    async fn replay(&self, from: Address, intent: &Intent, height: Height) -> Bytes {
        let before = Height(height.0.saturating_sub(1));
        for at in [before, height] {
            let call = json!({
                "from": from, "to": intent.to, "value": intent.value, "input": intent.input,
            });
            let params = [call, json!(U64::from(at.0))];
            let answer = self.rpc().request::<Bytes>("eth_call", &params).await;
            if let Err(RpcError::Refused { data: Some(data), .. }) = answer {
                return data;
            }
        }
        Bytes::new()
    }

    async fn receipt_of(&self, hash: B256) -> Result<Option<Wire>, RpcError> {
        self.rpc().request("eth_getTransactionReceipt", &[json!(hash)]).await
    }

    async fn nonce_at(&self, account: Address, block: &str) -> Result<u64, RpcError> {
        // What waits in a pool has no proof; what is applied has.
        if block == "latest" && self.trusted().is_some() {
            return Ok(self.proven_account(account).await?.nonce);
        }
        let params = [json!(account), json!(block)];
        let nonce: U64 = self.rpc().request("eth_getTransactionCount", &params).await?;
        Ok(nonce.to())
    }
}

/// Waits for a transaction's task.
async fn outcome(task: JoinHandle<Result<Receipt, SendError>>) -> Result<Receipt, SendError> {
    task.await.unwrap_or_else(|error| Err(SendError::Sign(error.to_string())))
}

/// Reads a refusal. When an answer got lost before, it may be this very transaction that used up its
/// number: the receipt decides.
fn verdict(account: Address, lost: bool, message: String, kind: Option<Kind>) -> Verdict {
    match kind {
        Some(Kind::Known) => Verdict::Taken,
        Some(Kind::Stale) if lost => Verdict::Taken,
        Some(Kind::Stale) => Verdict::Stale,
        Some(Kind::Later) => Verdict::Later(message),
        _ => Verdict::Never(rejection(account, message, kind)),
    }
}
