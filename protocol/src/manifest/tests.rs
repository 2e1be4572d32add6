use super::*;
use crate::fixtures;

#[test]
fn each_rule_is_kept_and_named() {
    assert_eq!(fixtures::manifest(KindId(1)).validate(), Ok(()));
    let broken = |change: fn(&mut Manifest)| {
        let mut manifest = fixtures::manifest(KindId(1));
        change(&mut manifest);
        manifest.validate().unwrap_err()
    };
    assert_eq!(broken(|m| m.version = 2), ManifestError::Version(2));
    assert_eq!(broken(|m| m.name.clear()), ManifestError::Name);
    assert_eq!(broken(|m| m.split.operator = Ppm(860_000)), ManifestError::Split(1_010_000));
    assert_eq!(
        broken(|m| m.slashes.false_proof = Ppm(1_000_001)),
        ManifestError::Fraction("slashes.false_proof")
    );
    assert_eq!(broken(|m| m.tiers[0] = Ppm(1_000_001)), ManifestError::Fraction("tiers"));
    assert_eq!(broken(|m| m.beta = Ppm(500_010)), ManifestError::Wash(Ppm(49_999)));
    assert_eq!(broken(|m| m.vesting.epochs = 0), ManifestError::Zero("vesting.epochs"));
    assert_eq!(broken(|m| m.token_price = Micros(0)), ManifestError::Zero("token_price"));
    assert_eq!(broken(|m| m.kinds.clear()), ManifestError::Kinds);
    assert_eq!(broken(|m| m.kinds[0].kind = KindId(0)), ManifestError::Kinds);
    assert_eq!(broken(|m| m.kinds.push(m.kinds[0])), ManifestError::Kinds);
    assert_eq!(broken(|m| m.kinds[0].per_units = 0), ManifestError::Zero("kinds.per_units"));
}

#[test]
fn prices_and_stakes_follow_the_terms() {
    let terms = fixtures::manifest(KindId(1)).kinds[0];
    assert_eq!(terms.dollars(1 << 29, terms.price), Micros(25_000));
    assert_eq!(terms.dollars(1, terms.price), Micros(0));
    assert_eq!(terms.units(Micros(25_000), terms.price), Some(1 << 29));
    assert_eq!(terms.units(Micros(u64::MAX), Micros(1)), Some(u64::MAX));
    assert_eq!(terms.units(Micros(1), Micros::ZERO), None);
    assert_eq!(terms.stake(3 << 30), Tokens::whole(25));
}
