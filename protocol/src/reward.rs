//! From a payment to what its parties get: the split, the top-up, and vesting (design 8).

use crate::{
    Epoch, Micros, Ppm, Tokens,
    manifest::{Manifest, Split, Vesting},
    units::mul_div,
};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// One whole token in its smallest unit.
const TOKEN: u128 = 1_000_000_000_000_000_000;

/// The parts of one payment; they add up to it exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// To the device's owner.
    pub operator: Micros,
    /// To buy tokens and burn them.
    pub burn: Micros,
    /// To the treasury, with what rounding left over.
    pub treasury: Micros,
    /// To the stakers.
    pub stakers: Micros,
}

/// Divides `payment`: each share is rounded down and the residue goes to the treasury.
pub fn split(payment: Micros, split: &Split) -> Parts {
    let operator = payment.share(split.operator);
    let burn = payment.share(split.burn);
    let stakers = payment.share(split.stakers);
    let given = operator.saturating_add(burn).saturating_add(stakers);
    Parts { operator, burn, stakers, treasury: payment.saturating_sub(given) }
}

/// Scales by fractions one after the other, rounding down each time.
pub fn scale(tokens: Tokens, fractions: &[Ppm]) -> Tokens {
    fractions.iter().fold(tokens, |tokens, &fraction| tokens.share(fraction))
}

/// The tokens worth `dollars` at `price` dollars for a whole token, rounded down.
pub fn tokens_worth(dollars: Micros, price: Micros) -> Tokens {
    Tokens(mul_div(u128::from(dollars.0), TOKEN, u128::from(price.0)))
}

/// The top-up of a payment that burned `burn`: at most beta x burn x quality x uniqueness, in tokens
/// at the manifest's price, never renormalised.
pub fn top_up(burn: Micros, quality: Ppm, uniqueness: Ppm, manifest: &Manifest) -> Tokens {
    let full = tokens_worth(burn.share(manifest.beta), manifest.token_price);
    scale(full, &[quality, uniqueness])
}

/// Tokens that vest linearly from an epoch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Tranche {
    /// The epoch of the grant; nothing has vested in it.
    #[n(0)]
    pub from: Epoch,
    /// Over how many epochs.
    #[n(1)]
    pub epochs: u32,
    /// How much.
    #[n(2)]
    pub amount: Tokens,
}

impl Tranche {
    /// What has vested when `epoch` ends, rounded down.
    pub fn vested(&self, epoch: Epoch) -> Tokens {
        let elapsed = epoch.0.saturating_sub(self.from.0).min(u64::from(self.epochs));
        Tokens(mul_div(self.amount.0, u128::from(elapsed), u128::from(self.epochs)))
    }

    /// Whether all of it has vested when `epoch` ends.
    pub fn is_complete(&self, epoch: Epoch) -> bool {
        epoch.0.saturating_sub(self.from.0) >= u64::from(self.epochs)
    }
}

/// Divides a grant into what is free at once and what vests.
pub fn vest(grant: Tokens, at: Epoch, vesting: &Vesting) -> (Tokens, Tranche) {
    let later = grant.share(vesting.share);
    let tranche = Tranche { from: at, epochs: vesting.epochs, amount: later };
    (grant.saturating_sub(later), tranche)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_split_neither_makes_nor_loses_money(payment: u64) {
            let parts = split(Micros(payment), &Split::default());
            let sum = parts.operator.0 + parts.burn.0 + parts.treasury.0 + parts.stakers.0;
            prop_assert_eq!(sum, payment);
        }

        #[test]
        fn vesting_ends_exactly_at_the_grant(
            amount in 0u128..1 << 100, epochs in 1u32..10_000, at in 0u64..1_000_000,
        ) {
            let vesting = Vesting { share: Ppm(750_000), epochs };
            let (free, tranche) = vest(Tokens(amount), Epoch(at), &vesting);
            let end = Epoch(at + u64::from(epochs));
            prop_assert_eq!(free.0 + tranche.vested(end).0, amount);
            prop_assert!(tranche.vested(Epoch(at)).is_zero());
            prop_assert!(tranche.is_complete(end) && !tranche.is_complete(Epoch(end.0 - 1)));
        }
    }
}
