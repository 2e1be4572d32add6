use super::*;
use crate::OUTBOX_MAX;
use proptest::prelude::*;
use protocol::{
    Account, KindId, Tokens,
    cbor::Item,
    fixtures,
    inputs::{Dataset, Device, Rail},
    kind::{Admission, Carried, Case, Finding, Offer, Survey, Usage},
    manifest::{EvidenceRules, Manifest},
    voucher::Voucher,
};
use std::collections::{BTreeSet, VecDeque};

const KIND: KindId = KindId(1);
const CLOCK: EpochClock = EpochClock { length: 30, grace: 4 };
const NETWORK: NetworkId = NetworkId(1);

/// A kind whose duties stand in the datasets: the root's first byte is the window's start.
#[derive(Debug)]
struct Plain;

impl Kind for Plain {
    fn id(&self) -> KindId {
        KIND
    }
    fn name(&self) -> &'static str {
        "plain"
    }
    fn unit(&self) -> &'static str {
        "units"
    }
    fn envelope_max(&self) -> usize {
        8_192
    }
    fn admit(&self, _: &Offer, _: &Manifest) -> Result<Admission, Reason> {
        Ok(Admission { stake: Tokens::ZERO })
    }
    fn duties(&self, inputs: &Inputs, device: &Device) -> Vec<Duty> {
        let first = inputs.first_height().0;
        inputs
            .rails_of(device.id)
            .filter_map(|rail| inputs.dataset(rail.id))
            .flat_map(|dataset| {
                dataset.root.0.into_iter().take(2).enumerate().map(move |(index, at)| {
                    let from = first + u64::from(at);
                    Duty {
                        rail: dataset.rail,
                        index: u16::try_from(index).unwrap(),
                        from: Height(from),
                        to: Height(from + 5),
                        task: Item::of(&from),
                    }
                })
            })
            .collect()
    }
    fn survey(&self, _: &Inputs, _: &[Carried]) -> Survey {
        Survey::empty()
    }
    fn judge(&self, _: &Case<'_>) -> Finding {
        Finding::default()
    }
    fn price(&self, _: &Usage, _: &Manifest) -> Micros {
        Micros(0)
    }
}

fn manifest(quota_bytes: u32) -> Manifest {
    let rules = fixtures::free(KIND);
    Manifest { evidence: EvidenceRules { quota_bytes, ..rules.evidence }, ..rules }
}

fn secret() -> DeviceSecret {
    DeviceSecret::from_seed([1; 32])
}

/// Inputs with one rail for each pair of window starts.
fn inputs(epoch: u64, windows: &[(u8, u8)]) -> Arc<Inputs> {
    let device = secret();
    let rails = (1..).zip(windows).map(|(id, _)| Rail {
        id: RailId(id),
        payer: Account::with_last_byte(1),
        payee: Account::with_last_byte(2),
        signer: Account::with_last_byte(3),
        device: device.id(),
        limit: Micros(1_000_000),
        rate: Micros(1),
        nonce: 0,
        opened: Epoch(0),
        expiry: Epoch(1_000),
        class: 0,
        presented: Micros(0),
    });
    let datasets = (1..).zip(windows).map(|(id, (a, b))| {
        let mut root = [0; 32];
        (root[0], root[1]) = (*a, *b);
        Dataset { rail: RailId(id), version: 1, root: Digest(root), bytes: 1 }
    });
    Arc::new(Inputs {
        version: 1,
        chain_id: 7,
        network: NETWORK,
        epoch: Epoch(epoch),
        clock: CLOCK,
        mix: [epoch.to_be_bytes()[7]; 32],
        latest_root: [0; 32],
        rails_contract: Account::ZERO,
        treasury: Account::ZERO,
        manifest: manifest(100_000),
        roster: vec![Device {
            id: device.id(),
            key: device.key(),
            owner: Account::with_last_byte(2),
            maker: Account::ZERO,
            kind: KIND,
            tier: 2,
            cell: 0,
            capacity: 1,
            offer: Digest::default(),
            stake: Tokens::ZERO,
            netted: Tokens::ZERO,
        }],
        rails: rails.collect(),
        datasets: datasets.collect(),
        by_device: Default::default(),
    })
}

fn settings(validators: u64) -> Settings {
    Settings { network: NETWORK, validators, patience: 3, declare_losses: true }
}

/// The journal as the shell would keep it.
#[derive(Clone, Default)]
struct Durable(Recovered);

impl Durable {
    fn write(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Reserve(end) => self.0.reserved = *end,
                Record::Keep(kept) => {
                    self.0.outbox.retain(|old| old.sequence != kept.sequence);
                    self.0.outbox.push(kept.clone());
                    self.0.outbox.sort_by_key(|kept| (kept.epoch, kept.sequence));
                }
                Record::Presented(rail, amount) => drop(self.0.presented.insert(*rail, *amount)),
                Record::Forget(epoch) => self.0.outbox.retain(|kept| kept.epoch > *epoch),
            }
        }
    }
}

/// An agent with everything around it played by hand, one height at a time.
struct Rig {
    agent: Agent,
    durable: Durable,
    now_ms: u64,
    head: u64,
    windows: Vec<(u8, u8)>,
    /// Duties whose hardware is lost.
    lost: BTreeSet<(RailId, u16)>,
    vouchers: Vec<SignedVoucher>,
    /// Validators that do not answer.
    dead: BTreeSet<u64>,
    /// Validators that accept and never carry.
    forgetful: BTreeSet<u64>,
    events: VecDeque<Event>,
    /// Envelopes by digest with the height of the block that carries them.
    carried: BTreeMap<Digest, (Envelope, Height)>,
    /// Every identity ever given to a validator.
    identities: BTreeMap<u64, Digest>,
    submissions: Vec<(u64, u64)>,
    looks: u64,
}

impl Rig {
    fn new(validators: u64, windows: &[(u8, u8)]) -> Self {
        Self {
            agent: agent(validators, Recovered::default()),
            durable: Durable::default(),
            now_ms: 1_000_000,
            head: CLOCK.length - 1,
            windows: windows.to_vec(),
            lost: BTreeSet::new(),
            vouchers: Vec::new(),
            dead: BTreeSet::new(),
            forgetful: BTreeSet::new(),
            events: VecDeque::new(),
            carried: BTreeMap::new(),
            identities: BTreeMap::new(),
            submissions: Vec::new(),
            looks: 0,
        }
    }

    /// The process dies: what is not durable is gone, and so is every answer under way.
    fn crash(&mut self) {
        let validators = self.agent.settings.validators;
        self.events.clear();
        self.agent = agent(validators, self.durable.0.clone());
    }

    /// One block later, everything that follows happens at once.
    fn block(&mut self) {
        self.head += 1;
        self.now_ms += 500;
        self.events.push_back(Event::Head(Height(self.head), Figures { used: 1, free: 2 }));
        self.settle();
    }

    fn blocks_to(&mut self, height: u64) {
        while self.head < height {
            self.block();
        }
    }

    fn settle(&mut self) {
        let mut steps = 0;
        while let Some(event) = self.events.pop_front() {
            steps += 1;
            assert!(steps < 10_000, "the agent does not come to rest");
            for effect in self.agent.handle(event, self.now_ms) {
                self.perform(effect);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Record(records) => self.durable.write(&records),
            Effect::Fetch(epoch) => {
                let inputs = inputs(epoch.0, &self.windows);
                self.events.push_back(Event::Inputs(inputs));
            }
            Effect::Open(_) | Effect::Close(_) => {}
            Effect::Inspect(inputs, duty) => {
                let lost = self.lost.contains(&(duty.rail, duty.index));
                let body =
                    lost.then(|| Body { kind: KIND, item: Item::of(&(duty.rail.0, "lost")) });
                self.events.push_back(Event::Inspected(inputs.epoch, duty.rail, duty.index, body));
            }
            Effect::Prove(inputs, duty) => {
                let gone = self.lost.contains(&(duty.rail, duty.index));
                let proof = Body { kind: KIND, item: Item::of(&(duty.rail.0, duty.index)) };
                let outcome = if gone { Err(ProveError("gone".into())) } else { Ok(proof) };
                self.events.push_back(Event::Proven(inputs.epoch, duty.rail, duty.index, outcome));
            }
            Effect::Collect(epoch) => {
                self.events.push_back(Event::Vouchers(epoch, self.vouchers.clone()));
            }
            Effect::Submit { sequence, validator, bytes } => {
                self.submit(sequence, validator, &bytes)
            }
            Effect::Look { sequence, digest, .. } => {
                self.looks += 1;
                let found = self.carried.get(&digest).map(|(_, height)| *height);
                self.events.push_back(Event::Looked(sequence, Some(found)));
            }
        }
    }

    fn submit(&mut self, sequence: u64, validator: u64, bytes: &Arc<[u8]>) {
        self.submissions.push((sequence, validator));
        let kept = self.durable.0.outbox.iter().find(|kept| kept.sequence == sequence);
        assert_eq!(
            kept.map(|kept| kept.bytes.as_slice()),
            Some(&bytes[..]),
            "sent but not durable"
        );
        assert!(sequence < self.durable.0.reserved, "used but not reserved");
        let envelope = Envelope::parse(bytes, 8_192).unwrap();
        envelope.verify(&secret().key()).unwrap();
        assert_eq!(envelope.payload().sequence, sequence);
        let before = self.identities.insert(sequence, envelope.payload_digest());
        assert!(before.is_none_or(|digest| digest == envelope.payload_digest()), "identity reused");
        let outcome = if self.dead.contains(&validator) {
            Submitted::Unreachable("dead".into())
        } else {
            if !self.forgetful.contains(&validator) {
                let height = Height(self.head + 1);
                self.carried.entry(envelope.digest()).or_insert((envelope, height));
            }
            Submitted::Accepted(vec![1])
        };
        self.events.push_back(Event::Submitted(sequence, outcome));
    }

    /// The sizes of the envelopes of epoch 1 with such bodies that were carried.
    fn sizes(&self, of: impl Fn(&Body) -> bool) -> Vec<usize> {
        let ours = |envelope: &&Envelope| {
            let payload = envelope.payload();
            payload.epoch == Epoch(1) && of(&payload.body)
        };
        let all = self.carried.values().map(|(envelope, _)| envelope);
        all.filter(ours).map(|envelope| envelope.bytes().len()).collect()
    }

    /// The heights at which proofs of a duty of an epoch were carried.
    fn proofs(&self, epoch: u64, rail: u64, index: u16) -> Vec<u64> {
        let item = Item::of(&(rail, index));
        self.bodies(epoch)
            .filter(|(body, _)| body.kind == KIND && body.item == item)
            .map(|b| b.1)
            .collect()
    }

    fn reports(&self, epoch: u64) -> Vec<u64> {
        let report = |body: &Body| matches!(Common::from_body(body), Ok(Common::Report(_)));
        let mut heights: Vec<_> =
            self.bodies(epoch).filter(|(body, _)| report(body)).map(|b| b.1).collect();
        heights.sort_unstable();
        heights
    }

    fn bodies(&self, epoch: u64) -> impl Iterator<Item = (&Body, u64)> {
        self.carried
            .values()
            .map(|(envelope, height)| (envelope.payload(), height.0))
            .filter(move |(payload, _)| payload.epoch == Epoch(epoch))
            .map(|(payload, height)| (&payload.body, height))
    }
}

fn agent(validators: u64, recovered: Recovered) -> Agent {
    Agent::new(settings(validators), secret(), Arc::new(Plain), CLOCK, recovered)
}

fn voucher(rail: u64, amount: u64) -> SignedVoucher {
    let voucher =
        Voucher { network: NETWORK, rail: RailId(rail), nonce: 0, amount: Micros(amount) };
    SignedVoucher { voucher, signature: [7; 65] }
}

#[test]
fn every_duty_is_proven_in_its_window_and_reports_frame_it() {
    let mut rig = Rig::new(1, &[(6, 20), (9, 9)]);
    rig.blocks_to(30 * 3 - 1);
    for epoch in [1, 2] {
        let first = 30 * epoch;
        for (rail, index, at) in [(1, 0, 6), (1, 1, 20), (2, 0, 9), (2, 1, 9)] {
            let proofs = rig.proofs(epoch, rail, index);
            assert_eq!(proofs, [first + at + 1], "epoch {epoch} rail {rail} index {index}");
        }
        let reports = rig.reports(epoch);
        for (from, to) in [(6, 11), (9, 14), (20, 25)] {
            let (from, to) = (first + from, first + to);
            assert!(
                reports.iter().any(|at| (from..=to).contains(at)),
                "no report in {from}..={to}"
            );
            assert!(reports.iter().any(|at| (to..=to + 4).contains(at)), "no report after {to}");
        }
        assert!(reports.len() <= 7, "{reports:?}");
    }
    let metrics = rig.agent.metrics();
    assert_eq!((metrics.proofs, metrics.missed, metrics.dropped), (8, 0, 0));
    assert!(metrics.enrolled);
}

#[test]
fn an_idle_device_reports_once_an_epoch() {
    let mut rig = Rig::new(1, &[]);
    rig.blocks_to(30 * 4);
    for epoch in 1..4 {
        assert_eq!(rig.reports(epoch).len(), 1, "epoch {epoch}");
    }
    assert_eq!(rig.agent.metrics().missed, 0);
}

#[test]
fn a_device_that_is_not_enrolled_is_silent() {
    let mut rig = Rig::new(1, &[(5, 10)]);
    let stranger = DeviceSecret::from_seed([2; 32]);
    rig.agent = Agent::new(settings(1), stranger, Arc::new(Plain), CLOCK, Recovered::default());
    rig.blocks_to(70);
    assert!(rig.submissions.is_empty());
    assert!(!rig.agent.metrics().enrolled);
}

#[test]
fn a_loss_found_before_its_window_is_declared_in_time_and_not_proven() {
    let mut rig = Rig::new(1, &[(10, 20)]);
    rig.lost.insert((RailId(1), 0));
    rig.blocks_to(59);
    let losses: Vec<_> = rig
        .bodies(1)
        .filter(|(body, _)| body.item == Item::of(&(1u64, "lost")))
        .map(|(_, height)| height)
        .collect();
    assert_eq!(losses.len(), 1);
    assert!(losses[0] < 40, "{losses:?}");
    assert!(rig.proofs(1, 1, 0).is_empty());
    assert_eq!(rig.proofs(1, 1, 1).len(), 1);
    assert_eq!(rig.agent.metrics().losses, 1);
}

#[test]
fn one_declaration_covers_a_rail() {
    let mut rig = Rig::new(1, &[(10, 20)]);
    rig.lost.extend([(RailId(1), 0), (RailId(1), 1)]);
    rig.blocks_to(59);
    assert_eq!(rig.agent.metrics().losses, 1);
    assert_eq!(rig.agent.metrics().missed, 0);
}

#[test]
fn a_cheat_declares_nothing_and_goes_on_reporting() {
    let mut rig = Rig::new(1, &[(10, 20)]);
    rig.lost.extend([(RailId(1), 0), (RailId(1), 1)]);
    rig.agent.settings.declare_losses = false;
    rig.blocks_to(59);
    assert_eq!(rig.agent.metrics().losses, 0);
    assert_eq!(rig.agent.metrics().missed, 2);
    assert!(rig.reports(1).iter().any(|at| (40..=45).contains(at)));
}

#[test]
fn a_dead_validator_is_passed_over_at_once() {
    let mut rig = Rig::new(3, &[(6, 20)]);
    rig.dead.extend([0, 1]);
    rig.blocks_to(59);
    assert_eq!(rig.proofs(1, 1, 0), [37]);
    assert_eq!(rig.proofs(1, 1, 1), [51]);
    assert!(rig.agent.metrics().resent > 0);
}

#[test]
fn an_envelope_that_no_block_carries_goes_to_another_validator() {
    let mut rig = Rig::new(2, &[(6, 20)]);
    rig.forgetful.insert(0);
    rig.blocks_to(60);
    // Accepted at 36, not seen three blocks later, carried through the other validator.
    assert_eq!(rig.proofs(1, 1, 0), [40]);
    assert_eq!(rig.agent.metrics().refused, BTreeMap::new());
    let first = rig.submissions[0].0;
    let of_first: Vec<_> = rig.submissions.iter().filter(|s| s.0 == first).map(|s| s.1).collect();
    assert_eq!(of_first, [0, 1]);
}

#[test]
fn who_failed_an_envelope_is_not_the_first_to_get_the_next() {
    let mut rig = Rig::new(3, &[(6, 20)]);
    rig.forgetful.insert(0);
    rig.blocks_to(60);
    assert_eq!(rig.proofs(1, 1, 0), [40]);
    assert_eq!(rig.proofs(1, 1, 1), [51]);
}

#[test]
fn patience_leaves_others_the_time_to_carry_a_proof() {
    let mut rig = Rig::new(4, &[(6, 20)]);
    rig.agent.settings.patience = 20;
    rig.forgetful.extend([0, 1]);
    rig.blocks_to(60);
    // Nine heights were left at 36 and six at 39, of which each forgetful validator had a third.
    assert_eq!(rig.proofs(1, 1, 0), [42]);
}

#[test]
fn without_any_validator_nothing_is_lost_until_it_is_of_no_use() {
    let mut rig = Rig::new(1, &[(6, 20)]);
    rig.dead.insert(0);
    rig.blocks_to(41);
    rig.dead.clear();
    rig.blocks_to(59);
    assert_eq!(rig.proofs(1, 1, 0), [43]);
    rig.dead.insert(0);
    rig.blocks_to(30 * 3 + 10);
    assert!(rig.proofs(2, 1, 0).is_empty());
    assert!(rig.agent.metrics().expired > 0);
    assert!(rig.agent.metrics().outbox < 10);
}

#[test]
fn vouchers_are_presented_until_they_are_seen_and_only_when_they_grew() {
    let mut rig = Rig::new(1, &[(6, 20), (6, 20)]);
    rig.vouchers = vec![voucher(1, 500), voucher(2, 70), voucher(9, 1)];
    let presented = |rig: &Rig, epoch: u64| -> Vec<(u64, u64)> {
        let mut found: Vec<_> = rig
            .bodies(epoch)
            .filter_map(|(body, _)| match Common::from_body(body) {
                Ok(Common::Vouchers(vouchers)) => Some(vouchers),
                _ => None,
            })
            .flatten()
            .map(|signed| (signed.voucher.rail.0, signed.voucher.amount.0))
            .collect();
        found.sort_unstable();
        found
    };
    rig.blocks_to(64);
    assert_eq!(presented(&rig, 1), [(1, 500), (2, 70)]);
    rig.vouchers[1] = voucher(2, 80);
    rig.blocks_to(94);
    assert_eq!(presented(&rig, 2), [(2, 80)]);
    rig.crash();
    rig.blocks_to(124);
    assert_eq!(presented(&rig, 3), []);
}

#[test]
fn the_quota_is_kept() {
    let mut rig = Rig::new(1, &[]);
    rig.blocks_to(30);
    let mut tight = (*inputs(1, &[(6, 20), (7, 21), (8, 22)])).clone();
    tight.manifest.evidence.quota_bytes = 700;
    // What serving three rails allows with so small a figure in the manifest.
    let quota = tight.quota(secret().id());
    assert_eq!(quota, 2_800);
    rig.agent.epochs.clear();
    rig.events.push_back(Event::Inputs(Arc::new(tight)));
    rig.settle();
    rig.blocks_to(60);
    let bytes: usize = rig.sizes(|_| true).iter().sum();
    assert!(u64::try_from(bytes).unwrap() <= quota, "{bytes}");
    assert!(rig.agent.metrics().dropped > 0);
}

/// Follows epoch 1 with six duties and this figure in the manifest.
fn within_quota(quota_bytes: u32) -> Rig {
    let windows = [(6, 20), (7, 21), (8, 22)];
    let mut rig = Rig::new(1, &[]);
    rig.windows = windows.to_vec();
    rig.blocks_to(29);
    let mut tight = (*inputs(1, &windows)).clone();
    tight.manifest.evidence.quota_bytes = quota_bytes;
    rig.head = 30;
    rig.events.push_back(Event::Head(Height(30), Figures::default()));
    rig.settle();
    rig.agent.epochs.clear();
    rig.events.push_back(Event::Inputs(Arc::new(tight)));
    rig.settle();
    rig.blocks_to(60);
    rig
}

#[test]
fn proofs_come_before_reports_within_the_quota() {
    let is_proof = |body: &Body| body.kind == KIND;
    let free = within_quota(100_000);
    let proofs = free.sizes(is_proof);
    assert_eq!(proofs.len(), 6);
    assert!(free.reports(1).len() > 2);
    // The quota is four times the figure, and just enough for the proofs.
    let enough: usize = proofs.iter().sum();
    let tight = within_quota(u32::try_from(enough.div_ceil(4)).unwrap());
    assert_eq!(tight.sizes(is_proof).len(), 6);
}

#[test]
fn who_must_drop_a_proof_says_nothing_more_in_the_epoch() {
    let rig = within_quota(150);
    let sent = rig.sizes(|body| body.kind == KIND).len();
    assert_eq!(sent, 4);
    let dropped = rig.agent.epochs.values().any(|followed| followed.muted);
    assert!(dropped);
    // The proofs that were sent are those of the first windows, and no report tells of the last.
    let last = rig.bodies(1).map(|(_, height)| height).max().unwrap();
    assert_eq!(last, 51);
}

#[test]
fn the_outbox_is_bounded_and_reports_make_room() {
    let mut outbox = Outbox::default();
    let entry = |purpose| Entry {
        epoch: Epoch(1),
        purpose,
        made_at: Height(1),
        until: Height(9),
        size: 1,
        digest: Digest::default(),
        bytes: [1].into(),
        acceptance: Arc::default(),
        status: Status::Waiting(Height(1)),
        first: 0,
        tries: 0,
    };
    for sequence in 0..1_024 {
        assert_eq!(outbox.make_room(&Purpose::Report), Ok(None));
        let proof = Purpose::Proof(RailId(1), 0);
        outbox.insert(sequence, entry(if sequence == 5 { Purpose::Report } else { proof }));
    }
    assert!(outbox.make_room(&Purpose::Report).is_err());
    assert_eq!(outbox.make_room(&Purpose::Proof(RailId(1), 1)), Ok(Some(5)));
    outbox.insert(2_000, entry(Purpose::Proof(RailId(1), 1)));
    assert!(outbox.make_room(&Purpose::Proof(RailId(1), 2)).is_err());
    assert_eq!(outbox.live(), OUTBOX_MAX);
}

#[test]
fn inputs_of_another_network_or_a_closed_epoch_are_not_taken() {
    let mut rig = Rig::new(1, &[(6, 20)]);
    rig.blocks_to(100);
    let mut foreign = (*inputs(3, &[(6, 20)])).clone();
    foreign.network = NetworkId(2);
    rig.agent.epochs.clear();
    for inputs in [Arc::new(foreign), inputs(1, &[(6, 20)])] {
        rig.events.push_back(Event::Inputs(inputs));
        rig.settle();
        assert!(rig.agent.epochs.is_empty());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Block,
    Crash,
    Kill(u64),
    Revive,
    Forget(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Block),
        2 => Just(Step::Crash),
        1 => (0u64..3).prop_map(Step::Kill),
        2 => Just(Step::Revive),
        1 => (0u64..3).prop_map(Step::Forget),
    ]
}

proptest! {
    /// Whatever dies when: no identity is used twice, nothing is sent that is not durable (both
    /// checked at every submission), and everything stays within its bounds.
    #[test]
    fn crashes_and_dead_validators_break_no_rule(
        steps in prop::collection::vec(step(), 1..160),
        windows in prop::collection::vec((4u8..24, 4u8..24), 0..4),
    ) {
        let mut rig = Rig::new(3, &windows);
        for step in steps {
            match step {
                Step::Block => rig.block(),
                Step::Crash => rig.crash(),
                Step::Kill(validator) => drop(rig.dead.insert(validator)),
                Step::Forget(validator) => drop(rig.forgetful.insert(validator)),
                Step::Revive => {
                    rig.dead.clear();
                    rig.forgetful.clear();
                }
            }
            prop_assert!(rig.agent.epochs.len() <= EPOCHS_MAX);
            prop_assert!(rig.durable.0.outbox.iter().all(|kept| kept.epoch.0 + 2 > rig.head / 30));
        }
    }

    /// With validators that work, crashes cost no duty.
    #[test]
    fn crashes_alone_cost_no_duty(
        crashes in prop::collection::btree_set(30u64..90, 0..20),
        windows in prop::collection::vec((4u8..24, 4u8..24), 1..4),
    ) {
        let mut rig = Rig::new(1, &windows);
        while rig.head < 95 {
            rig.block();
            if crashes.contains(&rig.head) {
                rig.crash();
            }
        }
        for epoch in [1, 2] {
            for (rail, (a, b)) in (1..).zip(&windows) {
                for (index, at) in [(0, *a), (1, *b)] {
                    let from = 30 * epoch + u64::from(at);
                    let proofs = rig.proofs(epoch, rail, index);
                    prop_assert_eq!(proofs.len(), 1);
                    prop_assert!((from..=from + 5 + 4).contains(&proofs[0]));
                }
            }
        }
    }
}
