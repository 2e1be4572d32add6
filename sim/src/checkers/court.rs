//! Who voted twice. The court hears every vote that passes a liar or a witness, and convicts on proof alone:
//! two signed votes of one seat in one round that no honest validator signs both.

use crate::adversaries::message::{Vote, round};
use commonware_consensus::simplex::{
    scheme::ed25519::Scheme,
    types::{
        Attributable as _, ConflictingFinalize, ConflictingNotarize, Finalize, Notarize, Nullify,
        NullifyFinalize,
    },
};
use commonware_cryptography::{ed25519, sha256};
use commonware_parallel::Sequential;
use commonware_utils::ordered::Set;
use rand::{SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Rounds of seats remembered.
const REMEMBERED: usize = 16_384;

/// What a seat said in a round.
#[derive(Debug, Default)]
struct Said {
    notarize: Option<Notarize<Scheme, sha256::Digest>>,
    nullify: Option<Nullify<Scheme>>,
    finalize: Option<Finalize<Scheme, sha256::Digest>>,
}

type Place = (u64, u64, u32);

/// The court.
#[derive(Debug)]
pub struct Court {
    namespace: Vec<u8>,
    heard: Mutex<Heard>,
}

#[derive(Clone, Debug)]
struct Bench {
    scheme: Scheme,
    seats: Set<ed25519::PublicKey>,
}

#[derive(Debug, Default)]
struct Heard {
    terms: BTreeMap<u64, Bench>,
    said: BTreeMap<Place, Said>,
    convicted: BTreeMap<ed25519::PublicKey, String>,
}

impl Court {
    /// A court for one ledger that knows no committee yet.
    pub fn new(namespace: Vec<u8>) -> Self {
        Self { namespace, heard: Mutex::default() }
    }

    /// Learns who sits in a term. Votes of terms it does not know are not heard.
    pub fn seat(&self, term: u64, seats: Set<ed25519::PublicKey>) {
        let scheme = Scheme::verifier(&self.namespace, seats.clone());
        self.heard().terms.entry(term).or_insert(Bench { scheme, seats });
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who was convicted, and of what.
    pub fn convicted(&self) -> BTreeMap<ed25519::PublicKey, String> {
        self.heard().convicted.clone()
    }

    /// Hears a vote.
    pub fn hear(&self, vote: &Vote) {
        let signer = match vote {
            Vote::Notarize(vote) => vote.signer(),
            Vote::Nullify(vote) => vote.signer(),
            Vote::Finalize(vote) => vote.signer(),
        };
        let round = round(vote);
        let place = (round.epoch().get(), round.view().get(), signer.get());
        let mut heard = self.heard();
        let Some(Bench { scheme, seats }) = heard.terms.get(&place.0).cloned() else { return };
        let crime = crime(&scheme, heard.said.entry(place).or_default(), vote);
        if heard.said.len() > REMEMBERED {
            heard.said.pop_first();
        }
        let seat = usize::try_from(signer.get()).ok().and_then(|index| seats.get(index));
        if let (Some(crime), Some(seat)) = (crime, seat) {
            let words = format!("{crime} in view {} of term {}", place.1, place.0);
            heard.convicted.entry(seat.clone()).or_insert(words);
        }
    }
}

/// What a vote proves beside what was said before in its round. Each first vote is remembered.
fn crime(scheme: &Scheme, said: &mut Said, vote: &Vote) -> Option<&'static str> {
    let mut rng = StdRng::seed_from_u64(0);
    match vote {
        Vote::Notarize(vote) => {
            let first = said.notarize.get_or_insert_with(|| vote.clone());
            (first.proposal != vote.proposal
                && ConflictingNotarize::new(first.clone(), vote.clone()).verify(
                    &mut rng,
                    scheme,
                    &Sequential,
                ))
            .then_some("voted for two blocks")
        }
        Vote::Finalize(vote) => {
            let first = said.finalize.get_or_insert_with(|| vote.clone());
            let twice = first.proposal != vote.proposal
                && ConflictingFinalize::new(first.clone(), vote.clone()).verify(
                    &mut rng,
                    scheme,
                    &Sequential,
                );
            let undone = said.nullify.as_ref().is_some_and(|nullify| {
                NullifyFinalize::new(nullify.clone(), vote.clone()).verify(
                    &mut rng,
                    scheme,
                    &Sequential,
                )
            });
            (twice || undone).then_some("voted for finality of what it voted against")
        }
        Vote::Nullify(vote) => {
            said.nullify = Some(vote.clone());
            let undone = said.finalize.as_ref().is_some_and(|finalize| {
                NullifyFinalize::new(vote.clone(), finalize.clone()).verify(
                    &mut rng,
                    scheme,
                    &Sequential,
                )
            });
            undone.then_some("voted against a view after voting for its finality")
        }
    }
}
