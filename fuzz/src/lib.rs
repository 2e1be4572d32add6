//! Fuzzing of the pure decoders: everything that reads bytes which somebody else wrote.
//!
//! A [`Target`] is a function from bytes to nothing that must not panic, hang or contradict itself; most
//! of them also hold what the codebase promises of every canonical encoding: what decodes encodes back to
//! the same bytes. Two readings of one format (the ledger's and the light client's) are held against one
//! another.
//!
//! The same targets run in three ways:
//! * `cargo test -p fuzz` replays every input in `fuzz/corpus/TARGET.inputs` and then mutates them for a moment;
//! * `cargo run --release -p fuzz -- [TARGET]` does that for as long as asked, from any seed;
//! * `cargo xtask fuzz [TARGET]` lets libFuzzer search by coverage, and keeps what reaches new code; what it
//!   found, and how much it tried, stands in `fuzz/corpus/README.md`.
//!
//! Beyond decoders, targets run what stands behind a signature or a parser, with the signature made or the
//! parser passed: calls of the system contracts in a ledger that has begun (`contracts-devnet`), an epoch's
//! reports judged and settled (`settlement`), requests answered by a running ledger (`rpc`).
//!
//! What a program keeps for itself is tried as well: rows of databases, notes, key files and cards come back
//! from disks that fail, from people's editors, and from agents that others own. Below a seal (a digest, a
//! passphrase) the seal is made, so that what it covers is reached.
//!
//! Not here: what libraries decode (HTTP, S3's XML, QUIC, TLS, database pages, the engine's own votes).
//!
//! To add a target, add it to [`targets::TARGETS`], with inputs that decode ([`Target::seeds`]): a mutator
//! that begins with nothing does not get past a signature.

pub mod corpus;
pub mod mutate;
pub mod targets;

/// A decoder under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line and in the corpus.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// Reads `bytes` and says whether they are what the decoder wants; panics if the code under test
    /// breaks a promise.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that decode, all of them, made by the encoders or taken from a devnet.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// The target with this name.
pub fn target(name: &str) -> Option<&'static Target> {
    targets::TARGETS.iter().find(|target| target.name == name)
}
