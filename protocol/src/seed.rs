//! The seed of an epoch and everything drawn from it.
//!
//! The seed mixes the last header's reveals with the latest final settlement root and the epoch's
//! number, and is fixed when the epoch before ends (design 5). Draws are BLAKE3 in its XOF mode over
//! (domain, seed, parts), so that a draw for one purpose says nothing about another, and are reduced
//! to a range without bias.

use crate::{Digest, Epoch};

/// The seed of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

/// The seed of `epoch` on `chain_id`, from the mix of the last header before it and the latest final
/// settlement root of the network (zero before the first).
pub fn epoch_seed(chain_id: u64, epoch: Epoch, mix: [u8; 32], latest_root: [u8; 32]) -> Seed {
    let mut hasher = blake3::Hasher::new_derive_key("wayleave 2026-11 epoch seed");
    hasher.update(&chain_id.to_be_bytes());
    hasher.update(&epoch.0.to_be_bytes());
    hasher.update(&mix);
    hasher.update(&latest_root);
    Seed(*hasher.finalize().as_bytes())
}

/// The mix after a proposer's reveal.
pub fn next_mix(previous: [u8; 32], reveal: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("wayleave 2026-11 seed mix");
    hasher.update(&previous);
    hasher.update(reveal);
    *hasher.finalize().as_bytes()
}

/// A stream of uniform numbers.
pub struct Draw(blake3::OutputReader);

impl std::fmt::Debug for Draw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Draw").field(&self.0.position()).finish()
    }
}

impl Seed {
    /// A stream for `domain` (a fixed text) and `parts` (each length-prefixed).
    pub fn draw(&self, domain: &str, parts: &[&[u8]]) -> Draw {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            // A slice's length fits 64 bits on every platform Rust supports.
            hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(part);
        }
        Draw(hasher.finalize_xof())
    }

    /// The seed as a digest, for display.
    pub const fn digest(&self) -> Digest {
        Digest(self.0)
    }
}

impl Draw {
    /// A uniform number below `bound`; zero for a bound of zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Rejection keeps the draw exactly uniform; fewer than one in two is rejected.
        let zone = u64::MAX - (u64::MAX % bound + 1) % bound;
        loop {
            let mut bytes = [0; 8];
            self.0.fill(&mut bytes);
            let number = u64::from_be_bytes(bytes);
            if number <= zone {
                return number % bound;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_deterministic_and_separate() {
        let seed = epoch_seed(1, Epoch(2), [3; 32], [4; 32]);
        let draw = |domain: &str, part: &[u8]| seed.draw(domain, &[part]).below(u64::MAX);
        assert_eq!(draw("a", b"x"), draw("a", b"x"));
        assert_ne!(draw("a", b"x"), draw("b", b"x"));
        assert_ne!(draw("a", b"x"), draw("a", b"y"));
        assert_ne!(seed, epoch_seed(1, Epoch(3), [3; 32], [4; 32]));
    }

    #[test]
    fn draws_are_even() {
        let mut draw = Seed([1; 32]).draw("even", &[]);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[usize::try_from(draw.below(6)).unwrap()] += 1;
        }
        // Ten standard deviations (91 each) around the mean.
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
        assert_eq!(draw.below(1), 0);
        assert_eq!(draw.below(0), 0);
    }
}
