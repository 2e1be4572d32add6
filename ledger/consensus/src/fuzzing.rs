//! The decoders of what peers send and of what is kept on disk, as crate `fuzz` tries them. They are no part
//! of the ledger's interface: nothing else calls them.
//!
//! Each reads `bytes` and, if they are what it wants, gives what the decoded value encodes to.

use crate::{
    gossip::Topic,
    history::{decode_receipt, encode_receipt},
    join::Message,
};
use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};

/// What nodes ask of one another in order to join and to follow.
pub fn join_message(bytes: &[u8]) -> Option<Vec<u8>> {
    Message::decode(Copying(bytes)).ok().map(|message| message.encode().to_vec())
}

/// Gossiped transactions.
pub fn gossiped_transactions(bytes: &[u8]) -> Option<Vec<u8>> {
    gossiped(Topic::Transactions, bytes)
}

/// Gossiped blobs of evidence.
pub fn gossiped_blobs(bytes: &[u8]) -> Option<Vec<u8>> {
    gossiped(Topic::Blobs, bytes)
}

fn gossiped(topic: Topic, bytes: &[u8]) -> Option<Vec<u8>> {
    let items = topic.decode(Bytes::copy_from_slice(bytes)).ok()?;
    Some(topic.encode(&items).to_vec())
}

/// A receipt in the history file.
pub fn kept_receipt(bytes: &[u8]) -> Option<Vec<u8>> {
    decode_receipt(bytes).ok().map(|receipt| encode_receipt(&receipt))
}
