//! The messages of gossip: a list of transactions, or of blobs, as a block's body holds them.
//!
//! Encoding: a varint count, then each item with a varint length before it. Bounds are checked before
//! anything is allocated, an empty list and an empty item are no message, and nothing may follow.

use crate::block::{MAX_BLOBS_BYTES, MAX_TRANSACTION_BYTES, read_bounded};
use bytes::Bytes;
use commonware_codec::{Buf, Encode as _, Error, util::max_items_size};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Transactions that wait.
    Transactions,
    /// Evidence blobs of the sender's own.
    Blobs,
}

/// Bounds of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most items.
    pub(super) count: usize,
    /// Most bytes of an item.
    pub(super) each: usize,
    /// Most bytes of all items.
    pub(super) total: usize,
}

impl Topic {
    pub(super) const fn bounds(self) -> Bounds {
        match self {
            Self::Transactions => {
                Bounds { count: 2_048, each: MAX_TRANSACTION_BYTES, total: 512 * 1024 }
            }
            Self::Blobs => Bounds { count: 512, each: MAX_BLOBS_BYTES, total: MAX_BLOBS_BYTES },
        }
    }

    /// Most bytes of a message.
    pub(crate) fn message_bytes(self) -> usize {
        let Bounds { count, total, .. } = self.bounds();
        // A count and each length take at most 5 bytes.
        max_items_size(count, 5) + total
    }

    pub(crate) fn encode(self, items: &Vec<Bytes>) -> Bytes {
        items.encode()
    }

    /// The items of a message.
    ///
    /// # Errors
    /// It is none: no honest peer sends it.
    pub(crate) fn decode(self, mut message: impl Buf) -> Result<Vec<Bytes>, Error> {
        let Bounds { count, each, total } = self.bounds();
        let items = read_bounded(&mut message, (count, each, total))?;
        if message.has_remaining() {
            return Err(Error::ExtraData(message.remaining()));
        }
        if items.is_empty() || items.iter().any(Bytes::is_empty) {
            return Err(Error::Invalid("gossip", "nothing is in it"));
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOPICS: [Topic; 2] = [Topic::Transactions, Topic::Blobs];

    #[test]
    fn messages_are_bounded() {
        for topic in TOPICS {
            let Bounds { count, each, total } = topic.bounds();
            let full = topic.encode(&vec![Bytes::from(vec![7; each]); total / each]);
            assert!(full.len() <= topic.message_bytes());
            assert_eq!(topic.decode(full.clone()).unwrap().len(), total / each);
            assert!(topic.decode(full.slice(..full.len() - 1)).is_err());
            assert!(topic.decode(Bytes::from([&full[..], &[0]].concat())).is_err());
            let list = |items: Vec<Bytes>| topic.decode(topic.encode(&items));
            assert!(list(vec![]).is_err());
            assert!(list(vec![Bytes::new()]).is_err());
            assert!(list(vec![Bytes::from(vec![7; each + 1])]).is_err());
            assert!(list(vec![Bytes::from(vec![7; each]); total / each + 1]).is_err());
            assert_eq!(list(vec![Bytes::from_static(b"x"); count]).unwrap().len(), count);
            assert!(list(vec![Bytes::from_static(b"x"); count + 1]).is_err());
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_good_messages_come_back(
            items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..20),
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
            (at, bit) in (any::<prop::sample::Index>(), 0u8..8),
        ) {
            for topic in TOPICS {
                let items: Vec<Bytes> = items.iter().cloned().map(Bytes::from).collect();
                let good = topic.encode(&items);
                prop_assert_eq!(topic.decode(good.clone()).unwrap(), items);
                // Nothing but the very encoding of what comes out goes in.
                let mut changed = good.to_vec();
                changed[at.index(good.len())] ^= 1 << bit;
                for bytes in [changed, garbage.clone()] {
                    if let Ok(items) = topic.decode(Bytes::from(bytes.clone())) {
                        prop_assert_eq!(topic.encode(&items), Bytes::from(bytes));
                    }
                }
            }
        }
    }
}
