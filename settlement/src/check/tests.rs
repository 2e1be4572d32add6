use super::*;
use crate::settle::fixture::*;
use protocol::{Micros, RailId, statement::Statement};

/// A change and the violation it must be found by.
type Case = (&'static str, fn(&mut Statement), fn(&Violation) -> bool);

#[test]
#[expect(clippy::too_many_lines, reason = "a table: one broken statement for each rule")]
fn every_rule_notices_its_breach() {
    let first = inputs(5, vec![device(1), device(2)], vec![rail(1, 1), rail(2, 2)]);
    let one = statement(&first, &genesis(), vec![gave(1, 5, 1, 1, 1_000), gave(2, 5, 1, 2, 10)]);
    let second = inputs(6, vec![device(1), device(2)], vec![rail(1, 1), rail(2, 2)]);
    let conflict = [gave(1, 6, 1, 1, 500), gave(1, 6, 1, 1, 501)];
    let faults = vec![fault(1, 1), fault(2, 2)];
    let two = run_with(&second, &one, conflict.to_vec(), faults).unwrap().statement;
    assert_eq!(check(&second, &one, &two), Ok(()));
    let cases: &[Case] = &[
        ("rows swapped", |s| s.rows.reverse(), |v| matches!(v, Violation::Order("rows"))),
        (
            "row doubled",
            |s| s.rows.push(s.rows[1].clone()),
            |v| matches!(v, Violation::Order("rows")),
        ),
        ("row lost", |s| drop(s.rows.pop()), |v| matches!(v, Violation::Rows)),
        ("owner changed", |s| s.rows[0].owner = TREASURY, |v| matches!(v, Violation::Rows)),
        ("no cause", |s| s.rows[0].causes.clear(), |v| matches!(v, Violation::NoCause(_))),
        ("authors swapped", |s| s.authors.reverse(), |v| matches!(v, Violation::Order("authors"))),
        (
            "an author without a cause",
            |s| s.authors[0].causes.clear(),
            |v| matches!(v, Violation::Authors),
        ),
        (
            "a cause without an envelope",
            |s| s.authors[1].causes[0].evidence.clear(),
            |v| matches!(v, Violation::Authors),
        ),
        ("nothing at fault", |s| s.authors[0].envelopes = 0, |v| matches!(v, Violation::Authors)),
        ("rails swapped", |s| s.rails.reverse(), |v| matches!(v, Violation::Order("rails"))),
        (
            "accounts swapped",
            |s| s.accounts.reverse(),
            |v| matches!(v, Violation::Order("accounts")),
        ),
        (
            "a micro made",
            |s| s.accounts[0].earned.cash.0 += 1,
            |v| matches!(v, Violation::Sum("cash earned")),
        ),
        (
            "a micro made and totalled",
            |s| {
                s.accounts[0].earned.cash.0 += 1;
                s.totals.earned.cash.0 += 1;
            },
            |v| matches!(v, Violation::Dollars { .. }),
        ),
        (
            "a micro moved from the burn",
            |s| {
                s.accounts[0].earned.cash.0 += 1;
                s.totals.earned.cash.0 += 1;
                s.totals.to_burn.0 -= 1;
                s.accounts[0].earned.card.0 += 1;
            },
            |v| matches!(v, Violation::Sum("card dollars earned")),
        ),
        (
            "spending forged",
            |s| s.totals.spent.0 += 1,
            |v| matches!(v, Violation::Sum("dollars spent")),
        ),
        (
            "rail forged",
            |s| s.rails[0].by_rate.0 += 1,
            |v| matches!(v, Violation::Sum("payments of rails")),
        ),
        (
            "over the limit",
            |s| s.rails[0].by_voucher = Micros(u64::MAX),
            |v| matches!(v, Violation::Limit(RailId(1))),
        ),
        ("rail fell", |s| s.rails[0].by_rate = Micros(1), |v| matches!(v, Violation::Fell(_))),
        (
            "unknown rail",
            |s| s.rails[1].rail = RailId(9),
            |v| matches!(v, Violation::Limit(RailId(9))),
        ),
        (
            "tokens made",
            |s| s.accounts[1].settled.0 += 1,
            |v| matches!(v, Violation::Sum("tokens vested")),
        ),
        (
            "vested without a grant",
            |s| {
                let more = s.accounts.iter().position(|a| !a.settled.is_zero()).unwrap();
                s.accounts[more].settled.0 += 1;
                s.totals.vested.0 += 1;
            },
            |v| matches!(v, Violation::Sum("tokens granted")),
        ),
        (
            "slash hidden",
            |s| s.totals.slashed.0 -= 1,
            |v| matches!(v, Violation::Sum("stake lost")),
        ),
        (
            "more than the stake",
            |s| s.rows.iter_mut().for_each(|row| row.slashed = Tokens::whole(5_000)),
            |v| matches!(v, Violation::Stake(_)),
        ),
        (
            "a slash not remembered",
            |s| s.devices.iter_mut().for_each(|d| d.slashed = Tokens::ZERO),
            |v| matches!(v, Violation::Sum("a device's slashes")),
        ),
        (
            "a top-up not in the total",
            |s| s.rows.iter_mut().for_each(|row| row.top_up.0 += 1),
            |v| matches!(v, Violation::Sum("top-ups")),
        ),
        (
            "an account lost",
            |s| {
                let at = s.accounts.iter().position(|a| a.account == TREASURY).unwrap();
                let gone = s.accounts.remove(at);
                s.totals.earned.cash.0 -= gone.earned.cash.0;
                s.totals.to_burn.0 += gone.earned.cash.0;
            },
            |v| matches!(v, Violation::Fell("an account")),
        ),
    ];
    for (name, change, expected) in cases {
        let mut forged = two.clone();
        change(&mut forged);
        let found = check(&second, &one, &forged).expect_err(name);
        assert!(expected(&found), "{name}: {found:?}");
    }
}

#[test]
fn an_amount_that_falls_is_noticed() {
    let first = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    let one = statement(&first, &genesis(), vec![gave(1, 5, 1, 1, 1_000)]);
    let second = inputs(6, vec![device(1)], vec![rail(1, 1)]);
    let two = statement(&second, &one, vec![]);
    let mut richer = one.clone();
    let treasury = richer.accounts.iter_mut().find(|a| a.account == TREASURY).unwrap();
    treasury.earned.cash.0 += 1;
    assert_eq!(check(&second, &richer, &two), Err(Violation::Fell("an account's amount")));
    let mut burned = one;
    burned.totals.to_burn.0 += 1;
    assert_eq!(check(&second, &burned, &two), Err(Violation::Fell("a total")));
}
