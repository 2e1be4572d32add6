//! Vouchers for what agents deliver (design 8 and 11).
//!
//! A voucher promises, in all, the price of every byte asked of an agent on its rail so far, each at the
//! price of its time: a new price is for what comes. Rules:
//! * no voucher leaves before the index holds bounds that cover it: whatever happens, no nonce is
//!   used twice, and no promise is forgotten;
//! * bounds are raised in steps, so that a read costs no sync. After a crash the purse goes on from
//!   its bounds; at most [`STEP_BYTES`] a rail are then promised that were not asked for, which is
//!   the price of not syncing, and less than a micro-dollar a MiB at usual prices;
//! * a voucher that promises no more than the one before is not signed again: a small read is worth
//!   less than the smallest amount, and signing and checking costs more than delivering it. For the same
//!   reason one for a read pays for the next [`AHEAD_BYTES`] as well, which are less than a micro-dollar at
//!   usual prices too, and lost when the service stops before it asks for them;
//! * nothing is promised above the rail's limit, or for an agent that asks more than the network's
//!   price.

use crate::index::{IndexError, Rail, Writer};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::Eip712Domain;
use protocol::{
    Account, Micros, NetworkId, RailId,
    manifest::KindTerms,
    voucher::{SignedVoucher, Voucher},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes by which a bound is raised.
pub const STEP_BYTES: u64 = 64 << 20;
/// Bytes that a read's voucher pays for beyond the read.
pub const AHEAD_BYTES: u64 = 256 << 10;
/// Nonces by which a bound is raised.
pub const STEP_NONCES: u64 = 4_096;

/// What the ledger says of a rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// All that it may ever pay.
    pub limit: Micros,
    /// The smallest nonce.
    pub nonce: u64,
    /// Dollars of the limit kept for the rate, which vouchers may not use.
    pub kept: Micros,
}

/// Why there is no voucher.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PurseError {
    /// The rail is not known to be open.
    #[error("rail {0} is not open")]
    Closed(RailId),
    /// The promise would be above what the rail may pay.
    #[error("rail {rail} may pay {limit} by voucher, {wanted} are needed: raise its limit")]
    Limit {
        /// The rail.
        rail: RailId,
        /// What it may pay by voucher.
        limit: Micros,
        /// What was needed.
        wanted: Micros,
    },
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The key refused.
    #[error("the voucher could not be signed: {0}")]
    Sign(String),
}

#[derive(Debug, Default)]
struct Ledger {
    loaded: bool,
    nonce: u64,
    delivered: u64,
    nonce_bound: u64,
    delivered_bound: u64,
    /// What the last voucher since the start promised.
    promised: Micros,
    /// Up to `priced` bytes cost `before`; what came later costs `terms`.
    before: Micros,
    priced: u64,
    terms: Option<KindTerms>,
}

impl Ledger {
    fn load(row: &Rail, terms: &KindTerms) -> Self {
        let delivered = row.delivered_bound;
        Self {
            loaded: true,
            nonce: row.nonce_bound,
            delivered,
            nonce_bound: row.nonce_bound,
            delivered_bound: delivered,
            promised: Micros::ZERO,
            before: row
                .amount_bound
                .unwrap_or_else(|| terms.dollars(delivered, terms.delivery_price)),
            priced: delivered,
            terms: Some(*terms),
        }
    }

    /// From now on bytes cost `terms`.
    fn reprice(&mut self, terms: &KindTerms) {
        if self.terms.as_ref() != Some(terms) {
            (self.before, self.priced) = (self.amount_up(self.delivered), self.delivered);
            self.terms = Some(*terms);
        }
    }

    /// What so many bytes cost in all, rounded down as agents round.
    fn amount(&self, delivered: u64) -> Micros {
        let more = delivered.saturating_sub(self.priced);
        let cost = self.terms.map(|terms| terms.dollars(more, terms.delivery_price));
        self.before.saturating_add(cost.unwrap_or_default())
    }

    /// The same rounded up: a sum of parts must not be less than what an agent makes of the whole.
    fn amount_up(&self, delivered: u64) -> Micros {
        let more = u128::from(delivered.saturating_sub(self.priced));
        let whole = self.terms.is_none_or(|terms| {
            let product = more * u128::from(terms.delivery_price.0);
            product.is_multiple_of(u128::from(terms.per_units.max(1)))
        });
        self.amount(delivered).saturating_add(Micros(u64::from(!whole)))
    }
}

/// Signs vouchers.
pub struct Purse {
    signer: PrivateKeySigner,
    domain: Eip712Domain,
    network: NetworkId,
    writer: Writer,
    terms: Mutex<Option<KindTerms>>,
    allowances: Mutex<BTreeMap<RailId, Allowance>>,
    accounts: Mutex<BTreeMap<RailId, Arc<tokio::sync::Mutex<Ledger>>>>,
}

impl std::fmt::Debug for Purse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Purse").field("signer", &self.signer.address()).finish_non_exhaustive()
    }
}

impl Purse {
    /// A purse that signs with `signer` for rails of `network`.
    pub fn new(
        signer: PrivateKeySigner,
        domain: Eip712Domain,
        network: NetworkId,
        writer: Writer,
    ) -> Self {
        Self {
            signer,
            domain,
            network,
            writer,
            terms: Mutex::default(),
            allowances: Mutex::default(),
            accounts: Mutex::default(),
        }
    }

    /// The account that signs.
    pub fn address(&self) -> Account {
        self.signer.address()
    }

    /// What the ledger says now: prices and rails.
    pub fn update(&self, terms: KindTerms, allowances: BTreeMap<RailId, Allowance>) {
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner) = Some(terms);
        *self.allowances.lock().unwrap_or_else(PoisonError::into_inner) = allowances;
    }

    fn account(&self, rail: RailId) -> Arc<tokio::sync::Mutex<Ledger>> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(accounts.entry(rail).or_default())
    }

    /// A voucher for all that was asked on `rail` so far, `bytes` more, and what the next reads may be;
    /// nothing if the one before promised all that was asked and `bytes` more.
    ///
    /// # Errors
    /// [`PurseError`].
    pub async fn more(
        &self,
        rail: RailId,
        bytes: u64,
    ) -> Result<Option<SignedVoucher>, PurseError> {
        let voucher = self.promise(rail, bytes, false).await?;
        voucher.map(|voucher| self.sign(voucher)).transpose()
    }

    /// A voucher for all that was asked on `rail` so far and `bytes` more.
    ///
    /// # Errors
    /// [`PurseError`].
    pub async fn voucher(&self, rail: RailId, bytes: u64) -> Result<SignedVoucher, PurseError> {
        let voucher = self.promise(rail, bytes, true).await?;
        self.sign(voucher.ok_or(PurseError::Closed(rail))?)
    }

    /// Counts `bytes` as asked, and says what is to be signed for it: `always`, or if it is more than
    /// was signed before.
    async fn promise(
        &self,
        rail: RailId,
        bytes: u64,
        always: bool,
    ) -> Result<Option<Voucher>, PurseError> {
        let terms = *self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = {
            let allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
            allowances.get(&rail).copied()
        };
        let (Some(terms), Some(allowance)) = (terms, allowance) else {
            return Err(PurseError::Closed(rail));
        };
        let account = self.account(rail);
        let mut account = account.lock().await;
        if !account.loaded {
            let row = self.writer.read(move |reader| reader.rail(rail)).await?;
            *account = Ledger::load(&row, &terms);
        }
        account.reprice(&terms);
        let delivered = account.delivered.saturating_add(bytes);
        let amount = account.amount(delivered);
        let limit = allowance.limit.saturating_sub(allowance.kept);
        if amount > limit {
            return Err(PurseError::Limit { rail, limit, wanted: amount });
        }
        let nonce = account.nonce.max(allowance.nonce).max(1);
        let ahead = delivered.saturating_add(AHEAD_BYTES);
        if nonce >= account.nonce_bound || ahead > account.delivered_bound {
            let bounds = (nonce + STEP_NONCES, delivered.saturating_add(STEP_BYTES));
            let most = account.amount_up(bounds.1);
            self.writer
                .write(move |tables| tables.bound_vouchers(rail, bounds.0, bounds.1, most))
                .await?;
            (account.nonce_bound, account.delivered_bound) = bounds;
        }
        account.delivered = delivered;
        if !always && amount <= account.promised {
            return Ok(None);
        }
        let ahead = if always { account.promised } else { account.amount(ahead) };
        let amount = amount.max(ahead.min(limit));
        account.nonce = nonce + 1;
        account.promised = amount;
        Ok(Some(Voucher { network: self.network, rail, nonce, amount }))
    }

    fn sign(&self, voucher: Voucher) -> Result<SignedVoucher, PurseError> {
        let signature = self
            .signer
            .sign_hash_sync(&voucher.signing_hash(&self.domain))
            .map_err(|error| PurseError::Sign(error.to_string()))?
            .as_bytes();
        Ok(SignedVoucher { voucher, signature })
    }

    /// An agent says that `due` is owed on `rail`, as it saw a price change earlier. Whether that is
    /// so: never more than all bytes at today's price.
    pub async fn owes(&self, rail: RailId, due: Micros) -> bool {
        let account = self.account(rail);
        let mut account = account.lock().await;
        let (Some(terms), now) = (account.terms, account.amount(account.delivered)) else {
            return false;
        };
        let most = terms.dollars(account.delivered, terms.delivery_price);
        if due <= now || due > most {
            return false;
        }
        (account.before, account.priced) = (due, account.delivered);
        // The next voucher raises the bound of what was promised before it leaves.
        account.delivered_bound = 0;
        true
    }

    /// `bytes` were promised and not delivered, as the agent was not reached or refused: the next
    /// request is promised from the same total.
    pub async fn refund(&self, rail: RailId, bytes: u64) {
        let account = self.account(rail);
        let mut account = account.lock().await;
        account.delivered = account.delivered.saturating_sub(bytes);
    }

    /// All that was promised so far by voucher, over all rails.
    pub async fn promised(&self) -> Micros {
        let accounts: Vec<_> = {
            let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            accounts.values().cloned().collect()
        };
        let mut sum = Micros::ZERO;
        for account in accounts {
            let account = account.lock().await;
            sum = sum.saturating_add(account.amount(account.delivered).max(account.promised));
        }
        sum
    }

    /// Lowers the bounds to what was promised. For an orderly stop, after the last voucher.
    ///
    /// # Errors
    /// [`PurseError::Index`].
    pub async fn close(&self) -> Result<(), PurseError> {
        let accounts: Vec<_> = {
            let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            accounts.iter().map(|(rail, account)| (*rail, Arc::clone(account))).collect()
        };
        for (rail, account) in accounts {
            let mut account = account.lock().await;
            if account.loaded {
                let delivered = account.delivered;
                let amount = account.amount_up(delivered).max(account.promised);
                self.writer
                    .write(move |tables| tables.settle_vouchers(rail, delivered, amount))
                    .await?;
                account.delivered_bound = delivered;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;
    use protocol::{KindId, Tokens};

    fn terms() -> KindTerms {
        KindTerms {
            kind: KindId(1),
            price: Micros(100),
            delivery_price: Micros(1 << 20),
            per_units: 1 << 30,
            stake_base: Tokens::ZERO,
            stake_per: Tokens::ZERO,
            positions: 5,
            window: 6,
        }
    }

    fn purse(index: &Arc<Index>) -> Purse {
        let signer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
        let writer = Writer::start(Arc::clone(index)).unwrap();
        let domain = protocol::voucher::domain(1, Account::ZERO);
        let purse = Purse::new(signer, domain, NetworkId(1), writer);
        let allowance = Allowance { limit: Micros(200_000), nonce: 3, kept: Micros(50_000) };
        purse.update(terms(), [(RailId(1), allowance)].into());
        purse
    }

    #[tokio::test]
    async fn promises_grow_and_survive_a_crash() {
        let index = Arc::new(Index::in_memory().unwrap());
        let first = purse(&index);
        let one = first.voucher(RailId(1), 1 << 20).await.unwrap();
        // A micro-dollar a KiB.
        assert_eq!((one.voucher.nonce, one.voucher.amount), (3, Micros(1_024)));
        let domain = protocol::voucher::domain(1, Account::ZERO);
        assert_eq!(one.signer(&domain), Some(first.address()));
        let two = first.voucher(RailId(1), 1_024).await.unwrap();
        assert_eq!((two.voucher.nonce, two.voucher.amount), (4, Micros(1_025)));
        first.refund(RailId(1), 1_024).await;
        let three = first.voucher(RailId(1), 1_024).await.unwrap();
        assert_eq!((three.voucher.nonce, three.voucher.amount), (5, Micros(1_025)));
        assert_eq!(first.promised().await, Micros(1_025));

        // Without a close: on from the bounds, which cover all that was promised.
        let crashed = purse(&index);
        let next = crashed.voucher(RailId(1), 1_024).await.unwrap();
        assert!(next.voucher.nonce > 5);
        let step = terms().dollars(STEP_BYTES, terms().delivery_price);
        assert!(next.voucher.amount > Micros(1_025));
        assert!(
            next.voucher.amount <= Micros(1_026).saturating_add(step).saturating_add(Micros(1_024))
        );

        // With one: not a byte more than was asked.
        crashed.close().await.unwrap();
        let closed = purse(&index);
        let last = closed.voucher(RailId(1), 1_024).await.unwrap();
        assert_eq!(last.voucher.amount.0, next.voucher.amount.0 + 1);
        assert!(last.voucher.nonce > next.voucher.nonce);
    }

    #[tokio::test]
    async fn a_new_price_is_for_what_comes() {
        let index = Arc::new(Index::in_memory().unwrap());
        let purse = purse(&index);
        let allowance = Allowance { limit: Micros(1 << 40), nonce: 1, kept: Micros::ZERO };
        let at = |price: u64| {
            let terms = KindTerms { delivery_price: Micros(price), ..terms() };
            purse.update(terms, [(RailId(1), allowance)].into());
        };
        at(1 << 20);
        purse.voucher(RailId(1), 1 << 20).await.unwrap();
        at(2 << 20);
        let dear = purse.voucher(RailId(1), 1 << 20).await.unwrap();
        assert_eq!(dear.voucher.amount, Micros(3 * 1_024));
        at(1 << 10);
        let cheap = purse.voucher(RailId(1), 1 << 20).await.unwrap();
        assert_eq!(cheap.voucher.amount, Micros(3 * 1_024 + 1));
        // It goes on from there after a stop, and never below what was promised after a crash.
        purse.close().await.unwrap();
        let next = super::tests::purse(&index);
        next.update(terms(), [(RailId(1), allowance)].into());
        let later = next.voucher(RailId(1), 1_024).await.unwrap();
        assert_eq!(later.voucher.amount, Micros(3 * 1_024 + 2));
        // An agent that saw the price rise before is believed, as far as it can be so.
        assert!(!next.owes(RailId(1), Micros(3 * 1_024)).await, "it has more");
        let all = (3 << 20) + 1_024;
        let most = terms().dollars(all, terms().delivery_price);
        assert!(!next.owes(RailId(1), most.saturating_add(Micros(1))).await);
        next.update(
            KindTerms { delivery_price: Micros(4 << 20), ..terms() },
            [(RailId(1), allowance)].into(),
        );
        next.voucher(RailId(1), 0).await.unwrap();
        assert!(next.owes(RailId(1), Micros(5_000)).await);
        let paid = next.voucher(RailId(1), 0).await.unwrap();
        assert_eq!(paid.voucher.amount, Micros(5_000));
    }

    #[tokio::test]
    async fn what_is_promised_already_is_not_signed_again() {
        let index = Arc::new(Index::in_memory().unwrap());
        let purse = purse(&index);
        let first = purse.more(RailId(1), 3_000).await.unwrap().unwrap();
        // A micro-dollar a KiB, with the next 256 KiB, and parts of one are not paid.
        assert_eq!((first.voucher.nonce, first.voucher.amount), (3, Micros(258)));
        let rest = 259 * 1_024 - 3_000;
        assert_eq!(purse.more(RailId(1), rest - 1).await.unwrap(), None);
        // An agent that has forgotten the first is given another.
        let again = purse.voucher(RailId(1), 0).await.unwrap();
        assert_eq!((again.voucher.nonce, again.voucher.amount), (4, Micros(258)));
        let next = purse.more(RailId(1), 1).await.unwrap().unwrap();
        assert_eq!((next.voucher.nonce, next.voucher.amount), (5, Micros(259 + 256)));
        // What was paid ahead is as good as any promise.
        assert_eq!(purse.promised().await, Micros(259 + 256));
        purse.close().await.unwrap();
        let closed = super::tests::purse(&index);
        let later = closed.voucher(RailId(1), 1_024).await.unwrap();
        assert_eq!(later.voucher.amount, Micros(259 + 256 + 1));
        // Never beyond the limit, which is 150,000.
        let all = (150_000 - 259 - 256 - 1) << 10;
        let last = closed.more(RailId(1), all).await.unwrap().unwrap();
        assert_eq!(last.voucher.amount, Micros(150_000));
    }

    #[tokio::test]
    async fn nothing_above_the_limit_or_on_a_closed_rail() {
        let index = Arc::new(Index::in_memory().unwrap());
        let purse = purse(&index);
        assert!(matches!(purse.voucher(RailId(2), 1).await, Err(PurseError::Closed(RailId(2)))));
        let over = purse.voucher(RailId(1), 150_001 << 10).await;
        assert!(matches!(over, Err(PurseError::Limit { limit: Micros(150_000), .. })));
        purse.voucher(RailId(1), 150_000 << 10).await.unwrap();
        assert!(purse.voucher(RailId(1), 1 << 10).await.is_err());
    }
}
