//! What the disk itself does: the floor under everything that is synced.

use crate::report::{Figure, median, progress};
use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::Instant,
};

/// How often a small write is synced.
const SYNCS: usize = 500;
/// The small write, bytes.
const SMALL: usize = 4 << 10;
/// The large file, bytes.
const LARGE: usize = 16 << 20;
/// How often it is written.
const RUNS: usize = 7;

/// Measures the disk under `folder`.
pub(crate) fn figures(folder: &Path) -> anyhow::Result<Vec<Figure>> {
    progress("the disk");
    let bytes = vec![0x55; LARGE];
    let mut large = Vec::new();
    for run in 0..RUNS {
        let began = Instant::now();
        let mut file = File::create(folder.join(format!("large-{run}")))?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        large.push(16.777_216 / began.elapsed().as_secs_f64());
    }
    let mut file = File::options().write(true).open(folder.join("large-0"))?;
    let mut small = Vec::new();
    for number in 0..SYNCS {
        let began = Instant::now();
        file.seek(SeekFrom::Start(u64::try_from(number * SMALL)?))?;
        file.write_all(&bytes[..SMALL])?;
        file.sync_data()?;
        small.push(1.0 / began.elapsed().as_secs_f64());
    }
    let figure = |what: &str, ours, unit| Figure { what: what.into(), ours, rival: None, unit };
    Ok(vec![
        figure("4 KiB written in place and synced, one at a time", median(small), "1/s"),
        figure("a new file of 16 MiB written and synced", median(large), "MB/s"),
    ])
}
