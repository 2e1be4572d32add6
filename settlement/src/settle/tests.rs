use super::*;
use fixture::*;
use protocol::{
    Account, DeviceId, Digest, Epoch, Height, Ppm, Reason,
    inputs::{Device, Rail},
    manifest::{Bootstrap, Vesting},
    voucher::Voucher,
};

#[test]
fn a_dollar_is_divided_by_the_manifest() {
    let inputs = inputs(5, vec![device(1), device(2)], vec![rail(1, 1)]);
    let settled = statement(&inputs, &genesis(), vec![gave(1, 5, 1, 1, 1_000)]);
    let row = settled.row(device_id(1)).unwrap();
    assert_eq!((row.paid, row.earned), (Micros(1_000_000), Micros(850_000)));
    assert_eq!((row.units, row.duties_due, row.duties_met), (1_000, 1, 1));
    // 850 000 to the operator and 2 % to the two owners by stake, half each; 3 % to the treasury.
    assert_eq!(settled.account(owner(1)).unwrap().earned.cash, Micros(860_000));
    assert_eq!(settled.account(owner(2)).unwrap().earned.cash, Micros(10_000));
    assert_eq!(settled.account(TREASURY).unwrap().earned.cash, Micros(30_000));
    assert_eq!(settled.account(payer(0)).unwrap().spent, Micros(1_000_000));
    assert_eq!(settled.totals.to_burn, Micros(100_000));
    // Half the burn at 25 cents a token: 0.2 tokens, a quarter of it free at once.
    assert_eq!(row.top_up, Tokens(200_000_000_000_000_000));
    let account = settled.account(owner(1)).unwrap();
    assert_eq!(account.vested(Epoch(5)), Tokens(50_000_000_000_000_000));
    assert_eq!(account.vested(Epoch(10)), Tokens(125_000_000_000_000_000));
    assert_eq!(account.vested(Epoch(15)), Tokens(200_000_000_000_000_000));
    assert_eq!(settled.rail(RailId(1)).unwrap().by_rate, Micros(1_000_000));
    assert_eq!(reasons(&settled, 2), [Reason::Silent]);
}

#[test]
fn pay_is_the_lesser_of_rate_and_price() {
    let inputs = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    for (units, paid, reason) in [
        (1, 1_000, None),
        (999, 999_000, None),
        (1_000, 1_000_000, None),
        (1_001, 1_000_000, Some(Reason::RateCapped)),
        (u64::MAX, 1_000_000, Some(Reason::RateCapped)),
    ] {
        let settled = statement(&inputs, &genesis(), vec![gave(1, 5, 1, 1, units)]);
        assert_eq!(settled.row(device_id(1)).unwrap().paid, Micros(paid), "{units}");
        let expected = reason.unwrap_or(Reason::NothingDue);
        assert_eq!(reasons(&settled, 1).contains(&expected), reason.is_some());
    }
}

#[test]
fn a_rail_stops_at_its_limit_and_says_so() {
    let limited = Rail { limit: Micros(1_500_000), ..rail(1, 1) };
    let first = inputs(5, vec![device(1)], vec![limited]);
    let one = statement(&first, &genesis(), vec![gave(1, 5, 1, 1, 1_000)]);
    let second = inputs(6, vec![device(1)], vec![limited]);
    let two = statement(&second, &one, vec![gave(1, 6, 1, 1, 1_000)]);
    assert_eq!(two.row(device_id(1)).unwrap().paid, Micros(500_000));
    assert!(reasons(&two, 1).contains(&Reason::LimitReached));
    let third = inputs(7, vec![device(1)], vec![limited]);
    let three = statement(&third, &two, vec![gave(1, 7, 1, 1, 1_000)]);
    assert_eq!(three.row(device_id(1)).unwrap().paid, Micros::ZERO);
    assert!(reasons(&three, 1).contains(&Reason::LimitReached));
    // The payer raises the limit: the rail pays again.
    let raised = Rail { limit: Micros(9_000_000), ..limited };
    let fourth = inputs(8, vec![device(1)], vec![raised]);
    let four = statement(&fourth, &three, vec![gave(1, 8, 1, 1, 1_000)]);
    assert_eq!(four.row(device_id(1)).unwrap().paid, Micros(1_000_000));
    assert_eq!(four.totals.spent, Micros(2_500_000));
}

#[test]
fn a_rail_counts_from_the_epoch_after_its_opening_to_its_expiry() {
    let short = Rail { opened: Epoch(5), expiry: Epoch(6), ..rail(1, 1) };
    for (epoch, paid) in [(5, 0), (6, 1_000_007), (7, 7), (8, 0)] {
        let inputs = inputs(epoch, vec![device(1)], vec![short]);
        let evidence =
            vec![gave(1, epoch, 1, 1, 1_000), presents(1, epoch, 2, vec![voucher(0, 1, 50, 7)])];
        let settled = statement(&inputs, &genesis(), evidence);
        assert_eq!(settled.row(device_id(1)).unwrap().paid, Micros(paid), "{epoch}");
        assert_eq!(reasons(&settled, 1).contains(&Reason::RailExpired), epoch == 8);
        assert_eq!(reasons(&settled, 1).contains(&Reason::BadVoucher), epoch == 5);
    }
}

#[test]
fn vouchers_are_cumulative_and_the_largest_valid_one_counts() {
    let vouchers_only = Rail { rate: Micros::ZERO, ..rail(1, 1) };
    let first = inputs(5, vec![device(1)], vec![vouchers_only]);
    let evidence = vec![
        presents(1, 5, 1, vec![voucher(0, 1, 50, 100), voucher(0, 1, 52, 300)]),
        presents(1, 5, 2, vec![voucher(0, 1, 51, 200), voucher(1, 1, 53, 900)]),
    ];
    let one = statement(&first, &genesis(), evidence);
    assert_eq!(one.row(device_id(1)).unwrap().paid, Micros(300));
    assert_eq!(one.rail(RailId(1)).unwrap().nonce, 52);
    // The one by a stranger is refused with its envelope as evidence.
    let row = one.row(device_id(1)).unwrap();
    let refused = row.causes.iter().find(|cause| cause.reason == Reason::BadVoucher).unwrap();
    assert_eq!((refused.rail, refused.evidence.len()), (Some(RailId(1)), 1));
    // Presented again it pays nothing, a larger one pays the difference.
    let second = inputs(6, vec![device(1)], vec![vouchers_only]);
    let again = vec![presents(1, 6, 1, vec![voucher(0, 1, 52, 300)])];
    assert_eq!(statement(&second, &one, again).totals.spent, Micros(300));
    let more = vec![presents(1, 6, 1, vec![voucher(0, 1, 60, 1_000)])];
    let two = statement(&second, &one, more);
    assert_eq!(two.row(device_id(1)).unwrap().paid, Micros(700));
    assert_eq!(two.rail(RailId(1)).unwrap().by_voucher, Micros(1_000));
}

#[test]
fn vouchers_for_elsewhere_are_refused_by_name() {
    let inputs = inputs(5, vec![device(1)], vec![rail(1, 1), rail(2, 1)]);
    let base = Voucher { network: NETWORK, rail: RailId(1), nonce: 50, amount: Micros(500) };
    let foreign = protocol::NetworkId(9);
    let mut high_s = voucher(0, 1, 50, 500);
    flip_s(&mut high_s.signature);
    for bad in [
        signed(0, base, CHAIN + 1, RAILS),
        signed(0, base, CHAIN, Account::repeat_byte(1)),
        signed(0, Voucher { network: foreign, ..base }, CHAIN, RAILS),
        signed(0, Voucher { rail: RailId(3), ..base }, CHAIN, RAILS),
        signed(0, Voucher { nonce: 49, ..base }, CHAIN, RAILS),
        signed(0, Voucher { amount: Micros::ZERO, ..base }, CHAIN, RAILS),
        signed(1, base, CHAIN, RAILS),
        protocol::voucher::SignedVoucher { voucher: base, signature: [0; 65] },
        protocol::voucher::SignedVoucher {
            voucher: Voucher { amount: Micros(501), ..base },
            ..signed(0, base, CHAIN, RAILS)
        },
        high_s,
    ] {
        let settled = statement(&inputs, &genesis(), vec![presents(1, 5, 1, vec![bad])]);
        assert_eq!(settled.totals.spent, Micros::ZERO, "{bad:?}");
        assert!(reasons(&settled, 1).contains(&Reason::BadVoucher), "{bad:?}");
    }
    let good = presents(1, 5, 1, vec![signed(0, base, CHAIN, RAILS)]);
    assert_eq!(statement(&inputs, &genesis(), vec![good]).totals.spent, Micros(500));
}

/// The same signature in the form that anyone can derive: s becomes n - s, and the parity flips.
fn flip_s(signature: &mut [u8; 65]) {
    use alloy_primitives::U256;
    let order = U256::from_be_bytes(alloy_primitives::hex!(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    ));
    let s = U256::from_be_slice(&signature[32..64]);
    signature[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    signature[64] = if signature[64] == 27 { 28 } else { 27 };
}

#[test]
fn a_voucher_over_the_limit_pays_up_to_the_limit() {
    let small = Rail { limit: Micros(400), rate: Micros::ZERO, ..rail(1, 1) };
    let inputs = inputs(5, vec![device(1)], vec![small]);
    let settled =
        statement(&inputs, &genesis(), vec![presents(1, 5, 1, vec![voucher(0, 1, 50, 1_000)])]);
    assert_eq!(settled.row(device_id(1)).unwrap().paid, Micros(400));
    assert!(reasons(&settled, 1).contains(&Reason::LimitReached));
}

#[test]
fn what_the_ledger_recorded_counts_beside_evidence() {
    let recorded = Rail { presented: Micros(600), rate: Micros::ZERO, ..rail(1, 1) };
    let inputs = inputs(5, vec![device(1)], vec![recorded]);
    assert_eq!(statement(&inputs, &genesis(), vec![]).totals.spent, Micros(600));
    for (amount, spent) in [(500, 600), (900, 900)] {
        let evidence = vec![presents(1, 5, 1, vec![voucher(0, 1, 50, amount)])];
        assert_eq!(statement(&inputs, &genesis(), evidence).totals.spent, Micros(spent));
    }
}

#[test]
fn a_rail_to_a_service_pays_by_voucher_without_a_top_up() {
    let fee = Rail { device: DeviceId::default(), payee: owner(9), ..rail(1, 1) };
    let inputs = inputs(5, vec![device(1)], vec![fee]);
    let evidence = vec![presents(1, 5, 1, vec![voucher(0, 1, 50, 1_000)])];
    let settled = statement(&inputs, &genesis(), evidence);
    assert_eq!(settled.account(owner(9)).unwrap().earned.cash, Micros(850));
    assert_eq!(settled.totals.topped_up, Tokens::ZERO);
    assert_eq!(settled.row(device_id(1)).unwrap().paid, Micros::ZERO);
}

#[test]
fn who_is_not_admitted_or_understaked_earns_nothing_and_still_answers_for_faults() {
    let small = Device { stake: Tokens::whole(199), ..device(1) };
    let empty = Device { capacity: 0, ..device(2) };
    let alien = Device { kind: KindId(8), ..device(3) };
    let rails = vec![rail(1, 1), rail(2, 2), rail(3, 3)];
    let inputs = inputs(5, vec![small, empty, alien], rails);
    let mut evidence: Vec<_> = (1..=3).map(|n| gave(n, 5, 1, u64::from(n), 1_000)).collect();
    evidence.extend((1..=3).map(|n| presents(n, 5, 2, vec![voucher(0, u64::from(n), 50, 9)])));
    evidence.push(said(1, 5, 3, 1, echo(&Said::Fault(Reason::FalseProof))));
    let settled = statement(&inputs, &genesis(), evidence);
    assert_eq!(settled.totals.spent, Micros::ZERO);
    assert!(reasons(&settled, 1).contains(&Reason::Understaked));
    assert!(reasons(&settled, 2).contains(&Reason::NotAdmitted));
    assert!(reasons(&settled, 3).contains(&Reason::NotAdmitted));
    let half = Tokens(Tokens::whole(199).0 / 2);
    assert_eq!(settled.row(device_id(1)).unwrap().slashed, half);
    // With exactly the stake that is asked the same device earns.
    let enough = Device { stake: Tokens::whole(200), ..device(1) };
    let inputs = fixture::inputs(5, vec![enough], vec![rail(1, 1)]);
    let settled = statement(&inputs, &genesis(), vec![gave(1, 5, 1, 1, 1_000)]);
    assert_eq!(settled.totals.spent, Micros(1_000_000));
}

#[test]
fn faults_cost_by_the_table_and_never_more_than_the_stake() {
    let fault = |sequence, reason| said(1, 5, sequence, 1, echo(&Said::Fault(reason)));
    let (selective, proof) = (Reason::SelectiveMiss, Reason::FalseProof);
    for (faults, permille) in [
        (vec![selective], 50),
        (vec![selective, selective, selective], 50),
        (vec![proof], 500),
        (vec![proof, selective], 550),
        // Not a fault: a kind cannot take stake for a reason outside the table.
        (vec![Reason::MissedDuty], 0),
    ] {
        let evidence = (0..).zip(&faults).map(|(at, reason)| fault(at, *reason)).collect();
        let inputs = inputs(5, vec![device(1)], vec![]);
        let settled = statement(&inputs, &genesis(), evidence);
        let row = settled.row(device_id(1)).unwrap();
        assert_eq!(row.slashed, Tokens::whole(permille), "{faults:?}");
        assert_eq!(settled.account(owner(1)).map_or(Tokens::ZERO, |a| a.slashed), row.slashed);
    }
    // Twice half of what is left: the next roster nets it out.
    let mut inputs = inputs(5, vec![device(1)], vec![]);
    let one = statement(&inputs, &genesis(), vec![fault(1, proof)]);
    inputs.epoch = Epoch(6);
    let again = said(1, 6, 1, 1, echo(&Said::Fault(proof)));
    let two = statement(&inputs, &one, vec![again]);
    assert_eq!(two.row(device_id(1)).unwrap().slashed, Tokens::whole(250));
    assert_eq!(two.device(device_id(1)).unwrap().slashed, Tokens::whole(750));
    // A table above the whole is cut at the stake.
    inputs.epoch = Epoch(7);
    inputs.manifest.slashes.false_proof = Ppm::ONE;
    inputs.manifest.slashes.selective_miss = Ppm::ONE;
    let both = [(1, proof), (2, selective)]
        .map(|(sequence, reason)| said(1, 7, sequence, 1, echo(&Said::Fault(reason))));
    let three = statement(&inputs, &two, both.to_vec());
    assert_eq!(three.row(device_id(1)).unwrap().slashed, Tokens::whole(250));
    assert_eq!(three.totals.slashed, Tokens::whole(1_000));
    // Nothing is left: the device may not earn, and a fault costs nothing more.
    inputs.epoch = Epoch(8);
    let four = statement(&inputs, &three, vec![said(1, 8, 1, 1, echo(&Said::Fault(proof)))]);
    assert!(reasons(&four, 1).contains(&Reason::Understaked));
    assert_eq!(four.totals.slashed, Tokens::whole(1_000));
}

#[test]
fn two_payloads_under_one_identity_cost_stake_and_the_first_is_judged() {
    let inputs = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    let first = said(1, 5, 1, 1, echo(&Said::Gave(RailId(1), 100)));
    let second = said(1, 5, 1, 2, echo(&Said::Gave(RailId(1), 900)));
    let settled = statement(&inputs, &genesis(), vec![second.clone(), first.clone()]);
    let row = settled.row(device_id(1)).unwrap();
    assert_eq!((row.paid, row.slashed), (Micros(100_000), Tokens::whole(100)));
    let cause =
        row.causes.iter().find(|cause| cause.reason == Reason::ConflictingPayloads).unwrap();
    assert_eq!(cause.evidence, [first.digest, second.digest]);
    // The same payload twice is one report.
    let again = Carried { height: Height(160), ..first.clone() };
    let settled = statement(&inputs, &genesis(), vec![again, first]);
    assert_eq!(settled.row(device_id(1)).unwrap().paid, Micros(100_000));
    assert_eq!(settled.totals.slashed, Tokens::ZERO);
}

#[test]
fn silence_costs_pay_and_only_long_absence_stake() {
    let at = |epoch| inputs(epoch, vec![device(1)], vec![rail(1, 1)]);
    let mut previous = statement(&at(5), &genesis(), vec![gave(1, 5, 1, 1, 1_000)]);
    // The allowance is two epochs.
    for (epoch, absent, slashed) in [(6, 1, 0), (7, 2, 0), (8, 3, 10), (9, 4, 0)] {
        previous = statement(&at(epoch), &previous, vec![]);
        let row = previous.row(device_id(1)).unwrap();
        assert_eq!((row.paid, row.slashed), (Micros::ZERO, Tokens::whole(slashed)), "{epoch}");
        assert!(row.causes.iter().any(|cause| cause.reason == Reason::Silent));
        assert_eq!(previous.device(device_id(1)).unwrap().absent, absent);
    }
    // A sign of life ends the count.
    previous = statement(&at(10), &previous, vec![report(1, 10, 1)]);
    assert_eq!(previous.device(device_id(1)).unwrap().absent, 0);
    for epoch in 11..=13 {
        previous = statement(&at(epoch), &previous, vec![]);
    }
    assert_eq!(
        previous.device(device_id(1)).unwrap().slashed,
        Tokens(10_000_000_000_000_000_000 + 9_900_000_000_000_000_000)
    );
}

#[test]
fn absence_counts_only_where_something_was_due_and_data_was_paid() {
    // Never served: silence for ever costs nothing.
    let mut previous = genesis();
    for epoch in 5..12 {
        previous = statement(&inputs(epoch, vec![device(1)], vec![rail(1, 1)]), &previous, vec![]);
    }
    assert_eq!(previous.totals.slashed, Tokens::ZERO);
    // Served, and then all rails ended: nothing is due, and leaving is free.
    let with = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    let mut previous = statement(&with, &genesis(), vec![gave(1, 5, 1, 1, 1_000)]);
    for epoch in 6..12 {
        previous = statement(&inputs(epoch, vec![device(1)], vec![]), &previous, vec![]);
    }
    assert_eq!(previous.totals.slashed, Tokens::ZERO);
    assert_eq!(previous.device(device_id(1)).unwrap().absent, 0);
}

#[test]
fn tier_and_quality_cap_the_top_up_and_not_the_dollars() {
    let full = Tokens(200_000_000_000_000_000);
    for (tier, quality, expected) in [
        (2, Ppm::ONE, full),
        (3, Ppm(500_000), Tokens(full.0 / 2)),
        (1, Ppm::ONE, Tokens(full.0 / 2)),
        (0, Ppm::ONE, Tokens::ZERO),
        (9, Ppm::ONE, full),
    ] {
        let device = Device { tier, ..device(1) };
        let inputs = inputs(5, vec![device], vec![rail(1, 1)]);
        let quality = said(1, 5, 2, 1, echo(&Said::Quality(quality)));
        let settled = statement(&inputs, &genesis(), vec![gave(1, 5, 1, 1, 1_000), quality]);
        let row = settled.row(device_id(1)).unwrap();
        assert_eq!((row.paid, row.top_up), (Micros(1_000_000), expected), "tier {tier}");
        assert_eq!(reasons(&settled, 1).contains(&Reason::TierCap), tier < 2);
    }
}

#[test]
fn presence_is_paid_until_its_date_to_who_met_all() {
    let mut base =
        inputs(5, vec![device(1), device(2), device(3), device(4)], vec![rail(1, 1), rail(2, 2)]);
    base.manifest.bootstrap = Bootstrap { per_device: Tokens::whole(3), until: Epoch(6) };
    let evidence = vec![
        gave(1, 5, 1, 1, 10),
        report(2, 5, 1),
        report(3, 5, 1),
        said(4, 5, 1, 1, echo(&Said::Fault(Reason::SelectiveMiss))),
    ];
    let settled = statement(&base, &genesis(), evidence);
    let granted = |n| settled.row(device_id(n)).unwrap().bootstrap;
    assert_eq!(granted(1), Tokens::whole(3));
    assert_eq!(granted(2), Tokens::ZERO, "missed its duty");
    assert_eq!(granted(3), Tokens::whole(3), "nothing was due");
    assert_eq!(granted(4), Tokens::ZERO, "committed a fault");
    assert_eq!(settled.totals.bootstrapped, Tokens::whole(6));
    base.epoch = Epoch(6);
    let settled = statement(&base, &settled, vec![report(3, 6, 1)]);
    assert_eq!(settled.totals.bootstrapped, Tokens::whole(6));
}

#[test]
fn huge_figures_in_a_manifest_do_not_keep_an_epoch_from_being_settled() {
    let mut base = inputs(5, vec![device(1), device(2)], vec![rail(1, 1)]);
    base.manifest.bootstrap = Bootstrap { per_device: Tokens(u128::MAX), until: Epoch(9) };
    base.manifest.token_price = Micros(1);
    let kind = &mut base.manifest.kinds[0];
    (kind.price, kind.per_units, kind.stake_per) = (Micros(u64::MAX), 1, Tokens::ZERO);
    let mut previous = genesis();
    for epoch in 5..8 {
        base.epoch = Epoch(epoch);
        let evidence = vec![gave(1, epoch, 1, 1, 1_000), report(2, epoch, 1)];
        previous = statement(&base, &previous, evidence);
        let totals = previous.totals;
        assert_eq!(totals.topped_up.0.checked_add(totals.bootstrapped.0), Some(u128::MAX));
    }
    assert_eq!(previous.totals.spent, Micros(3_000_000));
}

#[test]
fn who_must_show_a_leaf_has_one() {
    // A device that earns nothing and a payer who pays nothing still get stake and deposit back.
    let inputs = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    let settled = statement(&inputs, &genesis(), vec![]);
    for account in [owner(1), payer(0)] {
        let state = settled.account(account).expect("an account on the roster or of a rail");
        let leaf = state.leaf(settled.network, settled.epoch);
        assert!(settled.tree().proof(leaf.hash()).is_some());
        assert_eq!((leaf.spent, leaf.vested), (Micros::ZERO, Tokens::ZERO));
    }
}

#[test]
fn dust_is_named() {
    let mut inputs = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    inputs.manifest.kinds[0].per_units = 1_000_000_000_000;
    let settled = statement(&inputs, &genesis(), vec![gave(1, 5, 1, 1, 10)]);
    assert_eq!(reasons(&settled, 1), [Reason::Dust]);
}

#[test]
fn tranches_stay_few_and_vest_completely() {
    let mut previous = genesis();
    let (mut last, mut granted) = (Tokens::ZERO, Tokens::ZERO);
    for epoch in 5..400u64 {
        let mut inputs = inputs(
            epoch,
            vec![device(1)],
            vec![Rail { limit: Micros(u64::MAX / 4), expiry: Epoch(1_000), ..rail(1, 1) }],
        );
        inputs.manifest.vesting = Vesting { share: Ppm(750_000), epochs: 200 };
        let evidence =
            if epoch < 150 { vec![gave(1, epoch, 1, 1, 1_000)] } else { vec![report(1, epoch, 1)] };
        previous = statement(&inputs, &previous, evidence);
        let account = previous.account(owner(1)).unwrap();
        // 32 steps at most are under way, and one that has not begun.
        assert!(account.tranches.len() <= 33, "{}", account.tranches.len());
        let vested = account.vested(Epoch(epoch));
        assert!(vested >= last);
        last = vested;
        granted = account.granted();
        assert!(vested <= granted);
    }
    assert_eq!(last, granted);
    assert_eq!(previous.account(owner(1)).unwrap().settled, granted);
    assert!(previous.account(owner(1)).unwrap().tranches.is_empty());
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let inputs = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    let one = statement(&inputs, &genesis(), vec![]);
    assert_eq!(run(&inputs, &one, vec![]), Err(SettleError::Order(Epoch(5), Epoch(5))));
    let foreign = Statement::genesis(CHAIN, protocol::NetworkId(9));
    assert_eq!(run(&inputs, &foreign, vec![]), Err(SettleError::Foreign));
    let foreign = Statement::genesis(1, NETWORK);
    assert_eq!(run(&inputs, &foreign, vec![]), Err(SettleError::Foreign));
    let late = run(&inputs, &genesis(), vec![gave(1, 6, 1, 1, 1)]);
    assert_eq!(late, Err(SettleError::Evidence(NETWORK, Epoch(6))));
    let class = Rail { class: 3, ..rail(1, 1) };
    let odd = fixture::inputs(5, vec![device(1)], vec![class]);
    assert_eq!(run(&odd, &genesis(), vec![]), Err(SettleError::Class(RailId(1), 3)));
}

#[test]
fn classes_never_mix() {
    let rails = vec![
        rail(1, 1),
        Rail { class: 1, ..rail(2, 1) },
        Rail { class: 2, limit: Micros(500_000), ..rail(3, 1) },
    ];
    let inputs = inputs(5, vec![device(1)], rails);
    let evidence = (1..=3).map(|rail| gave(1, 5, rail, rail, 1_000)).collect();
    let settled = statement(&inputs, &genesis(), evidence);
    let earned = settled.account(owner(1)).unwrap().earned;
    assert_eq!(
        (earned.cash, earned.card, earned.credit),
        (Micros(870_000), Micros(870_000), Micros(435_000))
    );
    assert_eq!(settled.account(TREASURY).unwrap().earned.credit, Micros(15_000));
}

#[test]
fn the_root_proves_every_account() {
    let inputs = inputs(5, vec![device(1), device(2)], vec![rail(1, 1)]);
    let Settled { statement, tree } =
        run(&inputs, &genesis(), vec![gave(1, 5, 1, 1, 1_000)]).unwrap();
    assert_eq!(tree, statement.tree());
    for leaf in statement.leaves() {
        let proof = tree.proof(leaf.hash()).unwrap();
        assert_eq!(protocol::merkle::fold(leaf.hash(), &proof), tree.root());
    }
    let bytes = statement.to_bytes();
    assert_eq!(Statement::from_bytes(&bytes), Ok(statement.clone()));
    assert_eq!(statement.inputs, inputs.digest());
    assert_eq!(statement.previous, genesis().digest());
    assert_ne!(statement.evidence, Digest::default());
}

#[test]
fn what_has_ended_is_forgotten_but_not_what_it_paid() {
    let first = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    let one = statement(&first, &genesis(), vec![gave(1, 5, 1, 1, 1_000)]);
    let two = statement(&inputs(6, vec![device(2)], vec![]), &one, vec![]);
    assert!(two.rails.is_empty() && two.devices.is_empty());
    assert_eq!(two.totals, one.totals_after(&two));
    assert_eq!(two.account(owner(1)).unwrap().earned, one.account(owner(1)).unwrap().earned);
    assert_eq!(two.totals.spent, Micros(1_000_000));
}

trait After {
    fn totals_after(&self, later: &Statement) -> protocol::statement::Totals;
}

impl After for Statement {
    /// The totals of this statement, with what vests until a later one.
    fn totals_after(&self, later: &Statement) -> protocol::statement::Totals {
        let vested = self.accounts.iter().map(|state| state.vested(later.epoch)).sum();
        protocol::statement::Totals { vested, ..self.totals }
    }
}

/// The epoch after a rail's end: what was presented in the last one is paid, and nothing else.
#[test]
fn a_voucher_presented_in_the_last_epoch_is_paid_in_the_next() {
    let ends = |presented| Rail { expiry: Epoch(5), presented, ..rail(1, 1) };
    let first = inputs(5, vec![device(1)], vec![ends(Micros::ZERO)]);
    let one = statement(&first, &genesis(), vec![gave(1, 5, 1, 1, 100)]);
    assert_eq!(one.totals.spent, Micros(100_000));
    // Presented after the last epoch's inputs were made: by transaction, or signed too late for evidence.
    let second = inputs(6, vec![device(1)], vec![ends(Micros(600))]);
    let works = gave(1, 6, 1, 1, 1_000);
    let recorded = statement(&second, &one, vec![works.clone()]);
    assert_eq!(recorded.totals.spent, Micros(100_600));
    assert_eq!(recorded.account(owner(1)).unwrap().earned.cash.0, 85_000 + 2_000 + 510 + 12);
    let evidence = vec![works.clone(), presents(1, 6, 2, vec![voucher(0, 1, 50, 900)])];
    let shown = statement(&second, &one, evidence);
    assert_eq!(shown.totals.spent, Micros(100_900));
    // Once: in the epoch after that it is over, whatever is presented.
    let third = inputs(7, vec![device(1)], vec![ends(Micros(5_000))]);
    let evidence = vec![gave(1, 7, 1, 1, 1_000), presents(1, 7, 2, vec![voucher(0, 1, 50, 5_000)])];
    let over = statement(&third, &shown, evidence.clone());
    assert_eq!(over.totals.spent, shown.totals.spent);
    assert!(reasons(&over, 1).contains(&Reason::RailExpired));
    // If the epochs in between are void, what the ledger recorded is still paid, and evidence is not.
    let void = statement(&third, &one, evidence);
    assert_eq!(void.totals.spent, Micros(105_000));
    let none = Inputs { rails: vec![ends(Micros::ZERO)], ..third };
    let evidence = vec![presents(1, 7, 2, vec![voucher(0, 1, 50, 5_000)])];
    assert_eq!(statement(&none, &one, evidence).totals.spent, one.totals.spent);
}

#[test]
fn a_rail_to_a_former_owner_pays_nobody() {
    let sold = Device { owner: owner(9), ..device(1) };
    let inputs = inputs(5, vec![sold], vec![rail(1, 1)]);
    let evidence = vec![gave(1, 5, 1, 1, 1_000), presents(1, 5, 2, vec![voucher(0, 1, 50, 900)])];
    let settled = statement(&inputs, &genesis(), evidence);
    assert_eq!(settled.totals.spent, Micros::ZERO);
    assert!(reasons(&settled, 1).contains(&Reason::OtherOwner));
    assert_eq!(settled.row(device_id(1)).unwrap().duties_due, 0);
}

#[test]
fn a_slash_is_the_owners_whatever_device_pays_for_it() {
    let two = |bound: [u64; 2], netted: u64| {
        let netted = Tokens::whole(netted);
        let of = |n, stake| {
            let stake = Tokens::whole(stake);
            Device { stake, netted, owner: owner(1), ..device(n) }
        };
        vec![of(1, bound[0]), of(2, bound[1])]
    };
    let fault = |n, epoch, reason| vec![said(n, epoch, 1, 1, echo(&Said::Fault(reason)))];
    let one = inputs(5, two([1_000, 1_000], 0), vec![]);
    let one = statement(&one, &genesis(), fault(2, 5, Reason::FalseProof));
    assert_eq!(one.totals.slashed, Tokens::whole(500));
    // As long as nothing is withdrawn, both devices answer for it.
    let owing = inputs(6, two([1_000, 1_000], 0), vec![]);
    let second = statement(&owing, &one, fault(1, 6, Reason::FalseProof));
    assert_eq!(second.row(device_id(1)).unwrap().slashed, Tokens::whole(375));
    // The owner takes all stake of the first device, and the withdrawal pays for the second's fault. Then
    // 1,000 are bound on the second, of which nothing is owed.
    let two_inputs = inputs(6, two([0, 1_000], 500), vec![]);
    let second = statement(&two_inputs, &one, fault(1, 6, Reason::FalseProof));
    assert_eq!(second.totals.slashed, Tokens::whole(500), "nothing is bound on the first");
    let second = statement(&two_inputs, &one, fault(2, 6, Reason::FalseProof));
    assert_eq!(second.row(device_id(2)).unwrap().slashed, Tokens::whole(500));
    // Who buys the first device owes nothing for it.
    let bought = Device { owner: owner(7), ..device(2) };
    let sold = inputs(6, vec![bought], vec![]);
    let third = statement(&sold, &one, fault(2, 6, Reason::FalseProof));
    assert_eq!(third.account(owner(7)).unwrap().slashed, Tokens::whole(500));
    assert_eq!(third.account(owner(1)).unwrap().slashed, Tokens::whole(500));
}

#[test]
fn bad_vouchers_cost_settlement_little_and_their_device_its_voice() {
    let rails: Vec<Rail> = (1..=3).map(|id| rail(id, 1)).collect();
    let inputs = inputs(5, vec![device(1), device(2)], rails);
    // A device presents more bad vouchers than are looked at, and then good ones.
    let bad: Vec<_> = (0..20).map(|i| voucher(1, 1, 50, 100 + i)).collect();
    let mut evidence: Vec<_> =
        (1..).zip(bad.chunks(10)).map(|(at, part)| presents(1, 5, at, part.to_vec())).collect();
    evidence.push(presents(1, 5, 9, vec![voucher(0, 1, 50, 90), voucher(0, 2, 50, 900)]));
    // Another device's are not touched by that.
    evidence.push(presents(2, 5, 1, vec![voucher(0, 3, 50, 7)]));
    let settled = statement(&inputs, &genesis(), evidence);
    assert_eq!(settled.totals.spent, Micros(7));
    let row = settled.row(device_id(1)).unwrap();
    assert!(row.causes.iter().any(|cause| cause.reason == Reason::BadVoucher));
}

#[test]
fn an_author_at_fault_is_in_the_tree_beside_the_accounts() {
    let inputs = inputs(5, vec![device(1)], vec![rail(1, 1)]);
    let evidence = || vec![gave(1, 5, 1, 1, 1_000)];
    let honest = run(&inputs, &genesis(), evidence()).unwrap();
    let faults = vec![fault(2, 1), fault(1, 7), fault(2, 3)];
    let settled = run_with(&inputs, &genesis(), evidence(), faults).unwrap();
    let statement = &settled.statement;
    assert_ne!(settled.tree.root(), honest.tree.root());
    assert_eq!(statement.totals, honest.statement.totals);
    let row = statement.author(protocol::AuthorKey([2; 32])).unwrap();
    assert_eq!((row.envelopes, row.bytes), (2, 204));
    assert_eq!(statement.author(protocol::AuthorKey([3; 32])), None);
    for leaf in statement.author_leaves() {
        let proof = settled.tree.proof(leaf.hash()).unwrap();
        assert_eq!(protocol::merkle::fold(leaf.hash(), &proof), settled.tree.root());
    }
    // The next epoch begins with a clean sheet.
    let mut next = inputs;
    next.epoch = next.epoch.next();
    assert!(run(&next, statement, Vec::new()).unwrap().statement.authors.is_empty());
}
