use super::*;
use crate::settle::fixture::*;

/// An honest statement of two devices with pay, and one that gives the second more than it earned.
fn pair() -> (Statement, Statement) {
    let inputs = inputs(5, vec![device(1), device(2)], vec![rail(1, 1), rail(2, 2)]);
    let evidence = |units| vec![gave(1, 5, 1, 1, 500), gave(2, 5, 1, 2, units)];
    (statement(&inputs, &genesis(), evidence(300)), statement(&inputs, &genesis(), evidence(400)))
}

#[test]
fn only_the_rows_that_differ_are_named_with_what_each_says() {
    let (honest, false_one) = pair();
    assert_eq!(differences(&honest, &honest), Differences::default());
    let found = differences(&honest, &false_one);
    let said: Vec<_> = found.kept.iter().map(|one| (one.subject, one.field)).collect();
    let second = Subject::Device(device_id(2));
    for expected in [
        (Subject::Statement, "evidence"),
        (Subject::Statement, "spent"),
        (second, "units"),
        (second, "paid"),
        (second, "earned"),
        (Subject::Rail(RailId(2)), "paid by rate"),
        (Subject::Account(owner(2)), "earned"),
        (Subject::Account(payer(0)), "spent"),
    ] {
        assert!(said.contains(&expected), "{expected:?} in {said:?}");
    }
    for same in [Subject::Device(device_id(1)), Subject::Rail(RailId(1))] {
        assert!(!said.iter().any(|(subject, _)| *subject == same), "{same} in {said:?}");
    }
    let units = found.kept.iter().find(|one| one.field == "units").unwrap();
    assert_eq!(
        (units.first.as_deref(), units.second.as_deref()),
        (Some("300"), Some("400")),
        "{units:?}"
    );
    assert_eq!(found.count, u64::try_from(found.kept.len()).unwrap());
}

#[test]
fn what_only_one_statement_has_and_every_other_change_is_found() {
    let (honest, _) = pair();
    let mut less = honest.clone();
    let lost = less.accounts.pop().unwrap();
    let found = differences(&honest, &less);
    let subject = Subject::Account(lost.account);
    assert_eq!((found.count, found.kept[0].subject, found.kept[0].field), (1, subject, "row"));
    assert_eq!((found.kept[0].first.is_some(), found.kept[0].second.is_some()), (true, false));

    let mut swapped = honest.clone();
    swapped.rows.reverse();
    let found = differences(&honest, &swapped);
    assert_eq!((found.count, found.kept[0].field), (1, "order of rows"));

    let mut cause = honest.clone();
    cause.rows[0].causes[0].evidence.push(protocol::Digest([7; 32]));
    let found = differences(&honest, &cause);
    assert_eq!((found.count, found.kept[0].field), (1, "causes"));
    assert!(found.kept[0].second.as_ref().unwrap().contains("0707"));
}

#[test]
fn a_flood_of_differences_is_counted_and_not_kept() {
    let (honest, _) = pair();
    let mut flood = honest.clone();
    let row = flood.rails[0];
    let many = u64::try_from(DIFFERENCES_MAX).unwrap() + 10;
    flood.rails.extend((10..10 + many).map(|id| RailState { rail: RailId(id), ..row }));
    let found = differences(&honest, &flood);
    assert_eq!((found.kept.len(), found.count), (DIFFERENCES_MAX, many));
}
