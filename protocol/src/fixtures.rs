//! A network's rules for tests, of this crate and of what stands on it. They are there with the feature
//! `fixtures` alone, which nothing that is released turns on.
//!
//! A test states what it depends on and takes the rest from here:
//! `Manifest { price, ..fixtures::manifest(KIND) }`.

use crate::{
    Epoch, KindId, Micros, Ppm, Tokens,
    manifest::{Bootstrap, EvidenceRules, KindTerms, Manifest, Slashes, Split, Vesting},
};

/// Rules that keep every rule ([`Manifest::validate`]), with stakes, grants, prices and slashes.
pub fn manifest(kind: KindId) -> Manifest {
    Manifest {
        version: 1,
        name: "test".into(),
        split: Split::default(),
        beta: Ppm(500_000),
        vesting: Vesting { share: Ppm(750_000), epochs: 180 },
        bootstrap: Bootstrap { per_device: Tokens::whole(1), until: Epoch(100) },
        token_price: Micros(100_000),
        evidence: EvidenceRules {
            quota_bytes: 100_000,
            skew_ms: 30_000,
            slack: 6,
            absence_epochs: 10,
            unbonding_epochs: 4,
        },
        slashes: Slashes {
            conflicting_payloads: Ppm(200_000),
            false_proof: Ppm(500_000),
            selective_miss: Ppm(100_000),
            long_absence: Ppm(100_000),
        },
        tiers: [Ppm(250_000), Ppm(500_000), Ppm::ONE, Ppm::ONE],
        kinds: vec![KindTerms {
            kind,
            price: Micros(50_000),
            delivery_price: Micros(10_000),
            per_units: 1 << 30,
            stake_base: Tokens::whole(10),
            stake_per: Tokens::whole(5),
            positions: 5,
            window: 6,
        }],
    }
}

/// Rules under which nobody stakes, is granted or loses anything, and all costs next to nothing: for tests that
/// are not about money.
pub fn free(kind: KindId) -> Manifest {
    let rules = manifest(kind);
    let none = Ppm::ZERO;
    Manifest {
        bootstrap: Bootstrap { per_device: Tokens::ZERO, until: Epoch(0) },
        evidence: EvidenceRules { slack: 4, ..rules.evidence },
        slashes: Slashes {
            conflicting_payloads: none,
            false_proof: none,
            selective_miss: none,
            long_absence: none,
        },
        tiers: [Ppm::ONE; 4],
        kinds: vec![KindTerms {
            kind,
            price: Micros(1),
            delivery_price: Micros(1),
            per_units: 1,
            stake_base: Tokens::ZERO,
            stake_per: Tokens::ZERO,
            positions: 2,
            window: 6,
        }],
        ..rules
    }
}
