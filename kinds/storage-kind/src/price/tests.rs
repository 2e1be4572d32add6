use super::*;
use crate::fixture::manifest;
use proptest::prelude::*;
use protocol::{KindId, Tokens};

fn offer(capacity: u64) -> Offer {
    Offer { capacity, tier: 2, cell: 0 }
}

#[test]
fn an_offer_needs_stake_by_its_capacity() {
    let stake = |capacity| admit(&offer(capacity), &manifest()).map(|admission| admission.stake);
    assert_eq!(stake(1 << 30), Ok(Tokens::whole(15)));
    assert_eq!(stake(4 << 30), Ok(Tokens::whole(30)));
    assert_eq!(stake(0), Err(Reason::NotAdmitted));
    let mut manifest = manifest();
    manifest.kinds[0].kind = KindId(2);
    assert_eq!(admit(&offer(1), &manifest), Err(Reason::NotAdmitted));
}

#[test]
fn bytes_are_priced_by_the_terms() {
    let price = |usage| price(&usage, &manifest());
    assert_eq!(price(Usage::Provided(1 << 30)), Micros(50_000));
    assert_eq!(price(Usage::Provided(3 << 29)), Micros(75_000));
    assert_eq!(price(Usage::Delivered(1 << 30)), Micros(10_000));
    // A millionth of a dollar buys 2^30 / 50,000 = 21,474.8 bytes: what is less is rounded down.
    assert_eq!(price(Usage::Provided(21_474)), Micros(0));
    assert_eq!(price(Usage::Provided(21_475)), Micros(1));
    let mut none = manifest();
    none.kinds[0].kind = KindId(2);
    assert_eq!(super::price(&Usage::Provided(1 << 40), &none), Micros(0));
}

proptest! {
    #[test]
    fn more_bytes_never_cost_less_and_parts_never_more_than_the_whole(a: u64, b: u64) {
        let price = |bytes| price(&Usage::Provided(bytes), &manifest()).0;
        prop_assert!(price(a.min(b)) <= price(a.max(b)));
        if let Some(sum) = a.checked_add(b) {
            prop_assert!(price(a).saturating_add(price(b)) <= price(sum));
        }
    }
}
