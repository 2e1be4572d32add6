//! Asking for proofs, and following the committees as far as an answer needs it.
//!
//! A certificate that does not hold under the newest committee known, in a later term, means that the
//! committee has changed. Then the greatest term is sought, by bisection, whose last header still is
//! certified by it; that header names the next one. So each change costs a number of requests that grows with
//! the logarithm of the terms between, and terms without change cost none. What was learnt on the way stays,
//! even if the way ends in a lie.

use super::{
    Account, Certified, Committee, Light, LightError, Origin, Seat, account_key, proof,
    receipt::{Evidence, ProvenReceipt},
    slot_key,
    state::{PROOFS_MAX, State},
    trust::Trust,
    verify_value,
};
use crate::{
    Client,
    rpc::{RpcError, malformed},
};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_sol_types::SolEvent;
use protocol::{Epoch, Height, NetworkId, leaf::Leaf, merkle};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How many changes of the committee are followed for one answer; the next one goes on from there.
const CHANGES_MAX: usize = 4_096;

#[derive(Deserialize)]
struct WireHeader {
    header: Bytes,
}

/// A header and what certifies it.
#[derive(Debug, Deserialize)]
struct Chain {
    headers: Vec<Bytes>,
    certificate: Bytes,
}

#[derive(Deserialize)]
struct WireAccount {
    account: Address,
    proof: Bytes,
}

#[derive(Deserialize)]
struct WireSlot {
    contract: Address,
    slot: U256,
    proof: Bytes,
}

#[derive(Deserialize)]
struct WireViews {
    #[serde(flatten)]
    chain: Chain,
    accounts: Vec<WireAccount>,
    slots: Vec<WireSlot>,
}

#[derive(Deserialize)]
struct WireReceipt {
    #[serde(flatten)]
    chain: Chain,
    index: U64,
    #[serde(flatten)]
    evidence: Evidence,
}

#[derive(Deserialize)]
struct WireProof {
    height: U64,
    account: WireEntry,
    slots: Vec<WireEntry>,
}

#[derive(Deserialize)]
struct WireEntry {
    proof: Bytes,
}

/// What an account holds, proven for one height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The header whose state it is.
    pub header: Certified,
    /// The account; an empty one if it is proven not to exist.
    pub account: Account,
    /// The slots, in the order asked for; zero if proven to be absent.
    pub slots: Vec<U256>,
}

impl Client {
    /// Begins light verification of the ledger that a genesis file names.
    ///
    /// # Errors
    /// When the endpoint serves another ledger.
    pub async fn light(&self, origin: &Origin) -> Result<Light, LightError> {
        let params = [json!(U64::ZERO)];
        let wire: WireHeader = self.request("wayleave_header", &params).await?;
        Light::new(origin, &wire.header)
    }

    /// What is trusted now, to be kept for the next start ([`Light::to_bytes`]); nothing if this client
    /// takes its endpoint's word.
    pub fn trust(&self) -> Option<Light> {
        self.trusted().map(|trust| trust.light())
    }

    /// The header at `height`, proven.
    ///
    /// # Errors
    /// When it cannot be; so for all that is proven, and [`LightError::Untrusting`].
    pub async fn certified_header(&self, height: Height) -> Result<Certified, LightError> {
        let chain: Chain =
            self.request("wayleave_certified", &[json!(U64::from(height.0))]).await?;
        let header = self.believe(&chain).await?;
        if header.height == height {
            Ok(header)
        } else {
            Err(LightError::WrongHeader("it is of another height"))
        }
    }

    /// What an account and some of its slots hold in the newest state that the endpoint has, that of `since`
    /// or a later one. Any account's: code of users, too, keeps its state in slots.
    ///
    /// # Errors
    /// As [`Client::certified_header`], and when the state is older than `since`, or too old.
    pub async fn proven(
        &self,
        (address, slots): (Address, &[U256]),
        since: Height,
    ) -> Result<Proven, LightError> {
        let since = since.max(self.need_trust()?.height());
        let method = "wayleave_proof";
        let wire: WireProof = self.request(method, &[json!(address), json!(slots)]).await?;
        if wire.slots.len() != slots.len() {
            return Err(malformed(method, "not every slot is answered").into());
        }
        let header = self.certified_header(Height(wire.height.to())).await?;
        self.current(&header, since)?;
        let root = header.state_root;
        let account = verify_value(root, account_key(address), &wire.account.proof)?;
        let values = slots.iter().zip(&wire.slots).map(|(slot, entry)| {
            let value = verify_value(root, slot_key(address, *slot), &entry.proof)?;
            Ok(value.map_or(U256::ZERO, |value| proof::slot(&value)))
        });
        Ok(Proven {
            header,
            account: account.as_ref().map(Account::read).unwrap_or_default(),
            slots: values.collect::<Result<_, LightError>>()?,
        })
    }

    /// All that views (contract, input) read, and accounts, in the newest state that the endpoint has, that
    /// of `since` or a later one. An endpoint that lags is asked again while patience lasts.
    ///
    /// # Errors
    /// As [`Client::proven`].
    pub async fn proven_state(
        &self,
        views: &[(Address, Bytes)],
        accounts: &[Address],
        since: Height,
    ) -> Result<State, LightError> {
        let mut patience = self.rpc().patience();
        loop {
            match self.prove_once(views, accounts, since).await {
                Err(error @ (LightError::Old { .. } | LightError::Stale { .. })) => {
                    patience.outlast(error).await?;
                }
                result => return result,
            }
        }
    }

    async fn prove_once(
        &self,
        views: &[(Address, Bytes)],
        accounts: &[Address],
        since: Height,
    ) -> Result<State, LightError> {
        // What others learn while this answer is under way does not make it old.
        let since = since.max(self.need_trust()?.height());
        let views: Vec<Value> =
            views.iter().map(|(to, input)| json!({ "to": to, "input": input })).collect();
        let params = [json!(views), json!(accounts)];
        let wire: WireViews = self.request("wayleave_proven", &params).await?;
        let count = wire.accounts.len() + wire.slots.len();
        if count > PROOFS_MAX {
            return Err(LightError::Excess(count));
        }
        let header = self.believe(&wire.chain).await?;
        self.current(&header, since)?;
        let mut state = State::new(header);
        for entry in &wire.accounts {
            state.prove_account(entry.account, &entry.proof)?;
        }
        for entry in &wire.slots {
            state.prove_slot(entry.contract, entry.slot, &entry.proof)?;
        }
        Ok(state)
    }

    /// The newest height, proven. An endpoint that lags is asked again while patience lasts: one that was
    /// stopped for long is just making its next block.
    pub(crate) async fn proven_head(&self) -> Result<Height, LightError> {
        let mut patience = self.rpc().patience();
        loop {
            match self.head_once().await {
                Err(error @ LightError::Stale { .. }) => patience.outlast(error).await?,
                result => return result,
            }
        }
    }

    async fn head_once(&self) -> Result<Height, LightError> {
        let said = self.said_head().await?;
        let newest = self.need_trust()?.newest().filter(|newest| newest.height >= said);
        let (height, time_ms) = match newest {
            Some(newest) => (newest.height, newest.time_ms),
            None => {
                let header = self.certified_header(said).await?;
                (header.height, header.time_ms)
            }
        };
        self.fresh(height, time_ms)?;
        Ok(height)
    }

    /// The receipt of a transaction, proven; nothing if the endpoint says that no block holds it, which
    /// cannot be proven.
    ///
    /// # Errors
    /// As [`Client::certified_header`], and [`LightError::Receipt`].
    pub async fn proven_receipt(&self, hash: B256) -> Result<Option<ProvenReceipt>, LightError> {
        let wire: Option<WireReceipt> = self.request("wayleave_receipt", &[json!(hash)]).await?;
        let Some(wire) = wire else { return Ok(None) };
        let header = self.believe(&wire.chain).await?;
        wire.evidence.verify(&header, hash, wire.index.to()).map(Some)
    }

    /// The first event `E` that `contract` logged in a transaction, proven.
    ///
    /// # Errors
    /// As [`Client::proven_receipt`].
    pub async fn proven_event<E: SolEvent>(
        &self,
        hash: B256,
        contract: Address,
    ) -> Result<Option<E>, LightError> {
        let proven = self.proven_receipt(hash).await?;
        Ok(proven.and_then(|proven| proven.receipt.event(contract)))
    }

    /// Checks that a leaf is one of an epoch's final tree, whose root is proven.
    ///
    /// # Errors
    /// [`LightError::Leaf`] when it is not, or the epoch has no root; and as [`Client::certified_header`].
    pub async fn proven_leaf(
        &self,
        (network, epoch): (NetworkId, Epoch),
        leaf: &Leaf,
        proof: &[B256],
    ) -> Result<(), LightError> {
        self.need_trust()?;
        let root = self.root(network, epoch).await.map_err(|error| match error {
            crate::CallError::Rpc(error) => error.into(),
            error => LightError::View(error.to_string()),
        })?;
        let leads = proof.len() <= merkle::PROOF_MAX
            && leaf.network == network
            && root == Some(merkle::fold(leaf.hash(), proof));
        if leads { Ok(()) } else { Err(LightError::Leaf) }
    }

    /// Turns a doubt into an error of the endpoint.
    pub(crate) fn untrue(&self, why: LightError) -> RpcError {
        match why {
            LightError::Rpc(error) => error,
            why => RpcError::Untrue { url: self.url().to_owned(), why: Box::new(why) },
        }
    }

    fn need_trust(&self) -> Result<&Arc<Trust>, LightError> {
        self.trusted().ok_or(LightError::Untrusting)
    }

    /// Refuses a header that is older than one seen, or than the clock allows.
    fn current(&self, header: &Certified, since: Height) -> Result<(), LightError> {
        if header.height < since {
            return Err(LightError::Old { height: header.height, since });
        }
        self.fresh(header.height, header.time_ms)
    }

    fn fresh(&self, height: Height, time_ms: u64) -> Result<(), LightError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_millis(time_ms));
        if age <= self.options().age_max { Ok(()) } else { Err(LightError::Stale { height, age }) }
    }

    /// Checks a chain of headers, following the committees up to its own if need be; gives its first.
    async fn believe(&self, chain: &Chain) -> Result<Certified, LightError> {
        let trust = self.need_trust()?;
        let mut light = trust.light();
        if let Ok((first, last)) = light.chain(&chain.headers, &chain.certificate) {
            light.advance(&last)?;
            trust.learn(light);
            return Ok(first);
        }
        let _alone = trust.walking.lock().await;
        let mut light = trust.light();
        let result = self.follow_to(&mut light, chain).await;
        trust.learn(light);
        result
    }

    async fn follow_to(&self, light: &mut Light, chain: &Chain) -> Result<Certified, LightError> {
        let last = chain.headers.last().ok_or(LightError::WrongHeader("there is none"))?;
        let target = light.read(last)?.term;
        for _ in 0..CHANGES_MAX {
            match light.chain(&chain.headers, &chain.certificate) {
                Ok((first, last)) => {
                    light.advance(&last)?;
                    return Ok(first);
                }
                Err(LightError::Certificate) if light.term() < target => {
                    self.next_committee(light, target).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(LightError::Certificate)
    }

    /// Goes over to the next committee, which is in office at `target` or before.
    async fn next_committee(&self, light: &mut Light, target: u64) -> Result<(), LightError> {
        let digest = light.committee().digest();
        let (mut term, mut beyond) = (light.term(), target);
        let mut last = self.last_of(light, term).await?;
        while last.committee == digest && beyond - term > 1 {
            let middle = term + (beyond - term) / 2;
            match self.last_of(light, middle).await {
                Ok(header) => (term, last) = (middle, header),
                Err(LightError::Certificate) => beyond = middle,
                Err(error) => return Err(error),
            }
        }
        if last.committee == digest {
            // The same committee goes on, and yet does not certify what comes after: somebody else did.
            return Err(LightError::Certificate);
        }
        let seats: Vec<Seat> =
            self.request("wayleave_committee", &[json!(U64::from(term.saturating_add(1)))]).await?;
        light.hand_over(&last, Committee::new(&seats)?)
    }

    /// The last header of a term, if the committee in office certified it.
    async fn last_of(&self, light: &Light, term: u64) -> Result<Certified, LightError> {
        let height = light.last_height(term);
        let chain: Chain =
            self.request("wayleave_certified", &[json!(U64::from(height.0))]).await?;
        let (first, _) = light.chain(&chain.headers, &chain.certificate)?;
        if first.height == height {
            Ok(first)
        } else {
            Err(LightError::WrongHeader("it is of another height"))
        }
    }
}
