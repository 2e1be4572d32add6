//! Devices as ERC-721 tokens: the token's id is the device's id.
//!
//! System contracts make no calls into code, so a safe transfer refuses receivers that are contracts
//! instead of asking them.

use super::state::{Device, Devices};
use crate::abi::IDevices::{
    self, Approval, ApprovalForAll, ERC721IncorrectOwner, ERC721InsufficientApproval,
    ERC721InvalidApprover, ERC721InvalidOperator, ERC721InvalidOwner, ERC721InvalidReceiver,
    ERC721NonexistentToken, IDevicesCalls, Staked, Transfer,
};
use crate::abi::ISystem::UnknownSelector;
use crate::address::DEVICES;
use crate::context::{Checked as _, Context};
use crate::dispatch::{empty, returns};
use crate::env::{Failure, ensure};
use crate::stakes::Stakes;
use alloy_primitives::{Address, B256, FixedBytes, U256};
use alloy_sol_types::SolInterface as _;

/// The collection's name.
const NAME: &str = "Wayleave Devices";
/// The collection's symbol.
const SYMBOL: &str = "DEVICE";
/// ERC-165, ERC-721 and ERC-721 metadata.
const INTERFACES: [[u8; 4]; 3] =
    [[0x01, 0xff, 0xc9, 0xa7], [0x80, 0xac, 0x58, 0xcd], [0x5b, 0x5e, 0x13, 0x9f]];

/// Answers a call of the ERC-721 part.
pub(super) fn call(
    cx: &mut Context<'_>,
    devices: &Devices,
    call: IDevicesCalls,
) -> Result<Vec<u8>, Failure> {
    use IDevicesCalls as C;
    Ok(match call {
        C::name(_) => returns::<IDevices::nameCall>(&NAME.to_owned()),
        C::symbol(_) => returns::<IDevices::symbolCall>(&SYMBOL.to_owned()),
        C::tokenURI(c) => {
            devices.token(cx, c.tokenId)?;
            let uri = format!("wayleave:device/{}", B256::from(c.tokenId));
            returns::<IDevices::tokenURICall>(&uri)
        }
        C::supportsInterface(c) => {
            let supported = INTERFACES.contains(&c.interfaceId.0);
            returns::<IDevices::supportsInterfaceCall>(&supported)
        }
        C::balanceOf(c) => {
            ensure!(!c.owner.is_zero(), ERC721InvalidOwner { owner: c.owner });
            returns::<IDevices::balanceOfCall>(&devices.balances.get(cx, c.owner)?)
        }
        C::ownerOf(c) => returns::<IDevices::ownerOfCall>(&devices.token(cx, c.tokenId)?.owner),
        C::getApproved(c) => {
            devices.token(cx, c.tokenId)?;
            let approved = devices.approved.get(cx, c.tokenId.into())?;
            returns::<IDevices::getApprovedCall>(&approved)
        }
        C::isApprovedForAll(c) => {
            let approved = devices.operators.get2(cx, c.owner, c.operator)?;
            returns::<IDevices::isApprovedForAllCall>(&approved)
        }
        C::approve(c) => devices.approve(cx, c.to, c.tokenId).map(empty)?,
        C::setApprovalForAll(c) => devices.set_operator(cx, c.operator, c.approved).map(empty)?,
        C::transferFrom(c) => devices.transfer(cx, c.from, c.to, c.tokenId).map(empty)?,
        C::safeTransferFrom_0(c) => {
            devices.safe_transfer(cx, c.from, c.to, c.tokenId).map(empty)?
        }
        C::safeTransferFrom_1(c) => {
            devices.safe_transfer(cx, c.from, c.to, c.tokenId).map(empty)?
        }
        other => {
            let selector = FixedBytes(other.selector());
            return Err(UnknownSelector { selector }.into());
        }
    })
}

impl Devices {
    fn token(&self, cx: &mut Context<'_>, id: U256) -> Result<Device, Failure> {
        self.get(cx, id.into())?.ok_or_else(|| ERC721NonexistentToken { tokenId: id }.into())
    }

    fn approve(&self, cx: &mut Context<'_>, approved: Address, id: U256) -> Result<(), Failure> {
        let (owner, caller) = (self.token(cx, id)?.owner, cx.caller());
        let may = owner == caller || self.operators.get2(cx, owner, caller)?;
        ensure!(may, ERC721InvalidApprover { approver: caller });
        self.approved.set(cx, id.into(), &approved)?;
        cx.emit(DEVICES, &Approval { owner, approved, tokenId: id })
    }

    fn set_operator(
        &self,
        cx: &mut Context<'_>,
        operator: Address,
        approved: bool,
    ) -> Result<(), Failure> {
        ensure!(!operator.is_zero(), ERC721InvalidOperator { operator });
        let owner = cx.caller();
        self.operators.set2(cx, owner, operator, &approved)?;
        cx.emit(DEVICES, &ApprovalForAll { owner, operator, approved })
    }

    fn transfer(
        &self,
        cx: &mut Context<'_>,
        from: Address,
        to: Address,
        id: U256,
    ) -> Result<(), Failure> {
        let (device, caller) = (B256::from(id), cx.caller());
        ensure!(!to.is_zero(), ERC721InvalidReceiver { receiver: to });
        let record = self.token(cx, id)?;
        let owner = record.owner;
        ensure!(owner == from, ERC721IncorrectOwner { sender: from, tokenId: id, owner });
        let may = caller == owner
            || self.approved.get(cx, device)? == caller
            || self.operators.get2(cx, owner, caller)?;
        ensure!(may, ERC721InsufficientApproval { operator: caller, tokenId: id });
        let stakes = Stakes::new();
        let stake = stakes.held(cx, device)?;
        ensure!(stake == 0, Staked { device, stake: U256::from(stake) });

        self.approved.set(cx, device, &Address::ZERO)?;
        let rest = self.balances.get(cx, from)?.minus(U256::ONE)?;
        self.balances.set(cx, from, &rest)?;
        let more = self.balances.get(cx, to)?.plus(U256::ONE)?;
        self.balances.set(cx, to, &more)?;
        self.devices.set(cx, device, &Device { owner: to, ..record })?;
        cx.emit(DEVICES, &Transfer { from, to, tokenId: id })
    }

    fn safe_transfer(
        &self,
        cx: &mut Context<'_>,
        from: Address,
        to: Address,
        id: U256,
    ) -> Result<(), Failure> {
        ensure!(!cx.has_code(to)?, ERC721InvalidReceiver { receiver: to });
        self.transfer(cx, from, to, id)
    }
}
