//! Stakes over random lives: the ledger's rules of staking in a few lines, with this crate's settlement.
//!
//! Whatever owners stake, ask back, withdraw, sell and commit, what is bound, paid and destroyed is what was
//! staked, no device loses more than is bound on it, and no owner owes more than is held of its stake.

use super::fixture::*;
use proptest::prelude::*;
use protocol::{
    Epoch, Reason, Tokens,
    inputs::{Device, Inputs},
    statement::Statement,
};

/// How many devices and how many owners there are.
const DEVICES: usize = 4;
const OWNERS: u8 = 3;
/// After how many epochs what was asked back is paid.
const UNBONDING: u64 = 2;

/// One device on the ledger.
#[derive(Clone, Copy)]
struct Bound {
    owner: u8,
    bound: u128,
    asked: u128,
    since: u64,
}

/// `Stakes` and `Devices` of the ledger, as `ledger/contracts` has them.
struct Ledger {
    devices: [Bound; DEVICES],
    /// What withdrawals took, by owner.
    netted: [u128; 3],
    staked: u128,
    paid: u128,
}

impl Ledger {
    fn new() -> Self {
        let device = |at: usize| Bound {
            owner: u8::try_from(at).unwrap() % OWNERS,
            bound: 0,
            asked: 0,
            since: 0,
        };
        Self { devices: std::array::from_fn(device), netted: [0; 3], staked: 0, paid: 0 }
    }

    /// The inputs of an epoch, as the validators make them.
    fn inputs(&self, epoch: u64) -> Inputs {
        let roster = (1u8..).zip(self.devices).map(|(n, one)| {
            let netted = Tokens(self.netted[usize::from(one.owner)]);
            Device { stake: Tokens(one.bound), netted, owner: owner(20 + one.owner), ..device(n) }
        });
        inputs(epoch, roster.collect(), vec![])
    }

    fn lost(&self, statement: &Statement, by: u8) -> u128 {
        statement.account(owner(20 + by)).map_or(0, |state| state.slashed.0)
    }

    /// Pays what was asked back on a device, less what its owner owes by this statement.
    fn withdraw(&mut self, at: usize, statement: &Statement, now: u64) {
        let one = self.devices[at];
        if one.asked == 0 || now < one.since + UNBONDING || statement.epoch.0 < one.since {
            return;
        }
        let netted = self.netted[usize::from(one.owner)];
        let taken = self.lost(statement, one.owner).saturating_sub(netted).min(one.asked);
        self.netted[usize::from(one.owner)] += taken;
        self.paid += one.asked - taken;
        self.devices[at].asked = 0;
    }

    fn act(&mut self, (what, at, amount): (u8, usize, u128), now: u64) {
        let one = &mut self.devices[at % DEVICES];
        match what {
            0 => {
                one.bound += amount;
                self.staked += amount;
            }
            1 => {
                let less = amount.min(one.bound);
                one.bound -= less;
                one.asked += less;
                one.since = if less > 0 { now } else { one.since };
            }
            _ if one.bound + one.asked == 0 => one.owner = (one.owner + 1) % OWNERS,
            _ => {}
        }
    }

    /// Whether everything is accounted for after a statement.
    fn check(&self, statement: &Statement) -> Result<(), TestCaseError> {
        let held: u128 = self.devices.iter().map(|one| one.bound + one.asked).sum();
        let taken: u128 = self.netted.iter().sum();
        prop_assert_eq!(held + self.paid + taken, self.staked);
        for by in 0..OWNERS {
            let mine = self.devices.iter().filter(|one| one.owner == by);
            let held: u128 = mine.map(|one| one.bound + one.asked).sum();
            let owed = self.lost(statement, by) - self.netted[usize::from(by)];
            prop_assert!(owed <= held, "owner {by} owes {owed} of {held}");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nobody_loses_what_is_not_bound(
        epochs in proptest::collection::vec(
            (
                proptest::collection::vec((0u8..4, 0usize..DEVICES, 0u128..1_000), 0..6),
                proptest::collection::vec((1u8..=4, 0u8..3), 0..4),
                0usize..DEVICES,
                any::<bool>(),
            ),
            1..24,
        ),
    ) {
        let mut ledger = Ledger::new();
        let mut previous = genesis();
        for (epoch, (acts, faults, first, late)) in (5u64..).zip(epochs) {
            let inputs = ledger.inputs(epoch);
            let bound = ledger.devices;
            // Within the epoch: withdrawals by the newest statement, in any order, and everything else.
            (0..DEVICES).for_each(|at| ledger.withdraw((first + at) % DEVICES, &previous, epoch));
            acts.into_iter().for_each(|act| ledger.act(act, epoch));
            let carried = (1..).zip(faults).map(|(sequence, (n, fault))| {
                let reason = [Reason::FalseProof, Reason::SelectiveMiss][usize::from(fault) % 2];
                said(n, epoch, sequence, 1, echo(&Said::Fault(reason)))
            });
            let mut inputs = inputs;
            if late {
                inputs.manifest.slashes.false_proof = protocol::Ppm::ONE;
            }
            let settled = statement(&inputs, &previous, carried.collect());
            for (n, one) in (1u8..).zip(bound) {
                let lost = settled.row(device_id(n)).unwrap().slashed.0;
                prop_assert!(lost <= one.bound, "device {n} lost {lost} of {}", one.bound);
            }
            ledger.check(&settled)?;
            prop_assert_eq!(settled.epoch, Epoch(epoch));
            previous = settled;
        }
    }
}
