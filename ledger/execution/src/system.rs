//! The native contracts as the machine sees them.

use crate::{
    env::SPEC,
    key::{Key, Value},
};
use alloy_evm::precompiles::PrecompilesMap;
use revm::precompile::{PrecompileSpecId, Precompiles};
use std::collections::BTreeMap;

/// Ethereum's precompiles and the system contracts.
pub(crate) fn precompiles() -> PrecompilesMap {
    PrecompilesMap::from_static(Precompiles::new(PrecompileSpecId::from_spec_id(SPEC)))
}

/// Accounts and storage of the system contracts at height 0.
pub(crate) fn genesis(_: &mut BTreeMap<Key, Value>) {}
