//! A small mutator for runs without coverage: from one seed always the same inputs.

/// Longest input made, in bytes.
const LENGTH_MAX: usize = 8 * 1024;
/// Most changes of one input.
const CHANGES_MAX: u64 = 6;
/// Numbers at the edges of what decoders compare with.
const EDGES: [u64; 12] = [
    0,
    1,
    0x17,
    0x18,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Makes inputs out of others.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator that always makes the same of the same.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15 }
    }

    /// The next number (SplitMix64).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero; it need not be uniform.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A new input out of `inputs`, of which there is at least one.
    pub fn mutate(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.next() % CHANGES_MAX {
            self.change(&mut bytes, inputs);
        }
        bytes.truncate(LENGTH_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        if bytes.is_empty() {
            bytes.push(self.byte());
            return;
        }
        let at = self.below(bytes.len());
        match self.next() % 8 {
            0 => bytes[at] ^= 1 << (self.next() % 8),
            1 => bytes[at] = self.byte(),
            2 => bytes.insert(at, self.byte()),
            3 => {
                let end = at + self.below(bytes.len() - at) + 1;
                bytes.drain(at..end);
            }
            4 => bytes.truncate(at),
            5 => self.write_edge(&mut bytes[at..]),
            6 => {
                let end = at + self.below((bytes.len() - at).min(256)) + 1;
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                let other = &inputs[self.below(inputs.len())];
                if !other.is_empty() {
                    let from = self.below(other.len());
                    bytes.splice(at.., other[from..].iter().copied());
                }
            }
        }
    }

    /// Writes a number at an edge over the beginning of `bytes`, in 1 to 8 big-endian bytes.
    fn write_edge(&mut self, bytes: &mut [u8]) {
        let number = EDGES[self.below(EDGES.len())].to_be_bytes();
        let width = 1 << (self.next() % 4);
        for (to, from) in bytes.iter_mut().zip(&number[number.len() - width..]) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let inputs = vec![b"wayleave".to_vec(), vec![0; 100], Vec::new()];
        let made = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..500).map(|_| mutator.mutate(&inputs)).collect::<Vec<_>>()
        };
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
        assert!(made(7).iter().all(|input| input.len() <= LENGTH_MAX));
    }
}
