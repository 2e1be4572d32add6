//! Properties of settlement over random epochs.

use super::{fixture::*, *};
use proptest::prelude::*;
use protocol::{
    Account, Epoch, Height, Micros, Ppm, RailId, Reason, Tokens,
    inputs::Rail,
    manifest::{Bootstrap, Split},
    statement::Statement,
};
use std::collections::BTreeMap;

/// What one device does on one rail in one epoch.
#[derive(Clone, Debug)]
enum Act {
    Gave { rail: u64, units: u64 },
    Promised { rail: u64, amount: u64, nonce: u64, by: u8 },
    Fault(bool),
    Conflict { rail: u64, units: u64 },
    Report,
}

/// What happens in one epoch.
#[derive(Clone, Debug)]
struct Happening {
    acts: Vec<(u8, Act)>,
    /// Rails whose limit is raised.
    raised: Vec<(u64, u64)>,
    /// Devices that do not leave the roster.
    present: [bool; 4],
    stakes: [u64; 4],
}

const RAILS_COUNT: u64 = 5;

fn act() -> impl Strategy<Value = Act> {
    let rail = 1..=RAILS_COUNT;
    prop_oneof![
        4 => (rail.clone(), 0u64..3_000).prop_map(|(rail, units)| Act::Gave { rail, units }),
        3 => (rail.clone(), 0u64..4_000_000, 45u64..60, 0u8..2)
            .prop_map(|(rail, amount, nonce, by)| Act::Promised { rail, amount, nonce, by }),
        1 => any::<bool>().prop_map(Act::Fault),
        1 => (rail, 0u64..3_000).prop_map(|(rail, units)| Act::Conflict { rail, units }),
        2 => Just(Act::Report),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    (
        proptest::collection::vec((1u8..=4, act()), 0..12),
        proptest::collection::vec((1..=RAILS_COUNT, 0u64..2_000_000), 0..2),
        proptest::array::uniform4(proptest::bool::weighted(0.9)),
        proptest::array::uniform4(0u64..1_000),
    )
        .prop_map(|(acts, raised, present, stakes)| Happening {
            acts,
            raised,
            present,
            stakes,
        })
}

fn evidence(epoch: u64, acts: &[(u8, Act)]) -> Vec<Carried> {
    let mut carried = Vec::new();
    for (sequence, (n, act)) in (1u64..).zip(acts) {
        let sequence = sequence * 10;
        let report = match act {
            Act::Gave { rail, units } => gave(*n, epoch, sequence, *rail, *units),
            Act::Promised { rail, amount, nonce, by } => {
                presents(*n, epoch, sequence, vec![voucher(*by, *rail, *nonce, *amount)])
            }
            Act::Fault(proof) => {
                let reason = if *proof { Reason::FalseProof } else { Reason::SelectiveMiss };
                said(*n, epoch, sequence, 3, echo(&Said::Fault(reason)))
            }
            Act::Conflict { rail, units } => {
                carried.push(gave(*n, epoch, sequence, *rail, *units));
                said(*n, epoch, sequence, 5, echo(&Said::Gave(RailId(*rail), *units + 1)))
            }
            Act::Report => report(*n, epoch, sequence),
        };
        carried.push(report);
    }
    carried
}

/// Rail 5 is a service's; the others belong to devices 1 to 4 and end one after another.
fn rails(limits: &BTreeMap<u64, u64>, epoch: u64, present: [bool; 4]) -> Vec<Rail> {
    (1..=RAILS_COUNT)
        .filter_map(|id| {
            let n = u8::try_from(id).unwrap();
            let limit = Micros(limits[&id]);
            let base = Rail { limit, expiry: Epoch(6 + 3 * id), ..rail(id, n) };
            if id == RAILS_COUNT {
                return Some(Rail { device: protocol::DeviceId::default(), ..base });
            }
            let there = present[usize::from(n) - 1] && epoch <= base.expiry.0;
            there.then_some(base)
        })
        .collect()
}

fn shuffled(mut carried: Vec<Carried>, salt: u64) -> Vec<Carried> {
    carried.sort_by_key(|report| {
        blake3::hash(&[&salt.to_be_bytes()[..], report.digest.as_bytes()].concat()).to_hex()
    });
    // Repetitions at later heights change nothing either.
    let again: Vec<_> = carried
        .iter()
        .take(3)
        .map(|report| Carried { height: Height(report.height.0 + 1), ..report.clone() })
        .collect();
    again.into_iter().chain(carried).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Over any sequence of epochs: money is conserved (checked by settlement itself and once more
    /// here), no rail pays more than its limit, no leaf ever falls, no device loses more than it has,
    /// rows without pay say why, and the order of evidence changes nothing.
    #[test]
    fn money_is_conserved_over_any_epochs(
        happenings in proptest::collection::vec(happening(), 1..8),
        salt: u64,
    ) {
        let mut limits: BTreeMap<u64, u64> =
            (1..=RAILS_COUNT).map(|id| (id, 700_000 * id)).collect();
        let mut paid: BTreeMap<RailId, u64> = BTreeMap::new();
        let mut previous = genesis();
        let mut present = [true; 4];
        for (epoch, happening) in (5u64..).zip(happenings) {
            // Who has left does not return: a device is retired for good.
            for (there, still) in present.iter_mut().zip(happening.present) {
                *there &= still;
            }
            for (rail, more) in &happening.raised {
                *limits.get_mut(rail).unwrap() += more;
            }
            let devices = (1u8..=4)
                .filter(|n| present[usize::from(*n) - 1])
                .map(|n| {
                    let stake = Tokens::whole(happening.stakes[usize::from(n) - 1]);
                    protocol::inputs::Device { stake, tier: n - 1, ..device(n) }
                })
                .collect();
            let mut inputs =
                inputs(epoch, devices, rails(&limits, epoch, present));
            inputs.manifest.bootstrap =
                Bootstrap { per_device: Tokens::whole(1), until: Epoch(8) };
            let carried = evidence(epoch, &happening.acts);
            let settled = run(&inputs, &previous, carried.clone()).unwrap();
            let again = run(&inputs, &previous, shuffled(carried.clone(), salt)).unwrap();
            prop_assert_eq!(&settled, &again);
            // Authors' faults are told, and move nothing.
            let faults = (0..u8::try_from(salt % 7).unwrap()).map(|at| fault(at % 3, at)).collect();
            let mut blamed = run_with(&inputs, &previous, carried, faults).unwrap().statement;
            prop_assert_eq!(blamed.authors.len(), usize::try_from((salt % 7).min(3)).unwrap());
            blamed.authors.clear();
            prop_assert_eq!(&blamed, &settled.statement);
            let statement = settled.statement;
            verify_epoch(&inputs, &previous, &statement, &mut paid)?;
            previous = statement;
        }
    }

    /// Who pays through its own device, is the only staker and the treasury gets back less than it paid,
    /// tokens at the manifest's price included: at least the least loss that manifests must keep.
    #[test]
    fn washing_loses_money(
        amount in 1_000u64..50_000_000_000,
        burn in 50_000u32..500_000,
        price in 1_000u64..10_000_000,
    ) {
        // The largest beta that leaves a loss of 5 %.
        let beta = 1_000_000 - (50_000_000_000u64.div_ceil(u64::from(burn)));
        let washer = owner(1);
        let rail = Rail { payer: washer, limit: Micros(amount), rate: Micros(amount), ..rail(1, 1) };
        let mut inputs = inputs(5, vec![device(1)], vec![rail]);
        inputs.treasury = washer;
        inputs.manifest.token_price = Micros(price);
        inputs.manifest.beta = Ppm(u32::try_from(beta).unwrap());
        inputs.manifest.split = Split {
            operator: Ppm(900_000 - burn),
            burn: Ppm(burn),
            treasury: Ppm(70_000),
            stakers: Ppm(30_000),
        };
        prop_assert_eq!(inputs.manifest.validate(), Ok(()));
        let settled = statement(&inputs, &genesis(), vec![gave(1, 5, 1, 1, u64::MAX)]);
        let account = settled.account(washer).unwrap();
        prop_assert_eq!(account.spent, Micros(amount));
        let worth = protocol::units::mul_div(
            account.granted().0, u128::from(price), 1_000_000_000_000_000_000,
        );
        let back = u128::from(account.earned.cash.0) + worth;
        let lost = u128::from(amount).checked_sub(back);
        // 5 % less what rounding can give back: the burn is rounded down once.
        let least = u128::from(amount) * 50_000 / 1_000_000;
        prop_assert!(lost.is_some_and(|lost| lost + 2 >= least), "{amount} gives {back} back");
    }
}

fn verify_epoch(
    inputs: &Inputs,
    previous: &Statement,
    statement: &Statement,
    paid: &mut BTreeMap<RailId, u64>,
) -> Result<(), TestCaseError> {
    let totals = &statement.totals;
    let earned = totals.earned;
    prop_assert_eq!(
        totals.spent.0,
        earned.cash.0 + earned.card.0 + earned.credit.0 + totals.to_burn.0
    );
    for state in &statement.rails {
        let sum = state.by_rate.0 + state.by_voucher.0;
        prop_assert!(sum <= inputs.rail(state.rail).unwrap().limit.0);
        let before = paid.insert(state.rail, sum).unwrap_or(0);
        prop_assert!(before <= sum);
    }
    prop_assert_eq!(paid.values().sum::<u64>(), totals.spent.0);
    let leaves: BTreeMap<Account, _> =
        statement.leaves().into_iter().map(|leaf| (leaf.account, leaf)).collect();
    for before in previous.leaves() {
        let after = leaves[&before.account];
        prop_assert!(before.vested <= after.vested && before.spent <= after.spent);
        prop_assert!(before.earned.cash <= after.earned.cash && before.slashed <= after.slashed);
    }
    for row in &statement.rows {
        let stake = inputs.device(row.device).unwrap().stake;
        prop_assert!(row.slashed <= stake);
        prop_assert!(!row.causes.is_empty());
        prop_assert!(row.earned <= row.paid);
        if row.paid.is_zero() {
            let explained = row
                .causes
                .iter()
                .any(|cause| !matches!(cause.reason, Reason::Proven | Reason::VoucherPaid));
            prop_assert!(explained, "{:?}", row.causes);
        }
    }
    Ok(())
}
