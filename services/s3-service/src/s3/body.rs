//! A request's body with its length and what it should be.

use crate::{
    checksum::{self, Algorithm, Digests, Expected, Given},
    s3::PUT_BYTES_MAX,
    store::Incoming,
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use hyper::HeaderMap;
use s3s::{
    S3Result, StdError, TrailingHeaders,
    dto::{ETag, StreamingBlob},
    s3_error,
    stream::ByteStream as _,
};
use std::pin::Pin;

/// A stream of a body; never fails to be one, as a missing body is an empty one.
pub(super) type Stuff = Pin<Box<dyn Stream<Item = Result<Bytes, StdError>> + Send>>;

/// The checksum of a trailer, once the body is read.
pub(super) type Trailer = Box<dyn FnOnce() -> Option<Vec<u8>> + Send>;

/// What a request says of its body.
pub(super) struct Said<'a> {
    pub(super) length: Option<i64>,
    pub(super) md5: Option<&'a str>,
    /// The checksums that headers give.
    pub(super) checksums: [Option<&'a str>; 5],
    pub(super) headers: &'a HeaderMap,
    pub(super) trailers: Option<TrailingHeaders>,
    /// An algorithm that is wanted even if the client gives no checksum.
    pub(super) wanted: Option<Algorithm>,
}

/// The body of a request.
///
/// # Errors
/// `MissingContentLength`, `EntityTooLarge`, `InvalidDigest`, `InvalidRequest`.
pub(super) fn incoming(
    body: Option<StreamingBlob>,
    said: Said<'_>,
) -> S3Result<Incoming<Stuff, Trailer>> {
    let hint = body.as_ref().map_or(Some(0), |body| body.remaining_length().exact());
    let length = match (said.length, hint) {
        (Some(length), _) => u64::try_from(length).map_err(|_| s3_error!(InvalidArgument))?,
        (None, Some(length)) => crate::num::wide(length),
        (None, None) => return Err(s3_error!(MissingContentLength)),
    };
    if length > PUT_BYTES_MAX {
        return Err(s3_error!(EntityTooLarge, "one request stores at most {PUT_BYTES_MAX} bytes"));
    }
    let md5 = said.md5.map(|text| {
        checksum::decode(text)
            .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
            .ok_or_else(|| s3_error!(InvalidDigest, "Content-MD5 is not the base 64 of 16 bytes"))
    });
    let checksum = expected(&said)?;
    let trailer: Trailer = match (&checksum, said.trailers) {
        (Some((algorithm, Given::Trailer)), Some(trailers)) => {
            let header = algorithm.header();
            Box::new(move || {
                trailers
                    .read(|headers| {
                        headers
                            .get(header)
                            .and_then(|value| value.to_str().ok().and_then(checksum::decode))
                    })
                    .flatten()
            })
        }
        _ => Box::new(|| None),
    };
    let body: Stuff = match body {
        Some(body) => Box::pin(body),
        None => futures::stream::empty().boxed(),
    };
    let expected = Expected { md5: md5.transpose()?, checksum };
    Ok(Incoming { bytes: length, body, expected, trailer })
}

fn expected(said: &Said<'_>) -> S3Result<Option<(Algorithm, Given)>> {
    let mut given =
        Algorithm::ALL.into_iter().zip(said.checksums).filter_map(|(algorithm, text)| {
            let text = text?;
            Some((algorithm, text))
        });
    let first = given.next();
    if given.next().is_some() {
        return Err(s3_error!(InvalidRequest, "expecting a single x-amz-checksum- header"));
    }
    if let Some((algorithm, text)) = first {
        let value =
            checksum::decode(text).filter(|value| value.len() == algorithm.length()).ok_or_else(
                || s3_error!(InvalidRequest, "value for {} header is invalid", algorithm.header()),
            )?;
        return Ok(Some((algorithm, Given::Value(value))));
    }
    let trailer = said.headers.get("x-amz-trailer").and_then(|value| value.to_str().ok());
    let named = trailer
        .into_iter()
        .flat_map(|names| names.split(','))
        .find_map(|name| Algorithm::from_header(name.trim()));
    Ok(match named {
        Some(algorithm) => Some((algorithm, Given::Trailer)),
        None => said.wanted.map(|algorithm| (algorithm, Given::Nowhere)),
    })
}

/// Checksums as five fields of S3's outputs, in the order of [`Algorithm::ALL`].
pub(super) fn fields(algorithm: Algorithm, text: &str) -> [Option<String>; 5] {
    Algorithm::ALL.map(|other| (other == algorithm).then(|| text.to_owned()))
}

/// The same, of digests.
pub(super) fn sums(digests: &Digests) -> [Option<String>; 5] {
    digests.checksum.as_ref().map_or_else(Default::default, |(algorithm, value)| {
        fields(*algorithm, &checksum::encode(value))
    })
}

/// The etag of digests.
pub(super) fn etag(digests: &Digests) -> ETag {
    ETag::Strong(alloy_primitives::hex::encode(digests.md5))
}
