//! The vocabulary and the rules of Wayleave's economy, pure and integer-only.
//!
//! Everything that two parts of the stack must agree on to the bit lives here: identities, keys,
//! units, time, the signed envelope, vouchers, manifests, the reasons behind every row, rewards,
//! account leaves, and the small traits (clock, network, disk, kind) that lower folders implement.
//!
//! Never here: input or output, a clock, randomness, async, or the name of a resource kind.
//!
//! Invariants:
//! * every decoder is total: bad bytes give an error, never a panic;
//! * every canonical encoding is unique: what decodes also re-encodes to the same bytes;
//! * amounts never wrap and never become negative: arithmetic is checked or saturating by name.

pub mod author;
pub mod body;
pub mod cbor;
pub mod clock;
pub mod disk;
pub mod envelope;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod id;
pub mod inputs;
pub mod key;
pub mod kind;
pub mod leaf;
pub mod manifest;
pub mod merkle;
pub mod net;
pub mod reason;
pub mod reward;
pub mod seed;
pub mod statement;
pub mod units;
pub mod voucher;

pub use alloy_primitives::Address as Account;
pub use id::{AuthorKey, DeviceId, Digest, Epoch, Height, KindId, NetworkId, RailId};
pub use reason::Reason;
pub use units::{Micros, Ppm, Tokens};
