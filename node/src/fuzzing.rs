//! The decoders of the program's own files, as crate `fuzz` tries them. They are no part of its interface:
//! nothing else calls them.
//!
//! Each reads `bytes` and, if they are what it wants, gives what the decoded value encodes to.

use crate::{commands::init::check, devnet::running::Running, keys::Card};
use consensus::Genesis;

/// A validator's card.
pub fn card(bytes: &[u8]) -> Option<Vec<u8>> {
    serde_json::to_vec(&Card::from_bytes(bytes).ok()?).ok()
}

/// Where a running devnet answers.
pub fn running(bytes: &[u8]) -> Option<Vec<u8>> {
    serde_json::to_vec(&serde_json::from_slice::<Running>(bytes).ok()?).ok()
}

/// A genesis file, as `wayleave init check` tells what it founds.
pub fn founded(bytes: &[u8]) -> Option<Vec<u8>> {
    let genesis: Genesis = serde_json::from_slice(bytes).ok()?;
    genesis.check().ok()?;
    let summary = check::Summary::of(&genesis);
    check::peers(&genesis).ok()?;
    serde_json::to_vec(&summary.ok()?).ok()
}
