//! What a storage device must prove in an epoch, and when: from public inputs alone (design 7, 11).
//!
//! For each live rail with a frozen dataset of at least one byte, the epoch's seed draws
//! `manifest.positions` bytes of the dataset, and for each a window of `manifest.window` heights.
//! An agent needs the inputs file and its own id; nobody sends challenges.
//!
//! When windows lie:
//! * none opens before `slack` heights of the epoch have passed: that is the time to fetch the inputs
//!   file and to declare a loss before the first window;
//! * each ends within the epoch, and `slack` heights after it, when its proof may still be carried,
//!   the epoch's grace is not over;
//! * where manifest and clock leave no room for all of that, windows open as early as they must, and
//!   are cut at the epoch's end.

use crate::STORAGE;
use minicbor::{Decode, Encode};
use protocol::{
    Digest, Height,
    cbor::{DecodeError, Item},
    inputs::{Dataset, Device, Inputs, Rail},
    kind::Duty,
    manifest::KindTerms,
    seed::Seed,
};

/// The most positions drawn on one rail, whatever the manifest says.
pub const POSITIONS_MAX: u16 = 1024;

/// The text under which positions are drawn.
const POSITION: &str = "wayleave/storage/position";
/// The text under which windows are drawn.
const WINDOW: &str = "wayleave/storage/window";

/// What a duty asks: the byte at `offset` of this dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Task {
    /// The dataset's version.
    #[n(0)]
    pub version: u64,
    /// Its root.
    #[n(1)]
    pub root: Digest,
    /// Its size in bytes.
    #[n(2)]
    pub bytes: u64,
    /// The drawn byte, below `bytes`.
    #[n(3)]
    pub offset: u64,
}

impl Task {
    /// The task of a storage duty.
    ///
    /// # Errors
    /// When the duty is another kind's.
    pub fn of(duty: &Duty) -> Result<Self, DecodeError> {
        duty.task.to()
    }
}

/// The dataset for which `rail` has duties in this epoch, if any.
pub fn due<'i>(inputs: &'i Inputs, rail: &Rail) -> Option<&'i Dataset> {
    let dataset = inputs.dataset(rail.id)?;
    (inputs.is_live(rail) && dataset.bytes > 0).then_some(dataset)
}

/// The duties of `device`, ascending by rail and index.
pub fn duties(inputs: &Inputs, device: &Device) -> Vec<Duty> {
    let Some(terms) = inputs.manifest.terms(STORAGE) else { return Vec::new() };
    if device.kind != STORAGE {
        return Vec::new();
    }
    let seed = inputs.seed();
    let opening = Opening::new(inputs, terms);
    inputs
        .rails_of(device.id)
        .filter_map(|rail| due(inputs, rail))
        .flat_map(|dataset| {
            (0..terms.positions.min(POSITIONS_MAX))
                .map(move |index| draw(&seed, &opening, dataset, index))
        })
        .collect()
}

/// The heights at which an agent should sign a report for a duty: when its window opens and when it
/// has ended. Who was there at both and has not proven missed selectively ([`crate::judge`]).
pub const fn reports(duty: &Duty) -> [Height; 2] {
    [duty.from, duty.to]
}

/// The last height at which a block may carry the proof of a duty.
pub fn closes(inputs: &Inputs, duty: &Duty) -> Height {
    Height(duty.to.0.saturating_add(u64::from(inputs.manifest.evidence.slack)))
}

/// Where windows may open.
#[derive(Clone, Copy)]
struct Opening {
    earliest: u64,
    latest: u64,
    /// Heights of a window after its first.
    further: u64,
    /// The last height of the epoch.
    last: u64,
}

impl Opening {
    fn new(inputs: &Inputs, terms: &KindTerms) -> Self {
        let slack = u64::from(inputs.manifest.evidence.slack);
        let further = u64::from(terms.window).saturating_sub(1);
        let first = inputs.clock.first(inputs.epoch).0;
        let last = inputs.clock.last(inputs.epoch).0;
        let carried = inputs.clock.grace_end(inputs.epoch).0.saturating_sub(slack);
        let latest = last.min(carried).saturating_sub(further).max(first);
        let earliest = first.saturating_add(slack).min(latest);
        Self { earliest, latest, further, last }
    }
}

fn draw(seed: &Seed, opening: &Opening, dataset: &Dataset, index: u16) -> Duty {
    let parts: [&[u8]; 2] = [&dataset.rail.0.to_be_bytes(), &index.to_be_bytes()];
    let offset = seed.draw(POSITION, &parts).below(dataset.bytes);
    let choices = opening.latest - opening.earliest + 1;
    let from = opening.earliest + seed.draw(WINDOW, &parts).below(choices);
    let task = Task { version: dataset.version, root: dataset.root, bytes: dataset.bytes, offset };
    Duty {
        rail: dataset.rail,
        index,
        from: Height(from),
        to: Height(from.saturating_add(opening.further).min(opening.last)),
        task: Item::of(&task),
    }
}

#[cfg(test)]
mod tests;
