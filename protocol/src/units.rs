//! Amounts and fractions with their units, and the one rounding rule.
//!
//! * [`Micros`] are dollars with 6 decimals, [`Tokens`] are a network's token with 18 decimals,
//!   [`Ppm`] is a fraction in parts per million.
//! * **Rounding**: every division rounds down ([`mul_div`]); the residue of a split stays with the
//!   treasury ([`crate::reward::split`]). There is no other rounding in the protocol.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Dollars in millionths (6 decimals), as stablecoins count them. At most 18 trillion dollars.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Micros(#[n(0)] pub u64);

/// A network's token in its smallest unit (18 decimals).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens(pub u128);

/// A fraction in parts per million, from 0 to [`Ppm::ONE`] inclusive.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Ppm(#[n(0)] pub u32);

impl Ppm {
    /// The whole.
    pub const ONE: Self = Self(1_000_000);
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The fraction `part / whole`, rounded down; the whole if `part >= whole`, nothing of nothing.
    pub fn ratio(part: u64, whole: u64) -> Self {
        if whole == 0 {
            return Self::ZERO;
        }
        let ppm = mul_div(u128::from(part.min(whole)), 1_000_000, u128::from(whole));
        u32::try_from(ppm).map_or(Self::ONE, Self)
    }

    /// Whether the value is a fraction, that is not above the whole.
    pub const fn is_valid(self) -> bool {
        self.0 <= Self::ONE.0
    }

    /// What is missing to the whole.
    pub const fn complement(self) -> Self {
        Self(Self::ONE.0.saturating_sub(self.0))
    }
}

/// `value * numerator / denominator`, rounded down, with a product of 256 bits.
///
/// Saturates at `u128::MAX`; a zero denominator gives zero. Both are outside what any manifest
/// allows and are chosen so that the function is total.
pub fn mul_div(value: u128, numerator: u128, denominator: u128) -> u128 {
    if denominator == 0 {
        return 0;
    }
    if let Some(product) = value.checked_mul(numerator) {
        return product / denominator;
    }
    let wide = alloy_primitives::U256::from(value) * alloy_primitives::U256::from(numerator)
        / alloy_primitives::U256::from(denominator);
    u128::try_from(wide).unwrap_or(u128::MAX)
}

macro_rules! amount {
    ($name:ident, $inner:ty) => {
        impl $name {
            /// No amount.
            pub const ZERO: Self = Self(0);

            /// The number of smallest units.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The sum, or nothing when it does not fit.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// The difference, or nothing when it would be negative.
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }

            /// The sum, at most the largest amount.
            pub fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, at least zero.
            pub fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// Whether there is nothing.
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// The share `fraction` of this amount, rounded down.
            pub fn share(self, fraction: Ppm) -> Self {
                let part = mul_div(u128::from(self.0), u128::from(fraction.0), 1_000_000);
                Self(<$inner>::try_from(part).unwrap_or(<$inner>::MAX))
            }
        }

        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
                amounts.fold(Self::ZERO, Self::saturating_add)
            }
        }

        impl From<$inner> for $name {
            fn from(units: $inner) -> Self {
                Self(units)
            }
        }
    };
}
amount!(Micros, u64);
amount!(Tokens, u128);

impl fmt::Display for Micros {
    /// Dollars with at least two decimals: `$12.50`, `$0.000150`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros % 10_000 == 0 {
            write!(f, "${dollars}.{:02}", micros / 10_000)
        } else {
            write!(f, "${dollars}.{micros:06}")
        }
    }
}

impl fmt::Display for Tokens {
    /// Whole tokens with up to six decimals, rounded down: `1.5`, `0.000001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WHOLE: u128 = 1_000_000_000_000_000_000;
        let micro = self.0 % WHOLE / 1_000_000_000_000;
        let text = format!("{}.{micro:06}", self.0 / WHOLE);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for Ppm {
    /// Per cent: `85%`, `12.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:04}", self.0 / 10_000, self.0 % 10_000);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Tokens {
    /// A number of whole tokens.
    pub const fn whole(tokens: u64) -> Self {
        // A u64 widened to 128 bits times 10^18 is below 2^124.
        Self(tokens as u128 * 1_000_000_000_000_000_000)
    }
}

impl<C> Encode<C> for Tokens {
    /// A byte string of 16 bytes, big-endian: CBOR integers end at 64 bits.
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0.to_be_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Tokens {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        <[u8; 16]>::try_from(d.bytes()?)
            .map(|bytes| Self(u128::from_be_bytes(bytes)))
            .map_err(|_| minicbor::decode::Error::message("expected 16 bytes of tokens"))
    }
}

impl Serialize for Tokens {
    /// A decimal string: JSON numbers end at 53 bits.
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(Micros(12_500_000).to_string(), "$12.50");
        assert_eq!(Micros(150).to_string(), "$0.000150");
        assert_eq!(Tokens(1_500_000_000_000_000_000).to_string(), "1.5");
        assert_eq!(Tokens::whole(7).to_string(), "7");
        assert_eq!(Ppm(850_000).to_string(), "85%");
        assert_eq!(Ppm(125_000).to_string(), "12.5%");
    }

    proptest! {
        #[test]
        fn mul_div_is_exact_division(a: u128, b: u128, c in 1u128..) {
            use alloy_primitives::U256;
            let exact = U256::from(a) * U256::from(b) / U256::from(c);
            let expected = u128::try_from(exact).unwrap_or(u128::MAX);
            prop_assert_eq!(mul_div(a, b, c), expected);
        }

        #[test]
        fn a_share_never_exceeds_the_whole(units: u64, ppm in 0u32..=1_000_000) {
            let whole = Micros(units);
            let parts = whole.share(Ppm(ppm)).0 + whole.share(Ppm(ppm).complement()).0;
            prop_assert!(parts <= units && units - parts <= 1);
        }
    }
}
