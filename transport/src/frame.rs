//! The bytes of a request and of a response.
//!
//! ```text
//! request  = length(header) length(body) header body
//! response = 0 length(header) length(body) header body        answered
//!          | 1 length(text) length(code) text code            refused, `code` = 2 bytes
//! length   = 4 bytes, big-endian
//! ```
//! Both lengths come first, so that a request is refused, or waits for room, before any of it is read; each
//! is checked against its limit before anything is reserved for it.

use bytes::{BufMut, Bytes, BytesMut};
use iroh::endpoint::{
    ReadError as StreamError, ReadExactError, RecvStream, SendStream, WriteError,
};

/// First byte of a response that carries an answer.
pub(crate) const ANSWERED: u8 = 0;
/// First byte of a response that carries a refusal.
pub(crate) const REFUSED: u8 = 1;

/// Why a frame could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The announced length is over the limit.
    #[error("frame of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// What was announced, bytes.
        bytes: usize,
        /// What is allowed, bytes.
        limit: usize,
    },
    /// The stream ended inside the frame.
    #[error("stream ended inside a frame")]
    Truncated,
    /// The connection or stream was lost.
    #[error("stream lost: {0}")]
    Lost(String),
}

impl From<ReadExactError> for ReadError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Truncated,
            ReadExactError::ReadError(StreamError::ConnectionLost(cause)) => {
                Self::Lost(cause.to_string())
            }
            ReadExactError::ReadError(error) => Self::Lost(error.to_string()),
        }
    }
}

/// Lays out everything that precedes the body.
pub(crate) fn head(status: Option<u8>, header: &[u8], body_bytes: usize) -> Bytes {
    let mut head = BytesMut::with_capacity(9 + header.len());
    if let Some(status) = status {
        head.put_u8(status);
    }
    head.put_slice(&length(header.len()));
    head.put_slice(&length(body_bytes));
    head.put_slice(header);
    head.freeze()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("frames are bounded far below 4 GiB before they are sent")
        .to_be_bytes()
}

/// Writes `head` and `body` and ends the stream.
pub(crate) async fn write(
    stream: &mut SendStream,
    head: Bytes,
    body: Bytes,
) -> Result<(), WriteError> {
    let mut chunks = [head, body];
    let used = if chunks[1].is_empty() { 1 } else { 2 };
    stream.write_all_chunks(&mut chunks[..used]).await?;
    stream.finish().map_err(WriteError::from)
}

/// Reads one byte.
pub(crate) async fn read_status(stream: &mut RecvStream) -> Result<u8, ReadError> {
    let mut byte = [0u8; 1];
    stream.read_exact(&mut byte).await?;
    Ok(byte[0])
}

/// Reads a length and checks it against `limit`.
pub(crate) async fn read_length(stream: &mut RecvStream, limit: usize) -> Result<usize, ReadError> {
    let mut length = [0u8; 4];
    stream.read_exact(&mut length).await?;
    let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if bytes > limit {
        return Err(ReadError::TooLong { bytes, limit });
    }
    Ok(bytes)
}

/// Reads exactly `bytes` bytes; the caller has checked them against a limit.
pub(crate) async fn read_exactly(
    stream: &mut RecvStream,
    bytes: usize,
) -> Result<Vec<u8>, ReadError> {
    let mut frame = vec![0; bytes];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

/// Reads exactly `bytes` bytes to the end of `frame`.
pub(crate) async fn append(
    stream: &mut RecvStream,
    frame: &mut Vec<u8>,
    bytes: usize,
) -> Result<(), ReadError> {
    let start = frame.len();
    frame.resize(start + bytes, 0);
    stream.read_exact(&mut frame[start..]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_lays_out_status_header_and_body_length() {
        assert_eq!(&head(None, b"ab", 3)[..], &[0, 0, 0, 2, 0, 0, 0, 3, b'a', b'b']);
        assert_eq!(&head(Some(ANSWERED), b"", 258)[..], &[0, 0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
