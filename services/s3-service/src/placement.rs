//! Which agents get a segment's shards: pure, and the same for the same inputs.
//!
//! Rules (design 11):
//! * no two shards of a segment with one owner;
//! * only agents with an open rail, room for the shard, and no standing complaint;
//! * a weighted draw by the segment's id: weight is the room an agent has left, times
//!   [`PROVEN_WEIGHT`] if it has proven what it stores; so large and proven agents get more, and all
//!   fill up evenly;
//! * with fewer than k + 1 usable owners nothing is placed, and the error says what the others lack.

use crate::codec::{SegmentId, Shape};
use protocol::{Account, DeviceId, RailId, seed::Seed};
use std::{collections::BTreeSet, fmt};

/// How much more a proven agent weighs than another with as much room.
pub const PROVEN_WEIGHT: u64 = 4;
/// The unit of room in weights, bytes. Room counts as at least one.
const ROOM_UNIT: u64 = 16 << 20;

/// An agent as placement sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// Who owns it.
    pub owner: Account,
    /// The open rail towards it, if there is one.
    pub rail: Option<RailId>,
    /// Bytes it still takes from this service.
    pub free: u64,
    /// Whether it answers.
    pub reachable: bool,
    /// Whether it holds a signed dataset and kept its word so far.
    pub proven: bool,
}

/// Where shards go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One agent a shard, in the order of shards; fewer if there are fewer owners.
    pub chosen: Vec<Spot>,
    /// Agents of further owners, best first, for when a chosen one fails.
    pub spares: Vec<Spot>,
}

/// An agent and the rail that pays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The device.
    pub device: DeviceId,
    /// Its owner.
    pub owner: Account,
    /// The rail.
    pub rail: RailId,
}

/// Too few agents, and what the others lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TooFew {
    /// Owners with a usable agent.
    pub usable: usize,
    /// How many are needed.
    pub needed: usize,
    /// Agents in all.
    pub agents: usize,
    /// Of these, without an open rail.
    pub no_rail: usize,
    /// Of these, without room.
    pub full: usize,
    /// Of these, that do not answer.
    pub unreachable: usize,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} owners with a usable agent, {} needed: of {} agents {} have no open rail, {} no room, \
             {} do not answer",
            self.usable, self.needed, self.agents, self.no_rail, self.full, self.unreachable
        )
    }
}

impl std::error::Error for TooFew {}

/// Places the shards of a new segment.
///
/// # Errors
/// [`TooFew`] with fewer than k + 1 usable owners.
pub fn place(
    segment: SegmentId,
    shape: Shape,
    shard_bytes: u64,
    candidates: &[Candidate],
) -> Result<Placement, TooFew> {
    let ranked = rank(segment, shard_bytes, candidates, &BTreeSet::new());
    let needed = usize::from(shape.acknowledge());
    if ranked.len() < needed {
        return Err(TooFew { needed, ..lacks(shard_bytes, candidates, ranked.len()) });
    }
    let mut chosen = ranked;
    let spares = chosen.split_off(chosen.len().min(usize::from(shape.n())));
    Ok(Placement { chosen, spares })
}

/// Agents for a lost shard of a segment, best first, none of an owner who keeps another shard of it.
pub fn replace(
    segment: SegmentId,
    shard_bytes: u64,
    candidates: &[Candidate],
    taken: &BTreeSet<Account>,
) -> Vec<Spot> {
    rank(segment, shard_bytes, candidates, taken)
}

fn lacks(shard_bytes: u64, candidates: &[Candidate], usable: usize) -> TooFew {
    let count = |lacks: &dyn Fn(&Candidate) -> bool| {
        candidates.iter().filter(|candidate| lacks(candidate)).count()
    };
    TooFew {
        usable,
        needed: 0,
        agents: candidates.len(),
        no_rail: count(&|agent| agent.rail.is_none()),
        full: count(&|agent| agent.rail.is_some() && agent.free < shard_bytes),
        unreachable: count(&|agent| !agent.reachable),
    }
}

/// All usable owners' agents in the order of a weighted draw without putting back.
fn rank(
    segment: SegmentId,
    shard_bytes: u64,
    candidates: &[Candidate],
    taken: &BTreeSet<Account>,
) -> Vec<Spot> {
    let mut pool: Vec<(u64, Spot)> = candidates
        .iter()
        .filter(|agent| agent.reachable && agent.free >= shard_bytes)
        .filter(|agent| !taken.contains(&agent.owner))
        .filter_map(|agent| {
            let room = (agent.free / ROOM_UNIT).clamp(1, u64::from(u32::MAX));
            let weight = if agent.proven { room * PROVEN_WEIGHT } else { room };
            let rail = agent.rail?;
            Some((weight, Spot { device: agent.device, owner: agent.owner, rail }))
        })
        .collect();
    pool.sort_by_key(|(_, spot)| (spot.device, spot.rail));
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&segment.0);
    let mut draw = Seed(seed).draw("storage placement", &[]);
    let mut ranked = Vec::new();
    while !pool.is_empty() {
        let mut ticket = draw.below(pool.iter().map(|(weight, _)| weight).sum());
        let at = pool
            .iter()
            .position(|(weight, _)| {
                let hit = ticket < *weight;
                ticket = ticket.saturating_sub(*weight);
                hit
            })
            .unwrap_or(0);
        let (_, spot) = pool[at];
        pool.retain(|(_, other)| other.owner != spot.owner);
        ranked.push(spot);
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: Shape = match Shape::new(4, 6) {
        Ok(shape) => shape,
        Err(_) => panic!("4 of 6 is a shape"),
    };

    fn agents(owners: &[u8]) -> Vec<Candidate> {
        (1u8..)
            .zip(owners)
            .map(|(at, owner)| Candidate {
                device: DeviceId([at; 32]),
                owner: Account::repeat_byte(*owner),
                rail: Some(RailId(u64::from(at))),
                free: 1 << 30,
                reachable: true,
                proven: false,
            })
            .collect()
    }

    proptest! {
        /// Distinct owners, usable agents only, the order of candidates does not matter.
        #[test]
        fn owners_are_distinct(
            owners in prop::collection::vec(0u8..12, 0..24),
            broken in any::<u64>(),
            id in any::<[u8; 16]>(),
        ) {
            let mut all = agents(&owners);
            for (at, agent) in (0..).zip(&mut all) {
                match (broken >> (at % 60)) & 7 {
                    0 => agent.rail = None,
                    1 => agent.free = 10,
                    2 => agent.reachable = false,
                    3 => agent.proven = true,
                    _ => {}
                }
            }
            let usable = |agent: &&Candidate| {
                agent.rail.is_some() && agent.free >= 11 && agent.reachable
            };
            let distinct: BTreeSet<_> =
                all.iter().filter(usable).map(|agent| agent.owner).collect();
            let placed = place(SegmentId(id), SHAPE, 11, &all);
            all.reverse();
            prop_assert_eq!(&placed, &place(SegmentId(id), SHAPE, 11, &all));
            match placed {
                Err(few) => {
                    prop_assert_eq!((few.usable, few.needed), (distinct.len(), 5));
                    prop_assert!(distinct.len() < 5);
                }
                Ok(placed) => {
                    prop_assert_eq!(placed.chosen.len(), distinct.len().min(6));
                    let spots: Vec<_> = placed.chosen.iter().chain(&placed.spares).collect();
                    let owners: BTreeSet<_> = spots.iter().map(|spot| spot.owner).collect();
                    prop_assert_eq!(owners.len(), spots.len());
                    prop_assert_eq!(owners, distinct);
                    for spot in spots {
                        let agent = all.iter().find(|agent| agent.device == spot.device);
                        prop_assert!(agent.as_ref().is_some_and(usable));
                    }
                }
            }
        }
    }

    #[test]
    fn room_and_proof_attract() {
        let mut all = agents(&[1, 2, 3, 4, 5, 6, 7, 8]);
        all[0].proven = true;
        all[1].free = 1 << 24;
        let mut counts = [0; 8];
        for number in 0u128..2_000 {
            let placed = place(SegmentId(number.to_be_bytes()), SHAPE, 1, &all).unwrap().chosen;
            for spot in placed.iter().take(1) {
                counts[usize::from(spot.device.0[0]) - 1] += 1;
            }
        }
        // First draws: proven weighs 4 of about 10, one with a 64th of the room almost nothing.
        assert!(counts[0] > 2 * counts[2], "{counts:?}");
        assert!(counts[1] * 10 < counts[2], "{counts:?}");
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        let mut all = agents(&[1, 2, 3, 4, 5]);
        all[0].rail = None;
        all[1].free = 0;
        all[2].reachable = false;
        let few = place(SegmentId([0; 16]), SHAPE, 1, &all).unwrap_err();
        assert_eq!(
            few.to_string(),
            "2 owners with a usable agent, 5 needed: of 5 agents 1 have no open rail, 1 no room, \
             1 do not answer"
        );
    }

    #[test]
    fn a_replacement_avoids_the_owners_that_hold_other_shards() {
        let all = agents(&[1, 2, 3]);
        let taken = [Account::repeat_byte(1), Account::repeat_byte(2)].into();
        let spots = replace(SegmentId([0; 16]), 1, &all, &taken);
        assert_eq!(spots.len(), 1);
        assert_eq!(spots[0].owner, Account::repeat_byte(3));
    }
}
