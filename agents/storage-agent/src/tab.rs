//! What a rail's customer owes for deliveries and what it has promised: the agent's side of vouchers.
//!
//! Rules (design 8, 11):
//! * an amount is cumulative, so only the best voucher of a rail is kept;
//! * each byte is owed at the price of the time when it was delivered: a new price changes nothing of
//!   what was before;
//! * bytes are delivered as long as the best voucher, plus a small credit, covers all bytes delivered
//!   on the rail so far with these;
//! * a voucher counts if it is of this rail and network, its nonce is not below the rail's opening
//!   nonce, its amount is within what the rail's limit has left beside its rate, and the rail's signer
//!   signed it.
//!
//! Pure: the store keeps tabs durable, and may lose of a tab at most what the credit allows
//! ([`Tab::exposed`]).

use alloy_sol_types::Eip712Domain;
use minicbor::{Decode, Encode};
use protocol::{
    Micros, NetworkId,
    inputs::Rail,
    manifest::KindTerms,
    voucher::{SignedVoucher, Voucher},
};
use storage_kind::wire::Refusal;

/// What was delivered on a rail, and the best promise to pay for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Tab {
    /// Bytes delivered so far.
    #[n(0)]
    pub delivered: u64,
    /// The best voucher.
    #[n(1)]
    pub best: Option<SignedVoucher>,
    /// What is owed for them; nothing before it was first reckoned, which is at the price of then.
    #[n(2)]
    pub owed: Option<Owed>,
}

/// What is owed for deliveries, to the last fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Owed {
    /// The sum, rounded down.
    #[n(0)]
    pub amount: Micros,
    /// What was rounded off: so many parts of [`KindTerms::per_units`] of a micro-dollar.
    #[n(1)]
    pub rest: u64,
}

impl Tab {
    /// What the best voucher promises.
    pub fn promised(&self) -> Micros {
        self.best.map_or(Micros::ZERO, |signed| signed.voucher.amount)
    }

    /// Takes a voucher in, if it is better than the best so far. `by_rate` of the rail's limit belongs
    /// to its rate.
    ///
    /// # Errors
    /// [`Refusal::BadVoucher`] if it is not one of this rail or not signed by its signer,
    /// [`Refusal::LimitTooLow`] if the rail could not pay it.
    pub fn take(
        &mut self,
        signed: &SignedVoucher,
        (rail, by_rate): (&Rail, Micros),
        network: NetworkId,
        domain: &Eip712Domain,
    ) -> Result<(), Refusal> {
        let Voucher { network: of, rail: id, nonce, amount } = signed.voucher;
        if of != network || id != rail.id || nonce < rail.nonce {
            return Err(Refusal::BadVoucher);
        }
        // A voucher that changes nothing costs no signature check.
        if amount <= self.promised() {
            return Ok(());
        }
        let needed = amount.saturating_add(by_rate);
        if needed > rail.limit {
            return Err(Refusal::LimitTooLow(needed));
        }
        if signed.signer(domain) != Some(rail.signer) {
            return Err(Refusal::BadVoucher);
        }
        self.best = Some(*signed);
        Ok(())
    }

    /// Puts a delivery of `bytes` at the price of `terms` on the tab. `credit` is what may stay unpaid.
    ///
    /// # Errors
    /// [`Refusal::VoucherNeeded`] with the amount that pays for everything delivered and this.
    pub fn deliver(
        &mut self,
        bytes: u64,
        terms: &KindTerms,
        credit: Micros,
    ) -> Result<(), Refusal> {
        let owed = split(self.parts(terms).saturating_add(worth(bytes, terms)), terms);
        if owed.amount > self.promised().saturating_add(credit) {
            return Err(Refusal::VoucherNeeded(owed.amount));
        }
        self.owed = Some(owed);
        self.delivered = self.delivered.saturating_add(bytes);
        Ok(())
    }

    /// Takes a delivery off the tab that was not made, at the price at which it was put there.
    pub fn withdraw(&mut self, bytes: u64, terms: &KindTerms) {
        self.owed = Some(split(self.parts(terms).saturating_sub(worth(bytes, terms)), terms));
        self.delivered = self.delivered.saturating_sub(bytes);
    }

    /// All that is owed, in parts of a micro-dollar.
    fn parts(&self, terms: &KindTerms) -> u128 {
        match self.owed {
            None => worth(self.delivered, terms),
            Some(Owed { amount, rest }) => {
                u128::from(amount.0) * u128::from(terms.per_units) + u128::from(rest)
            }
        }
    }

    /// Whether losing the difference between this tab and the `kept` one would cost more than `credit`
    /// bytes.
    pub fn exposed(&self, kept: &Self, credit: u64) -> bool {
        self.delivered.saturating_sub(kept.delivered) > credit
    }
}

/// What bytes cost, in parts of a micro-dollar.
fn worth(bytes: u64, terms: &KindTerms) -> u128 {
    u128::from(bytes) * u128::from(terms.delivery_price.0)
}

fn split(parts: u128, terms: &KindTerms) -> Owed {
    let per = u128::from(terms.per_units.max(1));
    let narrow = |value| u64::try_from(value).unwrap_or(u64::MAX);
    Owed { amount: Micros(narrow(parts / per)), rest: narrow(parts % per) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use protocol::{Account, DeviceId, Epoch, KindId, RailId, Tokens, voucher};

    fn signer(seed: u8) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::with_last_byte(seed)).unwrap()
    }

    fn domain() -> Eip712Domain {
        voucher::domain(7, Account::with_last_byte(5))
    }

    fn rail() -> Rail {
        Rail {
            id: RailId(3),
            payer: Account::with_last_byte(1),
            payee: Account::with_last_byte(2),
            signer: signer(1).address(),
            device: DeviceId([4; 32]),
            limit: Micros(1_000),
            rate: Micros(0),
            nonce: 5,
            opened: Epoch(0),
            expiry: Epoch(9),
            class: 0,
            presented: Micros(0),
        }
    }

    fn signed(nonce: u64, amount: u64, by: u8) -> SignedVoucher {
        let voucher =
            Voucher { network: NetworkId(1), rail: RailId(3), nonce, amount: Micros(amount) };
        let signature = signer(by).sign_hash_sync(&voucher.signing_hash(&domain())).unwrap();
        SignedVoucher { voucher, signature: signature.as_bytes() }
    }

    #[test]
    fn only_better_vouchers_of_the_rails_signer_within_its_limit_count() {
        let mut tab = Tab::default();
        let mut take = |signed: SignedVoucher| {
            let outcome = tab.take(&signed, (&rail(), Micros(100)), NetworkId(1), &domain());
            (outcome, tab.promised().0)
        };
        assert_eq!(take(signed(5, 100, 1)), (Ok(()), 100));
        assert_eq!(take(signed(6, 50, 1)), (Ok(()), 100));
        assert_eq!(take(signed(6, 300, 1)), (Ok(()), 300));
        assert_eq!(take(signed(7, 400, 2)), (Err(Refusal::BadVoucher), 300));
        assert_eq!(take(signed(4, 400, 1)), (Err(Refusal::BadVoucher), 300));
        // 100 of the limit of 1,000 are the rate's.
        let too_low = Err(Refusal::LimitTooLow(Micros(1_001)));
        assert_eq!(take(signed(7, 901, 1)), (too_low, 300));
        let mut other = signed(7, 400, 1);
        other.voucher.rail = RailId(4);
        assert_eq!(take(other), (Err(Refusal::BadVoucher), 300));
        let mut forged = signed(7, 400, 1);
        forged.voucher.amount = Micros(500);
        assert_eq!(take(forged), (Err(Refusal::BadVoucher), 300));
        let elsewhere = tab.take(&signed(7, 400, 1), (&rail(), Micros(0)), NetworkId(2), &domain());
        assert_eq!(elsewhere, Err(Refusal::BadVoucher));
    }

    /// A price for ten bytes.
    fn terms(delivery_price: u64) -> KindTerms {
        KindTerms {
            kind: KindId(1),
            price: Micros(1),
            delivery_price: Micros(delivery_price),
            per_units: 10,
            stake_base: Tokens::ZERO,
            stake_per: Tokens::ZERO,
            positions: 5,
            window: 6,
        }
    }

    #[test]
    fn deliveries_stop_where_promise_and_credit_end() {
        let (terms, credit) = (terms(1), Micros(50));
        let mut tab = Tab::default();
        assert_eq!(tab.deliver(500, &terms, credit), Ok(()));
        assert_eq!(tab.deliver(10, &terms, credit), Err(Refusal::VoucherNeeded(Micros(51))));
        tab.best = Some(signed(5, 51, 1));
        assert_eq!(tab.deliver(10, &terms, credit), Ok(()));
        assert_eq!(tab.delivered, 510);
        let all = Micros(u64::MAX / 10 + 51);
        assert_eq!(tab.deliver(u64::MAX, &terms, credit), Err(Refusal::VoucherNeeded(all)));
        assert!(!tab.exposed(&Tab { delivered: 10, ..Tab::default() }, 500));
        assert!(tab.exposed(&Tab { delivered: 9, ..Tab::default() }, 500));
    }

    #[test]
    fn a_new_price_is_for_new_bytes_and_no_fraction_is_lost() {
        let mut tab = Tab { best: Some(signed(5, 100, 1)), ..Tab::default() };
        assert_eq!(tab.deliver(1_000, &terms(1), Micros(0)), Ok(()));
        // At ten times the price all bytes so far would cost 1,000.
        let more = tab.deliver(10, &terms(10), Micros(0));
        assert_eq!(more, Err(Refusal::VoucherNeeded(Micros(110))));
        tab.best = Some(signed(6, 110, 1));
        assert_eq!(tab.deliver(10, &terms(10), Micros(0)), Ok(()));
        // Ten times a tenth.
        for _ in 0..9 {
            assert_eq!(tab.deliver(1, &terms(1), Micros(0)), Ok(()));
        }
        let last = tab.deliver(1, &terms(1), Micros(0));
        assert_eq!(last, Err(Refusal::VoucherNeeded(Micros(111))));
        tab.withdraw(19, &terms(1));
        assert_eq!((tab.delivered, tab.owed), (1_000, Some(Owed { amount: Micros(109), rest: 0 })));
        // One of before prices were kept is reckoned at the price at hand.
        let mut old = Tab { delivered: 100, best: None, owed: None };
        assert_eq!(old.deliver(10, &terms(1), Micros(0)), Err(Refusal::VoucherNeeded(Micros(11))));
    }
}
