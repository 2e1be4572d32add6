//! Every kind of the list against every rule, and every rule against a kind that breaks it.

mod broken;

use conformance::{check, scene::Scene};
use proptest::prelude::*;
use protocol::{
    envelope::Envelope,
    kind::{Carried, Case},
    reason::Effect,
};
use registry::KINDS;
use std::collections::BTreeSet;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_kind_keeps_every_rule(number: u64) {
        for kind in KINDS {
            let scene = Scene::new(*kind, number);
            prop_assert_eq!(check(*kind, &scene), Ok(()), "{}", kind.name());
        }
    }
}

#[test]
fn scenes_are_the_same_for_ever_and_their_envelopes_hold() {
    for kind in KINDS {
        let (scene, again) = (Scene::new(*kind, 5), Scene::new(*kind, 5));
        assert_eq!((&scene.inputs, &scene.evidence), (&again.inputs, &again.evidence));
        assert_eq!(scene.inputs.validate(), Ok(()));
        for Carried { envelope, .. } in &scene.evidence {
            let read = Envelope::parse(envelope.bytes(), kind.envelope_max());
            assert_eq!(read.as_ref(), Ok(envelope));
            let device = scene.inputs.device(envelope.device());
            assert_eq!(device.map(|device| envelope.verify(&device.key)), Some(Ok(())));
        }
    }
}

#[test]
fn scenes_reach_duties_faults_and_refusals() {
    // A suite that never meets a duty or a fault proves nothing.
    for kind in KINDS {
        let (mut reached, mut asked) = (BTreeSet::new(), 0);
        for number in 0..200 {
            let scene = Scene::new(*kind, number);
            let survey = kind.survey(&scene.inputs, &scene.evidence);
            for device in &scene.inputs.roster {
                let duties = kind.duties(&scene.inputs, device);
                let evidence: Vec<Carried> = scene.of(device.id).cloned().collect();
                let (inputs, survey) = (&scene.inputs, &survey);
                let case = Case { inputs, device, duties: &duties, evidence: &evidence, survey };
                let finding = kind.judge(&case);
                let causes = finding.causes.iter().chain(&finding.faults);
                reached.extend(causes.map(|cause| cause.reason.effect()));
                asked += duties.len();
            }
        }
        assert!(asked > 500, "{}: {asked} duties", kind.name());
        for effect in [Effect::Refused, Effect::Unpaid, Effect::Slashed] {
            assert!(reached.contains(&effect), "{}: {effect:?}", kind.name());
        }
    }
}
