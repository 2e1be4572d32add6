use super::*;
use crate::{BlockEvidence, fixture::*, replay};
use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, RowAccessor as _},
};
use protocol::{Digest, Height};

fn carried() -> Vec<Carried> {
    let blob = blob(vec![envelope(1, 1, 5), envelope(2, u64::MAX, 6), sized(1, 2, 700, KIND)]);
    replay(&inputs(), &sizes(), &[BlockEvidence::new(Height(301), TIME + 7, [blob])]).carried
}

#[test]
fn every_column_is_read_back() {
    let carried = carried();
    let bytes = encode(&carried).unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    for (row, carried) in rows.iter().zip(&carried) {
        let payload = carried.envelope.payload();
        assert_eq!(row.get_bytes(0).unwrap().data(), carried.envelope.device().as_bytes());
        assert_eq!(row.get_ulong(1).unwrap(), payload.sequence);
        assert_eq!(row.get_timestamp_millis(2).unwrap(), i64::try_from(TIME).unwrap());
        assert_eq!(row.get_ushort(3).unwrap(), payload.body.kind.0);
        assert_eq!(row.get_ulong(4).unwrap(), 301);
        assert_eq!(row.get_timestamp_millis(5).unwrap(), i64::try_from(TIME + 7).unwrap());
        assert_eq!(row.get_bytes(6).unwrap().data(), payload.body.item.as_bytes());
        assert_eq!(row.get_bytes(7).unwrap().data(), carried.envelope.bytes());
        assert_eq!(Digest::of(row.get_bytes(7).unwrap().data()), carried.digest);
        assert_eq!(row.get_bytes(8).unwrap().data(), carried.digest.as_bytes());
    }
    let names: Vec<_> = rows[0].get_column_iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "device",
            "sequence",
            "time_ms",
            "kind",
            "height",
            "header_time_ms",
            "body",
            "envelope",
            "digest"
        ]
    );
    assert!(matches!(rows[0].get_column_iter().next().unwrap().1, Field::Bytes(_)));
}

#[test]
fn an_epoch_without_evidence_is_a_file_without_rows() {
    let bytes = encode(&[]).unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    assert_eq!(reader.get_row_iter(None).unwrap().count(), 0);
}

#[test]
fn the_same_envelopes_give_the_same_bytes() {
    assert_eq!(encode(&carried()).unwrap(), encode(&carried()).unwrap());
}
