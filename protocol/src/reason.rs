//! Why a row is what it is: every refusal, unpaid unit, slash and closed agreement has one code.
//!
//! Codes are stable: they stand in statements, in answers to agents and in the program's `--json`.
//! New codes are appended; a number is never used again.

use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};
use std::fmt;

/// What a reason does to its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing was lost; the row is explained.
    Paid,
    /// Evidence was refused; nothing else follows.
    Refused,
    /// Units were not paid; the stake is untouched.
    Unpaid,
    /// Stake was taken.
    Slashed,
}

macro_rules! reasons {
    ($($number:literal $name:ident $code:literal $effect:ident $text:literal;)*) => {
        /// A machine-readable reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Reason {
            $(#[doc = $text] #[n($number)] $name,)*
        }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable code, in snake case.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What the reason does.
            pub const fn effect(self) -> Effect {
                match self { $(Self::$name => Effect::$effect,)* }
            }

            /// One sentence for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    0 Proven "proven" Paid "Every duty of the epoch was met.";
    1 VoucherPaid "voucher_paid" Paid "A customer's voucher was accepted.";
    2 RateCapped "rate_capped" Paid "The proven units are worth more than the rail's rate; the rate was paid.";
    3 NothingDue "nothing_due" Paid "No rail held data with this device when the epoch began.";

    20 Malformed "malformed" Refused "The bytes are not a deterministic COSE_Sign1 envelope.";
    21 TooLarge "too_large" Refused "The envelope is over the size limit of its kind.";
    22 UnknownNetwork "unknown_network" Refused "No such network is served here.";
    23 UnknownDevice "unknown_device" Refused "The device is not on this epoch's roster.";
    24 UnknownKind "unknown_kind" Refused "The body's kind is neither the device's nor common.";
    25 BadSignature "bad_signature" Refused "The signature does not match the device's key.";
    26 WrongEpoch "wrong_epoch" Refused "The envelope names an epoch that is not open.";
    27 ClockSkew "clock_skew" Refused "The device's time is too far from the block's.";
    28 Replayed "replayed" Refused "This very report was already accepted.";
    29 OverQuota "over_quota" Refused "The device has used its bytes for this epoch.";
    30 MalformedBody "malformed_body" Refused "The body is not one its kind understands.";
    31 QueueFull "queue_full" Refused "The queue is full; send again later or to another validator.";
    32 NotDue "not_due" Refused "The proof answers no duty of this device.";
    33 WrongDataset "wrong_dataset" Refused "The proof is for another version of the dataset than the frozen one.";

    40 MissedDuty "missed_duty" Unpaid "A duty of this rail was not proven in its window.";
    41 Silent "silent" Unpaid "Nothing was heard from the device in the window; silence costs pay, never stake.";
    42 TwoRailsMissed "two_rails_missed" Unpaid "Two rails were missed, so the device's whole epoch is unpaid.";
    43 DeclaredLoss "declared_loss" Unpaid "The device declared the loss before its window; the stake is untouched.";
    44 LateProof "late_proof" Unpaid "The proof was carried after its window closed.";
    45 EarlyProof "early_proof" Unpaid "The proof was carried before its window opened.";
    46 LimitReached "limit_reached" Unpaid "The rail's limit is used up.";
    47 RailExpired "rail_expired" Unpaid "The rail expired before this epoch.";
    48 BadVoucher "bad_voucher" Unpaid "The voucher's signer, chain, nonce or rail is not the rail's.";
    49 Understaked "understaked" Unpaid "The device's stake is below what its kind demands.";
    50 DuplicateCopy "duplicate_copy" Unpaid "Another copy of the same unit was paid.";
    51 TierCap "tier_cap" Unpaid "The device's tier caps what it may earn.";
    52 NotAdmitted "not_admitted" Unpaid "The manifest does not admit this offer.";
    53 Dust "dust" Unpaid "What was proven is worth less than a millionth of a dollar.";
    54 OverCapacity "over_capacity" Unpaid "The device holds more than it offered and staked for.";
    55 OtherOwner "other_owner" Unpaid "The device belongs to another account than the rail pays.";

    70 SelectiveMiss "selective_miss" Slashed "The device was there in the window, signed other evidence, and failed this duty.";
    71 FalseProof "false_proof" Slashed "A signed proof does not hold.";
    72 ConflictingPayloads "conflicting_payloads" Slashed "Two different payloads under one identity.";
    73 LongAbsence "long_absence" Slashed "Absent for more consecutive epochs than allowed after serving paid data.";
}

impl Reason {
    /// The reason with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let code = String::deserialize(d)?;
        Self::from_code(&code)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown reason {code}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_snake_case() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            let code = reason.code();
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert_eq!(Reason::from_code(code), Some(*reason));
            assert!(Reason::ALL[..i].iter().all(|earlier| earlier.code() != code));
            assert!(reason.text().ends_with('.'));
        }
    }
}
