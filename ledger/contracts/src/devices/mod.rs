//! Devices: compact records, and an ERC-721 view of them.
//!
//! A device is registered by its owner with a signature of the device's own key, so that nobody
//! registers a key that they do not hold. Its id is the thumbprint of the key and the id of its ERC-721
//! token. Each network lists its devices in service.
//!
//! Invariants: a key is registered at most once, ever; a device in service stands exactly once in its
//! network's list; a device changes hands only without stake, because stake answers for its owner.

mod calls;
pub(crate) mod invariants;
mod state;
mod tokens;

#[cfg(test)]
mod tests;

use crate::abi::IDevices::{self, IDevicesCalls};
use crate::context::Context;
use crate::dispatch::{decode, empty, returns};
use crate::env::Failure;
use protocol::NetworkId;
pub(crate) use state::{Device, Devices};

/// Answers a call.
pub(crate) fn call(cx: &mut Context<'_>, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use IDevicesCalls as C;
    let devices = Devices::new();
    Ok(match decode::<C>(input)? {
        C::register(c) => {
            let device = devices.register(cx, &c)?;
            returns::<IDevices::registerCall>(&device)
        }
        C::retire(c) => devices.retire(cx, c.device).map(empty)?,
        C::setEndpoint(c) => devices.set_endpoint(cx, c.device, c.endpoint).map(empty)?,
        C::device(c) => {
            let record = devices.find(cx, c.device)?;
            returns::<IDevices::deviceCall>(&record.into())
        }
        C::offer(c) => {
            devices.find(cx, c.device)?;
            let offer = devices.offers.at_key(cx, c.device)?.get(cx)?;
            returns::<IDevices::offerCall>(&offer.into())
        }
        C::endpoint(c) => {
            devices.find(cx, c.device)?;
            let endpoint = devices.endpoints.at_key(cx, c.device)?.get_string(cx)?;
            returns::<IDevices::endpointCall>(&endpoint)
        }
        C::deviceAt(c) => {
            let device = devices.in_service_at(cx, NetworkId(c.network), c.index)?;
            returns::<IDevices::deviceAtCall>(&device)
        }
        C::deviceCount(c) => {
            let count = devices.in_service.at_key(cx, c.network)?.len(cx)?;
            returns::<IDevices::deviceCountCall>(&count)
        }
        C::registeredCount(c) => {
            let count = devices.registered.get(cx, c.network)?;
            returns::<IDevices::registeredCountCall>(&count)
        }
        token => return tokens::call(cx, &devices, token),
    })
}
