//! Our errors as S3's: a code that clients know and a message that people understand.

use crate::{
    index::IndexError,
    store::{BodyError, ReadError, StoreError},
};
use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode};

fn error(code: S3ErrorCode, message: &dyn std::fmt::Display) -> S3Error {
    S3Error::with_message(code, message.to_string())
}

/// An error of a code that S3s does not know.
pub(super) fn custom(code: &'static str, status: StatusCode, message: &str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message.to_owned());
    error.set_status_code(status);
    error
}

impl From<IndexError> for S3Error {
    fn from(from: IndexError) -> Self {
        let code = match &from {
            IndexError::BucketExists(_) => S3ErrorCode::BucketAlreadyOwnedByYou,
            IndexError::NoSuchBucket(_) => S3ErrorCode::NoSuchBucket,
            IndexError::BucketNotEmpty(_) => S3ErrorCode::BucketNotEmpty,
            IndexError::NoSuchKey(_) => S3ErrorCode::NoSuchKey,
            IndexError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            IndexError::InvalidPart(_) => S3ErrorCode::InvalidPart,
            IndexError::PartOrder => S3ErrorCode::InvalidPartOrder,
            IndexError::PartTooSmall(_) => S3ErrorCode::EntityTooSmall,
            IndexError::Condition => S3ErrorCode::PreconditionFailed,
            IndexError::Store(source) if is_full(source) => {
                let message = "the service's disk is full: nothing was stored";
                return error(S3ErrorCode::ServiceUnavailable, &message);
            }
            IndexError::Closed => S3ErrorCode::ServiceUnavailable,
            IndexError::Store(source) if matches!(**source, redb::Error::PreviousIo) => {
                S3ErrorCode::ServiceUnavailable
            }
            IndexError::Version(_)
            | IndexError::Format(_)
            | IndexError::Keys
            | IndexError::Damaged(_)
            | IndexError::Broken { .. }
            | IndexError::Store(_) => {
                tracing::error!(error = %from, "index failed");
                S3ErrorCode::InternalError
            }
        };
        error(code, &from)
    }
}

fn is_full(source: &redb::Error) -> bool {
    matches!(source, redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull)
}

impl From<StoreError> for S3Error {
    fn from(from: StoreError) -> Self {
        match from {
            StoreError::Index(from) => from.into(),
            StoreError::Body(from) => from.into(),
            StoreError::Source(from) => (*from).into(),
            StoreError::Agents(_) | StoreError::Durable { .. } => {
                tracing::warn!(error = %from, "nothing could be stored");
                error(S3ErrorCode::ServiceUnavailable, &from)
            }
            StoreError::Stopping => error(S3ErrorCode::ServiceUnavailable, &from),
            StoreError::Codec(_) | StoreError::Random => {
                tracing::error!(error = %from, "store failed");
                error(S3ErrorCode::InternalError, &from)
            }
        }
    }
}

impl From<BodyError> for S3Error {
    fn from(from: BodyError) -> Self {
        let code = match &from {
            BodyError::Md5 | BodyError::Checksum(_) => S3ErrorCode::BadDigest,
            BodyError::NoChecksum(_) => S3ErrorCode::InvalidRequest,
            BodyError::Slow { .. } => S3ErrorCode::RequestTimeout,
            // The readers of signed bodies keep their error types to themselves.
            BodyError::Broken(what) if what.contains("Sha256Mismatch") => {
                let message = "the x-amz-content-sha256 given does not match what came";
                return custom("XAmzContentSHA256Mismatch", StatusCode::BAD_REQUEST, message);
            }
            BodyError::Broken(what) if what.contains("SignatureMismatch") => {
                S3ErrorCode::SignatureDoesNotMatch
            }
            BodyError::Length { .. } | BodyError::Broken(_) => S3ErrorCode::IncompleteBody,
        };
        error(code, &from)
    }
}

impl From<ReadError> for S3Error {
    fn from(from: ReadError) -> Self {
        match from {
            ReadError::Index(from) => from.into(),
            ReadError::Lost { .. } | ReadError::Stopping => {
                tracing::warn!(error = %from, "nothing could be read");
                error(S3ErrorCode::ServiceUnavailable, &from)
            }
            ReadError::Codec(_) => {
                tracing::error!(error = %from, "read failed");
                error(S3ErrorCode::InternalError, &from)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::SegmentId;

    #[test]
    fn a_source_that_cannot_be_read_now_is_not_the_clients_fault() {
        let lost = ReadError::Lost { segment: SegmentId([0; 16]), cause: "nobody answers".into() };
        let copied = S3Error::from(StoreError::from(lost));
        assert_eq!(*copied.code(), S3ErrorCode::ServiceUnavailable);
        let broken: s3s::StdError = "the connection broke".into();
        assert_eq!(*S3Error::from(StoreError::from(broken)).code(), S3ErrorCode::IncompleteBody);
    }
}
