//! The manifest: everything a network's holders can set, in one signed-off, versioned document.
//!
//! The ledger's `Networks` contract stores manifests as these canonical bytes and refuses what
//! [`Manifest::validate`] refuses; settlement reads them from the epoch's inputs file. Defaults are
//! the design's (design 8), durations are in epochs or heights, never in seconds.

use crate::{Epoch, KindId, Micros, Ppm, Tokens, units::mul_div};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The largest encoded manifest, in bytes.
pub const MANIFEST_MAX: usize = 8 * 1024;
/// How many kinds one network may have.
pub const KINDS_MAX: usize = 32;
/// What one who washes a dollar through a network must at least lose of it (design 8).
pub const WASH_LOSS_MIN: Ppm = Ppm(50_000);

/// A network's rules.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Manifest {
    /// The format of this document: 1.
    #[n(0)]
    pub version: u16,
    /// The network's name, for people.
    #[n(1)]
    pub name: String,
    /// How a payment is divided.
    #[n(2)]
    pub split: Split,
    /// The largest top-up in tokens, as a share of what the same payment burns (beta).
    #[n(3)]
    pub beta: Ppm,
    /// How top-ups vest.
    #[n(4)]
    pub vesting: Vesting,
    /// What devices are paid for presence in the beginning.
    #[n(5)]
    pub bootstrap: Bootstrap,
    /// Dollars for one whole token until the auction has set a price.
    #[n(6)]
    pub token_price: Micros,
    /// Rules of evidence.
    #[n(7)]
    pub evidence: EvidenceRules,
    /// What faults cost.
    #[n(8)]
    pub slashes: Slashes,
    /// The share of a full reward that a device of tier 0, 1, 2 or 3 may earn.
    #[n(9)]
    pub tiers: [Ppm; 4],
    /// The kinds of hardware that the network pays, ascending by kind.
    #[n(10)]
    pub kinds: Vec<KindTerms>,
}

/// How one payment is divided; the parts add up to the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Split {
    /// To the device's owner.
    #[n(0)]
    pub operator: Ppm,
    /// To buy the network's token and burn it.
    #[n(1)]
    pub burn: Ppm,
    /// To the treasury, which also keeps what rounding leaves over.
    #[n(2)]
    pub treasury: Ppm,
    /// To those who stake on devices, by stake.
    #[n(3)]
    pub stakers: Ppm,
}

/// How top-ups vest: the rest is free at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Vesting {
    /// The share that vests over time.
    #[n(0)]
    pub share: Ppm,
    /// Over how many epochs, linearly. At least 1.
    #[n(1)]
    pub epochs: u32,
}

/// Pay for presence: per device, never proportional to dollars, and it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Bootstrap {
    /// Tokens a device and epoch in which it met all its duties.
    #[n(0)]
    pub per_device: Tokens,
    /// The first epoch without.
    #[n(1)]
    pub until: Epoch,
}

/// Rules of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct EvidenceRules {
    /// Bytes of envelopes that any device may send in an epoch, and the most that one rail adds to them
    /// ([`crate::inputs::Inputs::quota`]).
    #[n(0)]
    pub quota_bytes: u32,
    /// How far an envelope's time may be from the time of the block that carries it.
    #[n(1)]
    pub skew_ms: u32,
    /// How many heights after its window a proof may still be carried.
    #[n(2)]
    pub slack: u16,
    /// How many consecutive epochs a device that serves paid data may be absent.
    #[n(3)]
    pub absence_epochs: u16,
    /// How many epochs stake stays bound after it was asked back; above the dispute window.
    #[n(4)]
    pub unbonding_epochs: u16,
}

/// The published table of slashes: the share of a device's stake that a fault costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Slashes {
    /// Two payloads under one identity.
    #[n(0)]
    pub conflicting_payloads: Ppm,
    /// A signed proof that does not hold.
    #[n(1)]
    pub false_proof: Ppm,
    /// A duty failed by a device that was there.
    #[n(2)]
    pub selective_miss: Ppm,
    /// Absence beyond the allowance.
    #[n(3)]
    pub long_absence: Ppm,
}

/// What one kind of hardware is asked and paid, in the kind's own unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct KindTerms {
    /// The kind.
    #[n(0)]
    pub kind: KindId,
    /// Dollars an epoch for [`KindTerms::per_units`] units provided.
    #[n(1)]
    pub price: Micros,
    /// Dollars for [`KindTerms::per_units`] units delivered to a customer.
    #[n(2)]
    pub delivery_price: Micros,
    /// How many units the prices and the stake are for (2^30 bytes for storage).
    #[n(3)]
    pub per_units: u64,
    /// Stake of any device of this kind.
    #[n(4)]
    pub stake_base: Tokens,
    /// Further stake for each [`KindTerms::per_units`] units offered.
    #[n(5)]
    pub stake_per: Tokens,
    /// How many proofs an epoch and rail. At least 1.
    #[n(6)]
    pub positions: u16,
    /// How many heights a proof's window is long. At least 1.
    #[n(7)]
    pub window: u16,
}

impl KindTerms {
    /// The dollars for `units` at `price` for [`KindTerms::per_units`], rounded down.
    pub fn dollars(&self, units: u64, price: Micros) -> Micros {
        let micros = mul_div(u128::from(units), u128::from(price.0), u128::from(self.per_units));
        Micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The units that `dollars` pay for at `price` for [`KindTerms::per_units`], rounded down; nothing if
    /// they cost nothing.
    pub fn units(&self, dollars: Micros, price: Micros) -> Option<u64> {
        if price.is_zero() {
            return None;
        }
        let (dollars, price) = (u128::from(dollars.0), u128::from(price.0));
        let units = mul_div(dollars, u128::from(self.per_units), price);
        Some(u64::try_from(units).unwrap_or(u64::MAX))
    }

    /// The stake that a device offering `capacity` units needs.
    pub fn stake(&self, capacity: u64) -> Tokens {
        let per = mul_div(self.stake_per.0, u128::from(capacity), u128::from(self.per_units));
        self.stake_base.saturating_add(Tokens(per))
    }
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A format this version does not know.
    #[error("manifest version {0} is not 1")]
    Version(u16),
    /// No name, or one over 64 bytes.
    #[error("the name must have 1 to 64 bytes")]
    Name,
    /// The parts do not add up.
    #[error("the split adds up to {0} ppm and not to the whole")]
    Split(u64),
    /// A fraction above the whole.
    #[error("{0} is above the whole")]
    Fraction(&'static str),
    /// Washing money would cost too little.
    #[error(
        "(1 - beta) x burn share is {0}, and must be at least {WASH_LOSS_MIN}: raise the burn share or lower beta"
    )]
    Wash(Ppm),
    /// A number that must not be zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// Kinds out of order, repeated, too many or none.
    #[error("kinds must be 1 to {KINDS_MAX}, ascending, without 0")]
    Kinds,
}

impl Manifest {
    /// Checks all rules that a manifest must keep.
    ///
    /// # Errors
    /// The first rule that is broken, with the figure.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.version != 1 {
            return Err(ManifestError::Version(self.version));
        }
        if self.name.is_empty() || self.name.len() > 64 {
            return Err(ManifestError::Name);
        }
        self.validate_fractions()?;
        let wash = Ppm(u32::try_from(
            u64::from(self.beta.complement().0) * u64::from(self.split.burn.0) / 1_000_000,
        )
        .unwrap_or(0));
        if wash < WASH_LOSS_MIN {
            return Err(ManifestError::Wash(wash));
        }
        for (value, name) in [
            (u64::from(self.vesting.epochs), "vesting.epochs"),
            (self.token_price.0, "token_price"),
            (u64::from(self.evidence.quota_bytes), "evidence.quota_bytes"),
            (u64::from(self.evidence.unbonding_epochs), "evidence.unbonding_epochs"),
        ] {
            if value == 0 {
                return Err(ManifestError::Zero(name));
            }
        }
        self.validate_kinds()
    }

    fn validate_fractions(&self) -> Result<(), ManifestError> {
        let Split { operator, burn, treasury, stakers } = self.split;
        let sum = [operator, burn, treasury, stakers].iter().map(|part| u64::from(part.0)).sum();
        if sum != u64::from(Ppm::ONE.0) {
            return Err(ManifestError::Split(sum));
        }
        let Slashes { conflicting_payloads, false_proof, selective_miss, long_absence } =
            self.slashes;
        let named = [
            (self.beta, "beta"),
            (self.vesting.share, "vesting.share"),
            (conflicting_payloads, "slashes.conflicting_payloads"),
            (false_proof, "slashes.false_proof"),
            (selective_miss, "slashes.selective_miss"),
            (long_absence, "slashes.long_absence"),
        ];
        let tiers = self.tiers.iter().map(|tier| (*tier, "tiers"));
        named
            .into_iter()
            .chain(tiers)
            .find(|(fraction, _)| !fraction.is_valid())
            .map_or(Ok(()), |(_, name)| Err(ManifestError::Fraction(name)))
    }

    fn validate_kinds(&self) -> Result<(), ManifestError> {
        let ascending = self.kinds.windows(2).all(|pair| pair[0].kind < pair[1].kind);
        let named = self.kinds.first().is_some_and(|terms| terms.kind.0 != 0);
        if !ascending || !named || self.kinds.len() > KINDS_MAX {
            return Err(ManifestError::Kinds);
        }
        for terms in &self.kinds {
            if terms.per_units == 0 {
                return Err(ManifestError::Zero("kinds.per_units"));
            }
            if terms.positions == 0 || terms.window == 0 {
                return Err(ManifestError::Zero("kinds.positions and kinds.window"));
            }
        }
        Ok(())
    }

    /// The terms of `kind`, if the network has it.
    pub fn terms(&self, kind: KindId) -> Option<&KindTerms> {
        self.kinds.iter().find(|terms| terms.kind == kind)
    }

    /// The share of a full reward that `tier` may earn; tiers above 3 earn as 3.
    pub fn tier_cap(&self, tier: u8) -> Ppm {
        self.tiers[usize::from(tier.min(3))]
    }
}

impl Default for Split {
    fn default() -> Self {
        Self {
            operator: Ppm(850_000),
            burn: Ppm(100_000),
            treasury: Ppm(30_000),
            stakers: Ppm(20_000),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
