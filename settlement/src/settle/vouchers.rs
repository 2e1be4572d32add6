//! Step 3, vouchers: what customers promised by signature, in evidence or by transaction.
//!
//! For each rail the largest valid cumulative amount counts, with the smallest nonce among equals. A
//! voucher is valid if it names this network and a live rail, its nonce is not below the rail's opening
//! nonce, and the rail's signer signed it for this chain and rails contract (EIP-712). Any device of the
//! roster may present it, since it can only bring the payee what was promised. What the ledger recorded
//! by transaction was checked there and counts without a signature.
//!
//! **After its end** a rail pays vouchers once more, in the first epoch settled after it ([`pays`]): the
//! inputs of its last epoch were made before the last vouchers were signed. What the ledger recorded counts
//! in whichever epoch that is. Vouchers in evidence count in the very next epoch only: if that one stays
//! open for too long the payer may take back all that the ledger did not record.
//!
//! Signatures are the dear part: per rail they are checked from the largest amount down to the first
//! that holds, and not at all below what is already promised by transaction. One that holds ends the
//! search, so their number is the rails'; of those that do not, [`BAD_VOUCHERS_MAX`] a presenting device are
//! looked at, and all that it presents beyond is refused unseen.

use super::judge::{Judged, place};
use protocol::{
    Digest, Micros, RailId, Reason,
    body::{BAD_VOUCHERS_MAX, COMMON, Common},
    inputs::{Inputs, Rail},
    kind::Carried,
    statement::{Cause, Statement},
    voucher::{SignedVoucher, domain},
};
use std::{cmp::Reverse, collections::BTreeMap};

/// What was promised on a rail so far.
#[derive(Clone, Copy)]
pub(super) struct Promise {
    /// The cumulative amount.
    pub(super) amount: Micros,
    /// The voucher's nonce; nothing if the ledger recorded it.
    pub(super) nonce: Option<u64>,
    /// The envelope that presented it.
    pub(super) evidence: Option<Digest>,
}

/// A voucher in evidence.
struct Presented {
    signed: SignedVoucher,
    evidence: Digest,
    /// The presenting device's place in the roster.
    presenter: usize,
}

/// The best promise of each rail. Causes of refused vouchers go to the devices that presented them.
pub(super) fn vouchers(
    inputs: &Inputs,
    previous: &Statement,
    carried: &[Carried],
    judged: &mut [Judged],
) -> BTreeMap<RailId, Promise> {
    let mut by_rail: BTreeMap<RailId, Vec<Presented>> = BTreeMap::new();
    for report in carried {
        let Some(presenter) = place(inputs, report.envelope.device()) else { continue };
        for signed in presented(report) {
            match refusal(inputs, previous, &signed) {
                Some(reason) => {
                    judged[presenter].causes.push(refused(reason, &signed, report.digest));
                }
                None => by_rail.entry(signed.voucher.rail).or_default().push(Presented {
                    signed,
                    evidence: report.digest,
                    presenter,
                }),
            }
        }
    }
    let mut promises: BTreeMap<RailId, Promise> = recorded(inputs, previous);
    let mut bad: BTreeMap<usize, usize> = BTreeMap::new();
    for (rail, mut candidates) in by_rail {
        candidates.sort_unstable_by_key(|candidate| {
            let voucher = candidate.signed.voucher;
            (Reverse(voucher.amount), voucher.nonce, candidate.evidence, candidate.signed.signature)
        });
        let Some(signer) = inputs.rail(rail).map(|rail| rail.signer) else { continue };
        let known = promises.get(&rail).map_or(Micros::ZERO, |promise| promise.amount);
        let domain = domain(inputs.chain_id, inputs.rails_contract);
        for candidate in candidates {
            let Presented { signed, evidence, presenter } = candidate;
            if signed.voucher.amount <= known {
                break;
            }
            let seen = bad.entry(presenter).or_default();
            if *seen < BAD_VOUCHERS_MAX && signed.signer(&domain) == Some(signer) {
                let amount = signed.voucher.amount;
                let nonce = Some(signed.voucher.nonce);
                promises.insert(rail, Promise { amount, nonce, evidence: Some(evidence) });
                break;
            }
            *seen = seen.saturating_add(1);
            judged[presenter].causes.push(refused(Reason::BadVoucher, &signed, evidence));
        }
    }
    promises
}

/// Whether a rail pays vouchers in this epoch: if it is live, or if this is the first epoch settled after its
/// end.
pub(super) fn pays(inputs: &Inputs, previous: &Statement, rail: &Rail) -> bool {
    let last = inputs.epoch > rail.expiry && previous.epoch <= rail.expiry;
    inputs.is_live(rail) || last && rail.opened < inputs.epoch && inputs.pays_owner(rail)
}

/// What the ledger recorded by transaction.
fn recorded(inputs: &Inputs, previous: &Statement) -> BTreeMap<RailId, Promise> {
    let recorded = |rail: &&Rail| !rail.presented.is_zero() && pays(inputs, previous, rail);
    let promise = |rail: &Rail| Promise { amount: rail.presented, nonce: None, evidence: None };
    inputs.rails.iter().filter(recorded).map(|rail| (rail.id, promise(rail))).collect()
}

fn presented(report: &Carried) -> Vec<SignedVoucher> {
    let body = &report.envelope.payload().body;
    if body.kind != COMMON {
        return Vec::new();
    }
    match Common::from_body(body) {
        Ok(Common::Vouchers(vouchers)) => vouchers,
        _ => Vec::new(),
    }
}

/// Why a voucher does not count, as far as can be seen without its signature.
fn refusal(inputs: &Inputs, previous: &Statement, signed: &SignedVoucher) -> Option<Reason> {
    let voucher = &signed.voucher;
    let rail = inputs.rail(voucher.rail).filter(|rail| {
        voucher.network == inputs.network
            && voucher.nonce >= rail.nonce
            && rail.opened < inputs.epoch
            && !voucher.amount.is_zero()
    });
    match rail {
        None => Some(Reason::BadVoucher),
        Some(rail) if inputs.epoch > rail.expiry.next() => Some(Reason::RailExpired),
        Some(rail) if inputs.epoch > rail.expiry && !pays(inputs, previous, rail) => {
            Some(Reason::RailExpired)
        }
        Some(_) => None,
    }
}

fn refused(reason: Reason, signed: &SignedVoucher, evidence: Digest) -> Cause {
    Cause { evidence: vec![evidence], ..Cause::on(reason, signed.voucher.rail) }
}
