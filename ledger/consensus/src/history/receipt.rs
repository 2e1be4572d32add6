//! How a receipt is stored: 1 byte (1 if a contract was created), 20 bytes (its address or zero),
//! 8 bytes gas used, 16 bytes price (both big-endian), then the EIP-2718 bytes of the envelope.

use super::HistoryError;
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::Address;
use execution::{Receipt, ReceiptEnvelope};

/// Bytes before the envelope.
const PREFIX: usize = 1 + 20 + 8 + 16;

pub(crate) fn encode_receipt(receipt: &Receipt) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX + receipt.envelope.encode_2718_len());
    bytes.push(u8::from(receipt.created.is_some()));
    bytes.extend_from_slice(receipt.created.unwrap_or_default().as_slice());
    bytes.extend_from_slice(&receipt.gas_used.to_be_bytes());
    bytes.extend_from_slice(&receipt.gas_price.to_be_bytes());
    receipt.envelope.encode_2718(&mut bytes);
    bytes
}

pub(crate) fn decode_receipt(bytes: &[u8]) -> Result<Receipt, HistoryError> {
    read(bytes).ok_or(HistoryError::Corrupt("a receipt does not decode"))
}

fn read(bytes: &[u8]) -> Option<Receipt> {
    let (created, rest) = bytes.split_first()?;
    let (address, rest) = rest.split_first_chunk::<20>()?;
    let (gas_used, rest) = rest.split_first_chunk::<8>()?;
    let (gas_price, rest) = rest.split_first_chunk::<16>()?;
    Some(Receipt {
        envelope: ReceiptEnvelope::decode_2718_exact(rest).ok()?,
        gas_used: u64::from_be_bytes(*gas_used),
        gas_price: u128::from_be_bytes(*gas_price),
        created: (*created == 1).then(|| Address::from(*address)),
    })
}
