//! The bodies that every kind shares (kind 0): a plain sign of life, and vouchers presented.

use crate::{
    Height, KindId,
    cbor::{DecodeError, Item},
    envelope::Body,
    voucher::SignedVoucher,
};
use minicbor::{Decode, Encode};

/// The kind number of common bodies.
pub const COMMON: KindId = KindId(0);
/// How many vouchers one envelope may present, so that it stays within its size limit.
pub const VOUCHERS_MAX: usize = 16;
/// How many vouchers of one device, in one epoch, settlement and judges look at whose signature does not
/// hold: an envelope full. Recovering a signer costs 30 us, so a quota full of bad ones would cost them
/// minutes; an agent that checks what it is given presents none.
pub const BAD_VOUCHERS_MAX: usize = VOUCHERS_MAX;

/// A body that every kind shares.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Common {
    /// The device is there. Sent in every duty's window, it makes a missed duty *selective*.
    #[n(0)]
    Report(#[n(0)] Report),
    /// Vouchers that customers gave this device, presented for settlement. At most [`VOUCHERS_MAX`].
    #[n(1)]
    Vouchers(#[n(0)] Vec<SignedVoucher>),
}

/// A sign of life with what the device says of itself. Self-reports are the weakest evidence: no pay
/// follows from their figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Report {
    /// Units in use, in the kind's unit (bytes for storage).
    #[n(0)]
    pub used: u64,
    /// Units still free, in the same unit.
    #[n(1)]
    pub free: u64,
    /// The newest block that the device knew when it signed. By it judges tell when the device was there,
    /// within bounds set by the block that carries the report.
    #[n(2)]
    pub at: Height,
}

impl Common {
    /// The envelope body that holds this.
    pub fn to_body(&self) -> Body {
        Body { kind: COMMON, item: Item::of(self) }
    }

    /// Reads a body of kind 0.
    ///
    /// # Errors
    /// When the item is not a common body in canonical encoding or holds too many vouchers.
    pub fn from_body(body: &Body) -> Result<Self, DecodeError> {
        let common: Self = body.item.to()?;
        match &common {
            Self::Vouchers(vouchers) if vouchers.len() > VOUCHERS_MAX => {
                Err(DecodeError::Malformed(format!("more than {VOUCHERS_MAX} vouchers")))
            }
            _ => Ok(common),
        }
    }
}
