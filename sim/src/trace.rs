//! What happened in a world, line by line, and the hash of all of it: same seed, same hash.

use std::{collections::VecDeque, time::Duration};

/// Lines kept for whoever looks at a failure.
const KEPT: usize = 400;

/// The trace of one world.
#[derive(Debug, Default)]
pub struct Trace {
    hasher: blake3::Hasher,
    last: VecDeque<String>,
    echo: bool,
}

impl Trace {
    /// An empty trace, that prints its lines as they come if `echo` is set.
    pub fn new(echo: bool) -> Self {
        Self { echo, ..Self::default() }
    }

    /// Adds a line.
    #[expect(clippy::print_stderr, reason = "an echo is asked for on the command line")]
    pub fn add(&mut self, at: Duration, what: impl std::fmt::Display) {
        let line = format!("{:>9.3} {what}", at.as_secs_f64());
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        if self.echo {
            eprintln!("{line}");
        }
        self.last.push_back(line);
        if self.last.len() > KEPT {
            self.last.pop_front();
        }
    }

    /// The hash of all lines.
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex()[..16].to_owned()
    }

    /// The last lines.
    pub fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }
}
