use super::*;

#[test]
fn every_announcement_is_made_again_in_another_term() {
    let mut said = Said::default();
    said.begin(7);
    said.announced.insert(Epoch(3));
    said.refused = Some((Epoch(2), B256::ZERO, Height(9)));
    said.begin(7);
    assert_eq!(said.unannounced(Epoch(3), Epoch(3)), vec![]);
    said.begin(8);
    assert_eq!(said.unannounced(Epoch(3), Epoch(3)), vec![Epoch(3)]);
    assert!(said.refused.is_some(), "what was found is found in any term");
}

#[test]
fn an_epoch_is_announced_once_though_an_earlier_ones_inputs_are_missing() {
    let mut said = Said::default();
    let epochs = |numbers: &[u64]| numbers.iter().copied().map(Epoch).collect::<Vec<_>>();
    assert_eq!(said.unannounced(Epoch(3), Epoch(5)), epochs(&[3, 4, 5]));
    // The inputs of 3 are missing.
    said.announced.extend(epochs(&[4, 5]));
    assert_eq!(said.unannounced(Epoch(3), Epoch(5)), epochs(&[3]));
    assert_eq!(said.unannounced(Epoch(3), Epoch(6)), epochs(&[3, 6]));
    said.announced.insert(Epoch(3));
    assert_eq!(said.unannounced(Epoch(5), Epoch(6)), epochs(&[6]));
    assert_eq!(said.announced, BTreeSet::from([Epoch(5)]), "only open epochs are kept");
}
