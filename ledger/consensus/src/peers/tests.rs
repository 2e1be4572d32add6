use super::*;
use crate::testing::keys;

fn key(n: u8) -> PublicKey {
    keys(n).signer().public_key()
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 9_000))
}

/// Seats 1 and 2 run, 2 and 3 are next, 4 ran before; 5 is registered without a seat, 6 without an endpoint.
fn known() -> Known {
    Known {
        running: vec![key(1), key(2)],
        next: vec![key(2), key(3)],
        before: vec![key(1), key(4)],
        endpoints: (1..=6).map(|n| (key(n), (n != 6).then(|| address(n)))).collect(),
    }
}

#[test]
fn committees_are_primary_and_everybody_else_secondary() {
    let configured = [(key(9), address(9)), (key(3), address(33))].into();
    let chosen = choose(&known(), &configured, 100);
    let of = |names: &[(u8, u8)]| names.iter().map(|(n, at)| (key(*n), address(*at))).collect();
    // What is configured holds, whatever the ledger says.
    let primary: BTreeMap<_, _> = of(&[(1, 1), (2, 2), (3, 33)]);
    assert_eq!(chosen.primary, primary);
    assert_eq!(chosen.secondary, of(&[(4, 4), (5, 5), (9, 9)]));
    assert_eq!(chosen.left_out, 0);
    assert_eq!(chosen.peers().secondary.len(), 3);
}

#[test]
fn committees_come_first_when_there_is_no_room() {
    let configured = [(key(9), address(9))].into();
    let chosen = choose(&known(), &configured, 4);
    assert_eq!(chosen.primary.len(), 3);
    assert_eq!(chosen.secondary.keys().collect::<Vec<_>>(), [&key(4)]);
    assert_eq!(chosen.left_out, 2);
    assert_eq!(choose(&known(), &configured, 2).left_out, 4);
}

#[test]
fn new_seats_never_take_the_room_of_old_ones() {
    let all: Vec<_> = (1..=5).map(key).collect();
    for old in &all {
        let endpoints = known().endpoints;
        let known =
            Known { running: all.clone(), next: all.clone(), before: vec![old.clone()], endpoints };
        let chosen = choose(&known, &BTreeMap::new(), 1);
        assert_eq!(chosen.primary.keys().collect::<Vec<_>>(), [old]);
    }
}

#[test]
fn who_has_no_address_is_left_out() {
    let silent = Known { running: vec![key(6), key(7)], ..known() };
    let chosen = choose(&silent, &BTreeMap::new(), 100);
    assert!(!chosen.primary.contains_key(&key(6)) && !chosen.primary.contains_key(&key(7)));
    assert_eq!(chosen.left_out, 0);
}
