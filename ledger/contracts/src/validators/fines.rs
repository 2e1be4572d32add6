//! Fines: what other contracts take of the bond behind a seat.

use super::state::{Owner, Request, Sums, Validators};
use crate::context::{Checked as _, Context};
use crate::env::Failure;
use alloy_primitives::{Address, B256};
use protocol::Ppm;
use protocol::units::mul_div;

impl Validators {
    /// The key and the account of a seat, by its place in a term's committee; nothing if the committee has no
    /// such seat or is forgotten.
    pub(crate) fn seat(
        &self,
        cx: &mut Context<'_>,
        term: u64,
        place: u64,
    ) -> Result<Option<(B256, Address)>, Failure> {
        match self.committees.at_key(cx, term)?.get(cx, place)? {
            Some(key) => Ok(Some((key, self.keys.get(cx, key)?.account))),
            None => Ok(None),
        }
    }

    /// Takes a share of what backed a key's seat in a term, as far as its owner still has it here. The caller
    /// pays it out.
    pub(crate) fn fine(
        &self,
        cx: &mut Context<'_>,
        key: B256,
        (term, share): (u64, Ppm),
    ) -> Result<u128, Failure> {
        let owner = self.keys.get(cx, key)?.owner;
        let backing = self.backing.get2(cx, term, owner)?;
        let amount = mul_div(backing, u128::from(share.0), u128::from(Ppm::ONE.0));
        self.seize(cx, owner, amount)
    }

    /// Takes up to `amount` from an owner: what would leave first, then the bond. Gives what it got.
    pub(super) fn seize(
        &self,
        cx: &mut Context<'_>,
        owner: Address,
        amount: u128,
    ) -> Result<u128, Failure> {
        let request = self.requests.get(cx, owner)?;
        let asked = amount.min(request.amount);
        let until = if asked == request.amount { 0 } else { request.until };
        let rest = request.amount.minus(asked)?;
        self.requests.set(cx, owner, &Request { amount: rest, until })?;
        let Owner { bond, keys } = self.owners.get(cx, owner)?;
        let bound = amount.minus(asked)?.min(bond);
        self.owners.set(cx, owner, &Owner { bond: bond.minus(bound)?, keys })?;
        let sums = self.sums.get(cx)?;
        let (bonded, unbonding) = (sums.bonded.minus(bound)?, sums.unbonding.minus(asked)?);
        self.sums.set(cx, &Sums { bonded, unbonding, ..sums })?;
        asked.plus(bound)
    }
}
