//! What nodes ask of one another in order to join and to follow.
//!
//! Every message is a number, a tag and its fields, with bounds on all of them: the longest is
//! [`LINKS`] links of the largest committees, far below the limit that blocks set for the network.
//! An answer bears the number of its question, so that one that comes late is not taken for that of the
//! next. Nothing in an answer is believed for being said: [`super::chain`] checks it.

use crate::{
    committee::{MAX_COMMITTEE, Validator},
    header::{Header, REVEAL_BYTES},
    seed::KEY_BYTES,
};
use alloy_primitives::{Address, B256, FixedBytes};
use commonware_codec::{
    Buf, EncodeSize, Error, FixedSize, RangeCfg, Read, ReadExt as _, ReadRangeExt as _, Write,
};
use commonware_consensus::simplex::{scheme::ed25519::Scheme, types::Finalization};
use commonware_cryptography::sha256;
use commonware_runtime::BufMut;

/// Most links in one answer.
pub(super) const LINKS: usize = 16;

/// A certificate that makes a block final.
pub(crate) type Certificate = Finalization<Scheme, sha256::Digest>;

/// A final block's header with its certificate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tip {
    pub(crate) header: Header,
    pub(crate) certificate: Certificate,
}

/// How a term ended: its last block, and the committee of the next term if that is another one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) last: Tip,
    pub(crate) seats: Vec<Validator>,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    /// The last height it recorded: no more than its word.
    pub(crate) height: u64,
    /// Whether it can give the block that was asked for.
    pub(crate) has: bool,
    /// The highest block whose certificate it holds.
    pub(crate) tip: Option<Tip>,
}

/// A question or an answer, and which.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// Whoever asks counts its questions; an answer bears the number of its question.
    pub(crate) number: u64,
    pub(crate) body: Body,
}

/// What is asked or answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// Where do you stand, and can you give the block at this height?
    AskStatus(u64),
    /// How did this term and those after it end?
    AskLinks(u64),
    /// What is the header at this height, and who certifies the height after it?
    AskHeader(u64),
    Status(Box<Status>),
    /// Links of consecutive terms.
    Links(Vec<Link>),
    Header(Box<(Header, Vec<Validator>)>),
}

impl Write for Tip {
    fn write(&self, buf: &mut impl BufMut) {
        self.header.write(buf);
        self.certificate.write(buf);
    }
}

impl EncodeSize for Tip {
    fn encode_size(&self) -> usize {
        Header::SIZE + self.certificate.encode_size()
    }
}

impl Read for Tip {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        let header = Header::read(buf)?;
        Ok(Self { header, certificate: Certificate::read_cfg(buf, &MAX_COMMITTEE)? })
    }
}

impl Write for Link {
    fn write(&self, buf: &mut impl BufMut) {
        self.last.write(buf);
        write_seats(&self.seats, buf);
    }
}

impl EncodeSize for Link {
    fn encode_size(&self) -> usize {
        self.last.encode_size() + seats_size(&self.seats)
    }
}

impl Read for Link {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        Ok(Self { last: Tip::read(buf)?, seats: read_seats(buf)? })
    }
}

impl Write for Status {
    fn write(&self, buf: &mut impl BufMut) {
        self.height.write(buf);
        self.has.write(buf);
        self.tip.write(buf);
    }
}

impl EncodeSize for Status {
    fn encode_size(&self) -> usize {
        self.height.encode_size() + self.has.encode_size() + self.tip.encode_size()
    }
}

impl Read for Status {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        Ok(Self { height: u64::read(buf)?, has: bool::read(buf)?, tip: Option::read(buf)? })
    }
}

impl Write for Body {
    fn write(&self, buf: &mut impl BufMut) {
        match self {
            Self::AskStatus(height) => (0u8, *height).write(buf),
            Self::AskLinks(term) => (1u8, *term).write(buf),
            Self::AskHeader(height) => (2u8, *height).write(buf),
            Self::Status(status) => {
                3u8.write(buf);
                status.write(buf);
            }
            Self::Links(links) => {
                4u8.write(buf);
                links.write(buf);
            }
            Self::Header(answer) => {
                5u8.write(buf);
                answer.0.write(buf);
                write_seats(&answer.1, buf);
            }
        }
    }
}

impl EncodeSize for Body {
    fn encode_size(&self) -> usize {
        1 + match self {
            Self::AskStatus(number) | Self::AskLinks(number) | Self::AskHeader(number) => {
                number.encode_size()
            }
            Self::Status(status) => status.encode_size(),
            Self::Links(links) => links.encode_size(),
            Self::Header(answer) => Header::SIZE + seats_size(&answer.1),
        }
    }
}

impl Read for Body {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        match u8::read(buf)? {
            0 => Ok(Self::AskStatus(u64::read(buf)?)),
            1 => Ok(Self::AskLinks(u64::read(buf)?)),
            2 => Ok(Self::AskHeader(u64::read(buf)?)),
            3 => Ok(Self::Status(Box::new(Status::read(buf)?))),
            4 => Ok(Self::Links(Vec::read_range(buf, 0..=LINKS)?)),
            5 => Ok(Self::Header(Box::new((Header::read(buf)?, read_seats(buf)?)))),
            tag => Err(Error::InvalidEnum(tag)),
        }
    }
}

impl Write for Message {
    fn write(&self, buf: &mut impl BufMut) {
        self.number.write(buf);
        self.body.write(buf);
    }
}

impl EncodeSize for Message {
    fn encode_size(&self) -> usize {
        self.number.encode_size() + self.body.encode_size()
    }
}

impl Read for Message {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        Ok(Self { number: u64::read(buf)?, body: Body::read(buf)? })
    }
}

/// Bytes of an encoded seat: its keys, the proof of possession and the account.
const SEAT_BYTES: usize = 32 + KEY_BYTES + REVEAL_BYTES + 20;

fn write_seats(seats: &[Validator], buf: &mut impl BufMut) {
    seats.len().write(buf);
    for seat in seats {
        seat.key.0.write(buf);
        seat.seed_key.0.write(buf);
        seat.possession.0.write(buf);
        seat.account.0.0.write(buf);
    }
}

fn seats_size(seats: &[Validator]) -> usize {
    seats.len().encode_size() + seats.len() * SEAT_BYTES
}

fn read_seats(buf: &mut impl Buf) -> Result<Vec<Validator>, Error> {
    let count = usize::read_cfg(buf, &RangeCfg::from(0..=MAX_COMMITTEE))?;
    (0..count)
        .map(|_| {
            Ok(Validator {
                key: B256::from(<[u8; 32]>::read(buf)?),
                seed_key: FixedBytes(<[u8; KEY_BYTES]>::read(buf)?),
                possession: FixedBytes(<[u8; REVEAL_BYTES]>::read(buf)?),
                account: Address::from(<[u8; 20]>::read(buf)?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{certified, keys};
    use commonware_codec::{Copying, DecodeExt as _, Encode as _};
    use proptest::prelude::*;

    fn tip(header: Header) -> Tip {
        certified(b"test", &[1, 2], header)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(header in crate::header::tests::header(), number: u64) {
            let seats = vec![keys(1).validator(Address::repeat_byte(1)), keys(2).validator(Address::ZERO)];
            let link = Link { last: tip(header.clone()), seats: seats.clone() };
            let bare = Link { last: tip(header.clone()), seats: Vec::new() };
            let status = Status { height: number, has: true, tip: Some(tip(header.clone())) };
            for body in [
                Body::AskStatus(number),
                Body::AskLinks(number),
                Body::AskHeader(number),
                Body::Status(Box::new(status.clone())),
                Body::Status(Box::new(Status { tip: None, ..status })),
                Body::Links(vec![link, bare]),
                Body::Header(Box::new((header.clone(), seats))),
            ] {
                let message = Message { number: number.rotate_left(9), body };
                let bytes = message.encode();
                prop_assert_eq!(bytes.len(), message.encode_size());
                prop_assert_eq!(Message::decode(bytes).unwrap(), message);
            }
        }

        #[test]
        fn garbage_never_panics(tag in 0u8..8, bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
            let bytes = [&[0; 8][..], &[tag], &bytes[..]].concat();
            drop(Message::decode(Copying(&bytes[..])));
        }
    }

    #[test]
    fn too_many_links_or_seats_are_refused() {
        for body in [vec![4, 17], [&[5][..], &[0; Header::SIZE][..]].concat()] {
            let bytes = [&[0; 8][..], &body[..]].concat();
            assert!(Message::decode(Copying(&bytes[..])).is_err());
        }
    }
}
