//! Segments: the envelopes of a closed epoch as a Parquet file that DuckDB, Spark and others read.
//!
//! | column | type | what |
//! |---|---|---|
//! | `device` | 32 bytes | the device id |
//! | `sequence` | unsigned 64 bit | the device's number for it |
//! | `time_ms` | timestamp (ms, UTC) | the device's clock |
//! | `kind` | unsigned 16 bit | the body's kind |
//! | `height` | unsigned 64 bit | the block that carried it |
//! | `header_time_ms` | timestamp (ms, UTC) | the time of that block |
//! | `body` | bytes | the kind's item, deterministic CBOR |
//! | `envelope` | bytes | the whole envelope with its signature |
//! | `digest` | 32 bytes | BLAKE3 of the envelope |
//!
//! Network and epoch stand in the object's name (Hive partitions). A segment is derived: what counts are
//! the blobs it was made from. The same envelopes always give the same bytes.

use parquet::{
    basic::{Compression, ZstdLevel},
    column::writer::ColumnWriter,
    data_type::{ByteArray, FixedLenByteArray},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};
use protocol::kind::Carried;
use std::{io::Write, sync::Arc};

/// Rows in a row group.
const GROUP_ROWS: usize = 65_536;

const SCHEMA: &str = "message envelope {
    REQUIRED FIXED_LEN_BYTE_ARRAY (32) device;
    REQUIRED INT64 sequence (INTEGER(64,false));
    REQUIRED INT64 time_ms (TIMESTAMP(MILLIS,true));
    REQUIRED INT32 kind (INTEGER(16,false));
    REQUIRED INT64 height (INTEGER(64,false));
    REQUIRED INT64 header_time_ms (TIMESTAMP(MILLIS,true));
    REQUIRED BYTE_ARRAY body;
    REQUIRED BYTE_ARRAY envelope;
    REQUIRED FIXED_LEN_BYTE_ARRAY (32) digest;
}";

/// Why a segment could not be written.
#[derive(Debug, thiserror::Error)]
#[error("segment: {0}")]
pub struct SegmentError(#[from] ParquetError);

/// The Parquet file of `carried`, in the order given.
///
/// # Errors
/// When the library fails, which it does not in memory.
pub fn encode(carried: &[Carried]) -> Result<Vec<u8>, SegmentError> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("wayleave evidence".into())
        .build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    for rows in carried.chunks(GROUP_ROWS) {
        let mut group = writer.next_row_group()?;
        for at in 0.. {
            if !write_column(&mut group, at, rows)? {
                break;
            }
        }
        group.close()?;
    }
    Ok(writer.into_inner()?)
}

/// Writes the column at place `at`; false if there is none.
fn write_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    at: usize,
    rows: &[Carried],
) -> Result<bool, SegmentError> {
    let Some(mut column) = group.next_column()? else { return Ok(false) };
    match column.untyped() {
        ColumnWriter::Int32ColumnWriter(writer) => {
            let kinds: Vec<_> =
                rows.iter().map(|row| i32::from(row.envelope.payload().body.kind.0)).collect();
            writer.write_batch(&kinds, None, None)?;
        }
        ColumnWriter::Int64ColumnWriter(writer) => {
            let numbers: Vec<_> = rows.iter().map(|row| number(at, row).cast_signed()).collect();
            writer.write_batch(&numbers, None, None)?;
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let texts: Vec<_> = rows.iter().map(|row| ByteArray::from(text(at, row))).collect();
            writer.write_batch(&texts, None, None)?;
        }
        ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
            let hashes: Vec<_> = rows.iter().map(|row| hash(at, row)).collect();
            writer.write_batch(&hashes, None, None)?;
        }
        _ => return Err(ParquetError::General("no such column".into()).into()),
    }
    column.close()?;
    Ok(true)
}

fn number(at: usize, row: &Carried) -> u64 {
    match at {
        1 => row.envelope.payload().sequence,
        2 => row.envelope.payload().time_ms,
        4 => row.height.0,
        _ => row.time_ms,
    }
}

fn text(at: usize, row: &Carried) -> Vec<u8> {
    match at {
        6 => row.envelope.payload().body.item.as_bytes().to_vec(),
        _ => row.envelope.bytes().to_vec(),
    }
}

fn hash(at: usize, row: &Carried) -> FixedLenByteArray {
    match at {
        0 => row.envelope.device().as_bytes().to_vec().into(),
        _ => row.digest.as_bytes().to_vec().into(),
    }
}

#[cfg(test)]
mod tests;
