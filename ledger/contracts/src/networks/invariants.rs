//! What always holds for networks.

use super::calls::decode;
use super::state::Networks;
use crate::address;
use crate::context::Context;
use crate::invariants::{Broken, holds};
use crate::tokens::Token;

/// Every network has a founder, a token, and valid manifests with ascending activations.
pub(crate) fn check(cx: &mut Context<'_>) -> Result<(), Broken> {
    let networks = Networks::new();
    for network in networks.all(cx)? {
        let record = networks.record(cx, network)?;
        holds!(!record.treasury.is_zero(), "network {network}: no treasury");
        holds!(Token::at(address::token(network)).exists(cx)?, "network {network}: no token");
        let versions = networks.versions.at_key(cx, network.0)?;
        let mut next = record.start;
        for index in 0..versions.len(cx)? {
            let version = networks.version(cx, network, index)?;
            let activation = version.activation;
            holds!(activation >= next, "network {network}: version {index} activates out of order");
            next = activation.saturating_add(1);
            let bytes = networks.manifests.at_key(cx, network.0)?.at_key(cx, index)?.get(cx)?;
            let valid = decode(cx, &bytes)?.validate();
            holds!(valid.is_ok(), "network {network}: version {index} is invalid: {valid:?}");
        }
    }
    let beyond = networks.count.get(cx)?.saturating_add(1);
    holds!(networks.records.get(cx, beyond)?.founder.is_zero(), "network {beyond} is not counted");
    Ok(())
}
