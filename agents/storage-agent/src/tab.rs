//! What a rail's customer owes for deliveries and what it has promised: the agent's side of vouchers.
//!
//! Rules (design 8, 11):
//! * an amount is cumulative, so only the best voucher of a rail is kept;
//! * bytes are delivered as long as the best voucher, plus a small credit, covers all bytes delivered
//!   on the rail so far with these;
//! * a voucher counts if it is of this rail and network, its nonce is not below the rail's opening
//!   nonce, its amount is within the rail's limit, and the rail's signer signed it.
//!
//! Pure: the store keeps tabs durable, and may lose of a tab at most what the credit allows
//! ([`Tab::exposed`]).

use alloy_sol_types::Eip712Domain;
use minicbor::{Decode, Encode};
use protocol::{
    Micros, NetworkId,
    inputs::Rail,
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
}

impl Tab {
    /// What the best voucher promises.
    pub fn promised(&self) -> Micros {
        self.best.map_or(Micros::ZERO, |signed| signed.voucher.amount)
    }

    /// Takes a voucher in, if it is better than the best so far.
    ///
    /// # Errors
    /// [`Refusal::BadVoucher`] if it is not one of this rail or not signed by its signer.
    pub fn take(
        &mut self,
        signed: &SignedVoucher,
        rail: &Rail,
        network: NetworkId,
        domain: &Eip712Domain,
    ) -> Result<(), Refusal> {
        let Voucher { network: of, rail: id, nonce, amount } = signed.voucher;
        let fits = of == network && id == rail.id && nonce >= rail.nonce && amount <= rail.limit;
        if !fits {
            return Err(Refusal::BadVoucher);
        }
        // A voucher that changes nothing costs no signature check.
        if amount <= self.promised() {
            return Ok(());
        }
        if signed.signer(domain) != Some(rail.signer) {
            return Err(Refusal::BadVoucher);
        }
        self.best = Some(*signed);
        Ok(())
    }

    /// Puts a delivery of `bytes` on the tab. `worth` prices a number of bytes, `credit` is what may
    /// stay unpaid.
    ///
    /// # Errors
    /// [`Refusal::VoucherNeeded`] with the amount that pays for everything delivered and this.
    pub fn deliver(
        &mut self,
        bytes: u64,
        worth: impl Fn(u64) -> Micros,
        credit: u64,
    ) -> Result<(), Refusal> {
        let delivered = self.delivered.saturating_add(bytes);
        let due = worth(delivered);
        if due > self.promised().saturating_add(worth(credit)) {
            return Err(Refusal::VoucherNeeded(due));
        }
        self.delivered = delivered;
        Ok(())
    }

    /// Whether losing the difference between this tab and the `kept` one would cost more than `credit`
    /// bytes.
    pub fn exposed(&self, kept: &Self, credit: u64) -> bool {
        self.delivered.saturating_sub(kept.delivered) > credit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use protocol::{Account, DeviceId, Epoch, RailId, voucher};

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
            let outcome = tab.take(&signed, &rail(), NetworkId(1), &domain());
            (outcome, tab.promised().0)
        };
        assert_eq!(take(signed(5, 100, 1)), (Ok(()), 100));
        assert_eq!(take(signed(6, 50, 1)), (Ok(()), 100));
        assert_eq!(take(signed(6, 300, 1)), (Ok(()), 300));
        assert_eq!(take(signed(7, 400, 2)), (Err(Refusal::BadVoucher), 300));
        assert_eq!(take(signed(4, 400, 1)), (Err(Refusal::BadVoucher), 300));
        assert_eq!(take(signed(7, 1_001, 1)), (Err(Refusal::BadVoucher), 300));
        let mut other = signed(7, 400, 1);
        other.voucher.rail = RailId(4);
        assert_eq!(take(other), (Err(Refusal::BadVoucher), 300));
        let mut forged = signed(7, 400, 1);
        forged.voucher.amount = Micros(500);
        assert_eq!(take(forged), (Err(Refusal::BadVoucher), 300));
        let elsewhere = tab.take(&signed(7, 400, 1), &rail(), NetworkId(2), &domain());
        assert_eq!(elsewhere, Err(Refusal::BadVoucher));
    }

    #[test]
    fn deliveries_stop_where_promise_and_credit_end() {
        let worth = |bytes: u64| Micros(bytes / 10);
        let mut tab = Tab::default();
        assert_eq!(tab.deliver(500, worth, 500), Ok(()));
        assert_eq!(tab.deliver(10, worth, 500), Err(Refusal::VoucherNeeded(Micros(51))));
        tab.best = Some(signed(5, 51, 1));
        assert_eq!(tab.deliver(10, worth, 500), Ok(()));
        assert_eq!(tab.delivered, 510);
        assert_eq!(tab.deliver(u64::MAX, worth, 500), Err(Refusal::VoucherNeeded(worth(u64::MAX))));
        assert!(!tab.exposed(&Tab { delivered: 10, best: None }, 500));
        assert!(tab.exposed(&Tab { delivered: 9, best: None }, 500));
    }
}
