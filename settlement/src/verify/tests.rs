use super::*;
use crate::settle::fixture::*;

#[test]
fn a_statement_is_verified_from_bytes_and_a_false_one_is_found() {
    // The registry does not know the test's kind: the rows say so, and nothing is paid.
    let first = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    let evidence = || vec![gave(1, 5, 1, 1, 1_000)];
    let one = settle(&first, &genesis(), evidence(), vec![]).unwrap();
    let bytes = one.statement.to_bytes();
    assert_eq!(verify(&first.to_bytes(), None, (evidence(), vec![]), &bytes), Ok(one.clone()));
    assert_eq!(reasons(&one.statement, 1), [protocol::Reason::NotAdmitted]);

    let second = inputs(6, vec![device(1)], vec![rail(1, 1)]);
    let two = settle(&second, &one.statement, vec![], vec![]).unwrap();
    let (inputs, given) = (second.to_bytes(), two.statement.to_bytes());
    assert_eq!(verify(&inputs, Some(&bytes), (vec![], vec![]), &given), Ok(two.clone()));
    // Without its predecessor, with other evidence, or changed, it is not the result.
    for found in [
        verify(&inputs, None, (vec![], vec![]), &given),
        verify(&inputs, Some(&bytes), (vec![], vec![fault(1, 1)]), &given),
        verify(&inputs, Some(&bytes), (vec![report(1, 6, 1)], vec![]), &given),
        verify(&inputs, Some(&bytes), (vec![], vec![]), &bytes),
    ] {
        assert!(matches!(found, Err(VerifyError::Differs { .. })), "{found:?}");
    }
    let mut forged = two.statement;
    forged.totals.to_burn.0 += 1;
    let found = verify(&inputs, Some(&bytes), (vec![], vec![]), &forged.to_bytes());
    assert!(matches!(found, Err(VerifyError::Differs { given, .. }) if given == forged.digest()));
}

#[test]
fn bytes_that_are_no_files_are_refused() {
    let inputs = inputs(5, vec![device(1)], vec![]);
    let good = inputs.to_bytes();
    let cut = &good[..good.len() - 1];
    assert!(matches!(verify(cut, None, (vec![], vec![]), &[]), Err(VerifyError::Inputs(_))));
    let previous = verify(&good, Some(&[0x80]), (vec![], vec![]), &[]);
    assert!(matches!(previous, Err(VerifyError::Statement("previous", _))));
    let order = verify(
        &good,
        Some(&settle(&inputs, &genesis(), vec![], vec![]).unwrap().statement.to_bytes()),
        (vec![], vec![]),
        &[],
    );
    assert!(matches!(order, Err(VerifyError::Settle(SettleError::Order(..)))));
}
