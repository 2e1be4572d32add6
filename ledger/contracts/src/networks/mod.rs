//! Networks: founder, treasury, token, and the versions of the manifest.
//!
//! A manifest is kept as its canonical bytes and checked by `protocol::manifest::Manifest::validate`. A version holds
//! from its activation on, which is at least two epochs ahead, so that everybody knows an epoch's rules
//! before it starts.
//!
//! Invariants: activations ascend; every stored manifest is canonical and valid; networks are numbered
//! from 1 without gaps; each has exactly one token.

mod calls;
pub(crate) mod invariants;
mod state;

#[cfg(test)]
mod tests;

use crate::abi::INetworks::{self, INetworksCalls};
use crate::address;
use crate::context::Context;
use crate::dispatch::{decode, empty, returns};
use crate::env::Failure;
pub(crate) use calls::Founding;
use protocol::{Epoch, NetworkId};
pub(crate) use state::Networks;

/// Answers a call.
pub(crate) fn call(cx: &mut Context<'_>, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use INetworksCalls as C;
    let networks = Networks::new();
    Ok(match decode::<C>(input)? {
        C::create(c) => {
            let network = networks.create(cx, &c)?;
            returns::<INetworks::createCall>(&network.0)
        }
        C::amend(c) => {
            let version = networks.amend(cx, NetworkId(c.network), None, &c.manifest)?;
            returns::<INetworks::amendCall>(&version)
        }
        C::amendAt(c) => {
            let activation = Some(Epoch(c.activation));
            let version = networks.amend(cx, NetworkId(c.network), activation, &c.manifest)?;
            returns::<INetworks::amendAtCall>(&version)
        }
        C::setFounder(c) => networks.set_founder(cx, NetworkId(c.network), c.founder).map(empty)?,
        C::setTreasury(c) => {
            networks.set_treasury(cx, NetworkId(c.network), c.treasury).map(empty)?
        }
        C::count(_) => returns::<INetworks::countCall>(&networks.count.get(cx)?),
        C::manifest(c) => {
            let bytes = networks.manifest_bytes(cx, NetworkId(c.network), Epoch(c.epoch))?;
            returns::<INetworks::manifestCall>(&bytes.into())
        }
        C::version(c) => {
            let version = networks.version(cx, NetworkId(c.network), c.index)?;
            returns::<INetworks::versionCall>(&version)
        }
        C::founder(c) => {
            let record = networks.record(cx, NetworkId(c.network))?;
            returns::<INetworks::founderCall>(&record.founder)
        }
        C::treasury(c) => {
            let record = networks.record(cx, NetworkId(c.network))?;
            returns::<INetworks::treasuryCall>(&record.treasury)
        }
        C::token(c) => {
            networks.record(cx, NetworkId(c.network))?;
            returns::<INetworks::tokenCall>(&address::token(NetworkId(c.network)))
        }
        C::networkInfo(c) => {
            let info = networks.info(cx, NetworkId(c.network))?;
            returns::<INetworks::networkInfoCall>(&info)
        }
    })
}
