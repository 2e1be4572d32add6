//! The processor's part of a coded block: what its proposer and what everybody else has to compute.

use super::BYTES;
use crate::report::median;
use anyhow::anyhow;
use commonware_coding::{ReedSolomon, Scheme as _};
use commonware_consensus::marshal::coding::types::coding_config_for_participants;
use commonware_cryptography::Sha256;
use commonware_parallel::Sequential;
use std::time::Instant;

type Code = ReedSolomon<Sha256>;

/// Times that each is measured.
const ROUNDS: usize = 9;

/// Milliseconds of one core for one block.
pub(crate) struct Cost {
    /// Cutting it, by its proposer.
    pub(crate) cut: f64,
    /// Checking the pieces that are needed and joining them, by everybody.
    pub(crate) join: f64,
}

/// Measures blocks of `bytes` for `seats` validators.
pub(crate) fn measure(seats: u16, bytes: usize) -> anyhow::Result<Cost> {
    debug_assert!(BYTES.contains(&bytes), "one of the sizes of the table");
    let config = coding_config_for_participants(seats);
    let block: Vec<u8> = (0..bytes).map(|index| index.to_le_bytes()[0]).collect();
    let (mut cut, mut join) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let (root, pieces) = Code::encode(&config, block.as_slice(), &Sequential)
            .map_err(|error| anyhow!("cannot cut a block: {error:?}"))?;
        cut.push(begin.elapsed().as_secs_f64() * 1000.0);
        // The last ones: all that the code can have to compute again is missing.
        let begin = Instant::now();
        let needed = usize::from(config.minimum_shards.get());
        let checked: Vec<_> = (0..seats)
            .zip(&pieces)
            .rev()
            .take(needed)
            .map(|(index, piece)| Code::check(&config, &root, index, piece, &Sequential))
            .collect::<Result<_, _>>()
            .map_err(|error| anyhow!("a good piece is refused: {error:?}"))?;
        let joined = Code::decode(&config, &root, checked.iter(), &Sequential)
            .map_err(|error| anyhow!("cannot join a block: {error:?}"))?;
        join.push(begin.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(joined == block, "joined to another block");
    }
    Ok(Cost { cut: median(cut), join: median(join) })
}
