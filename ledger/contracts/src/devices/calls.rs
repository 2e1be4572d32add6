//! Registering, retiring and announcing devices.

use super::state::{Device, Devices, IN_SERVICE};
use crate::abi::IDevices::{
    AlreadyRegistered, AlreadyRetired, EndpointChanged, InvalidKey, InvalidProof, NoSuchDevice,
    NoSuchIndex, NotOwner, Registered, Retired, Transfer, UnknownKind, registerCall,
};
use crate::abi::ISystem::TooMany;
use crate::address::DEVICES;
use crate::context::{Checked as _, Context};
use crate::env::{Failure, ensure};
use crate::networks::Networks;
use crate::signature::device_signed;
use alloy_primitives::{Address, B256, U256};
use protocol::key::{DeviceKey, registration_message};
use protocol::{Digest, KindId, NetworkId};

/// The longest offer, in bytes.
const OFFER_MAX: usize = 1_024;
/// The longest endpoint, in bytes: a DNS name with a port.
const ENDPOINT_MAX: usize = 262;
/// The tier of a device whose agent signs with a key in software (design 6).
const TIER_SIGNING: u8 = 2;
/// Gas of a thumbprint.
const THUMBPRINT_GAS: u64 = 100;

impl Devices {
    pub(super) fn register(
        &self,
        cx: &mut Context<'_>,
        call: &registerCall,
    ) -> Result<B256, Failure> {
        let (owner, network) = (cx.caller(), NetworkId(call.network));
        limit(call.offer.len(), OFFER_MAX)?;
        let manifest = Networks::new().current_manifest(cx, network)?;
        let known = manifest.terms(KindId(call.kind)).is_some();
        ensure!(known, UnknownKind { network: network.0, kind: call.kind });
        let (key, device) = key_of(cx, call)?;
        let before = self.devices.get(cx, device)?;
        ensure!(before.owner.is_zero(), AlreadyRegistered { device });
        let message = registration_message(cx.chain_id(), network, owner);
        ensure!(device_signed(cx, &key, &message, &call.proof)?, InvalidProof { device });

        let epoch = cx.epoch()?.0;
        let index = self.in_service.at_key(cx, network.0)?.push(cx, &device)?;
        let record = Device {
            owner,
            network: network.0,
            kind: call.kind,
            alg: call.alg.cast_unsigned(),
            tier: TIER_SIGNING,
            maker: Address::ZERO,
            capacity: call.capacity,
            x: call.x,
            y: call.y,
            offer: Digest::of(&call.offer).into(),
            cell: call.cell,
            registered: epoch,
            retired: IN_SERVICE,
            index,
        };
        self.devices.set(cx, device, &record)?;
        self.offers.at_key(cx, device)?.set(cx, &call.offer)?;
        let ever = self.registered.get(cx, network.0)?.plus(1)?;
        self.registered.set(cx, network.0, &ever)?;
        let owned = self.balances.get(cx, owner)?.plus(U256::ONE)?;
        self.balances.set(cx, owner, &owned)?;
        let (kind, capacity, cell) = (call.kind, call.capacity, call.cell);
        let event = Registered { device, network: network.0, owner, kind, capacity, cell };
        cx.emit(DEVICES, &event)?;
        cx.emit(DEVICES, &Transfer { from: Address::ZERO, to: owner, tokenId: device.into() })?;
        Ok(device)
    }

    pub(super) fn retire(&self, cx: &mut Context<'_>, device: B256) -> Result<(), Failure> {
        let record = self.owned_by_caller(cx, device)?;
        ensure!(record.is_in_service(), AlreadyRetired { device });
        let list = self.in_service.at_key(cx, record.network)?;
        if let Some(moved) = list.swap_remove(cx, record.index)? {
            let other = Device { index: record.index, ..self.devices.get(cx, moved)? };
            self.devices.set(cx, moved, &other)?;
        }
        let (network, retired) = (record.network, cx.epoch()?.0);
        self.devices.set(cx, device, &Device { retired, index: 0, ..record })?;
        cx.emit(DEVICES, &Retired { device, network })
    }

    pub(super) fn set_endpoint(
        &self,
        cx: &mut Context<'_>,
        device: B256,
        endpoint: String,
    ) -> Result<(), Failure> {
        limit(endpoint.len(), ENDPOINT_MAX)?;
        self.owned_by_caller(cx, device)?;
        self.endpoints.at_key(cx, device)?.set(cx, endpoint.as_bytes())?;
        cx.emit(DEVICES, &EndpointChanged { device, endpoint })
    }

    /// The device, if it was ever registered.
    pub(crate) fn get(
        &self,
        cx: &mut Context<'_>,
        device: B256,
    ) -> Result<Option<Device>, Failure> {
        Ok(Some(self.devices.get(cx, device)?).filter(|record| !record.owner.is_zero()))
    }

    /// The device, or a revert if it was never registered.
    pub(crate) fn find(&self, cx: &mut Context<'_>, device: B256) -> Result<Device, Failure> {
        self.get(cx, device)?.ok_or_else(|| NoSuchDevice { device }.into())
    }

    fn owned_by_caller(&self, cx: &mut Context<'_>, device: B256) -> Result<Device, Failure> {
        let (record, caller) = (self.find(cx, device)?, cx.caller());
        ensure!(record.owner == caller, NotOwner { device, caller });
        Ok(record)
    }

    pub(super) fn in_service_at(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        index: u64,
    ) -> Result<B256, Failure> {
        let list = self.in_service.at_key(cx, network.0)?;
        let count = list.len(cx)?;
        list.get(cx, index)?.ok_or_else(|| NoSuchIndex { index, count }.into())
    }
}

/// The key of a registration and its id. Ed25519 keys have no y.
fn key_of(cx: &mut Context<'_>, call: &registerCall) -> Result<(DeviceKey, B256), Failure> {
    cx.charge(THUMBPRINT_GAS)?;
    let key = DeviceKey::from_parts(call.alg, call.x.0, call.y.0)
        .filter(|key| key.y() == call.y.0)
        .ok_or(InvalidKey { alg: call.alg })?;
    Ok((key, key.id().into()))
}

fn limit(length: usize, limit: usize) -> Result<(), Failure> {
    let error = TooMany { count: U256::from(length), limit: U256::from(limit) };
    ensure!(length <= limit, error);
    Ok(())
}
