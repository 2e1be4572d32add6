//! The families of metrics of this program: what each means, and those that are asked for when
//! somebody looks.

use crate::storefront::Open;
use consensus::Ledger;

/// What a family is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often which size.
    Histogram,
}

use Shape::{Counter, Gauge, Histogram};

/// Every family with its meaning, in the order of docs/using.md.
pub(super) const FAMILIES: [(&str, Shape, &str); 70] = [
    ("wayleave_ledger_height", Gauge, "Height of the last final block."),
    ("wayleave_ledger_peers", Gauge, "Other nodes of the ledger that are connected."),
    ("wayleave_ledger_waiting_transactions", Gauge, "Transactions that wait for a block."),
    ("wayleave_ledger_waiting_blob_bytes", Gauge, "Bytes of evidence that wait for a block."),
    ("wayleave_block_height", Gauge, "Height up to which the validator has followed the ledger."),
    ("wayleave_evidence_total", Counter, "Envelopes that arrived, by the answer given."),
    ("wayleave_evidence_carried_total", Counter, "Envelopes seen in final blocks."),
    ("wayleave_evidence_late_total", Counter, "Envelopes that waited past their epoch's grace."),
    ("wayleave_evidence_waiting_bytes", Gauge, "Bytes of accepted evidence not yet in a block."),
    ("wayleave_archive_blocks", Gauge, "Blocks whose evidence the archive keeps."),
    ("wayleave_archive_bytes", Gauge, "Bytes of that evidence."),
    ("wayleave_batch_faults_total", Counter, "Envelopes at fault found in authors' batches."),
    (
        "wayleave_authors_charged_total",
        Counter,
        "Authors that this validator had charged for faults.",
    ),
    ("wayleave_epochs_settled_total", Counter, "Epochs settled since the program started."),
    ("wayleave_settlement_seconds", Histogram, "Time to replay and settle an epoch."),
    ("wayleave_settlement_failures_total", Counter, "Attempts to settle an epoch that failed."),
    ("wayleave_settlement_dissents_total", Counter, "Epochs whose decided root is not ours."),
    (
        "wayleave_settlement_refused_networks",
        Gauge,
        "Networks with a decided root that is refused.",
    ),
    ("wayleave_settlement_disputes_total", Counter, "Disputed epochs that were replayed again."),
    ("wayleave_settlement_votes_total", Counter, "Votes committed and revealed, by step."),
    ("wayleave_agent_proofs_total", Counter, "Proofs made, by device."),
    ("wayleave_agent_reports_total", Counter, "Reports made, by device."),
    ("wayleave_agent_losses_total", Counter, "Losses declared, by device."),
    ("wayleave_agent_accepted_total", Counter, "Envelopes accepted by a validator, by device."),
    ("wayleave_agent_carried_total", Counter, "Envelopes seen in a block, by device."),
    ("wayleave_agent_resent_total", Counter, "Envelopes sent again, by device."),
    ("wayleave_agent_refused_total", Counter, "Envelopes refused for good, by device."),
    ("wayleave_agent_expired_total", Counter, "Envelopes never accepted in time, by device."),
    ("wayleave_agent_dropped_total", Counter, "Envelopes not made for want of room, by device."),
    ("wayleave_agent_missed_duties_total", Counter, "Duties not met, by device."),
    ("wayleave_agent_outbox", Gauge, "Envelopes on their way, by device."),
    ("wayleave_storage_bytes", Gauge, "Bytes of shards on the disk, by device."),
    ("wayleave_storage_capacity_bytes", Gauge, "Bytes offered, by device."),
    ("wayleave_storage_shards", Gauge, "Shards on the disk, by device."),
    ("wayleave_storage_leaving", Gauge, "Whether the device leaves (1) or not (0), by device."),
    ("wayleave_storage_stored_bytes_total", Counter, "Bytes of shards taken in, by device."),
    ("wayleave_storage_delivered_bytes_total", Counter, "Bytes delivered, by device."),
    ("wayleave_storage_refused_total", Counter, "Requests of services refused, by device."),
    ("wayleave_s3_requests_total", Counter, "Requests, by S3 operation."),
    ("wayleave_s3_bytes_read_total", Counter, "Plain bytes read by customers."),
    ("wayleave_s3_shard_bytes_put_total", Counter, "Bytes of shards sent to agents."),
    ("wayleave_s3_segments_stored_total", Counter, "Segments stored."),
    ("wayleave_s3_reads_hedged_total", Counter, "Reads that asked for parity before all answered."),
    ("wayleave_s3_shards_lost_total", Counter, "Shards that were not where they should be."),
    ("wayleave_s3_shards_repaired_total", Counter, "Queued shards that found a home."),
    ("wayleave_s3_shards_rebuilt_total", Counter, "Shards made anew from k others."),
    ("wayleave_s3_index_dumps_total", Counter, "Times the whole index was given to the agents."),
    ("wayleave_s3_extents_moved_total", Counter, "Small objects packed anew."),
    ("wayleave_s3_commits_total", Counter, "Datasets agreed upon with agents."),
    ("wayleave_s3_datasets_frozen_total", Counter, "Datasets frozen on the ledger."),
    ("wayleave_s3_objects", Gauge, "Objects kept."),
    ("wayleave_s3_object_bytes", Gauge, "Plain bytes of the objects kept."),
    ("wayleave_s3_shard_bytes", Gauge, "Bytes of durable shards."),
    ("wayleave_s3_queued_shards", Gauge, "Shards that wait for a home."),
    ("wayleave_s3_segments_whole", Gauge, "Segments all of whose shards can be read."),
    ("wayleave_s3_segments_degraded", Gauge, "Segments that lack shards."),
    ("wayleave_s3_segments_endangered", Gauge, "Segments that the next loss would end."),
    ("wayleave_s3_segments_lost", Gauge, "Segments with fewer shards than it takes to read them."),
    ("wayleave_s3_worst_segment_days", Gauge, "Expected days until the least healthy one is lost."),
    ("wayleave_s3_leaving_agents", Gauge, "Agents that leave."),
    ("wayleave_s3_leaving_bytes", Gauge, "Bytes of shards that have to move from these."),
    ("wayleave_s3_backup_behind", Gauge, "Changes of the index that no agent has yet."),
    ("wayleave_s3_rails", Gauge, "Open rails."),
    ("wayleave_s3_stale_rails", Gauge, "Rails whose dataset is not frozen as it should be."),
    ("wayleave_s3_promised_dollars", Gauge, "Dollars promised by voucher so far."),
    ("wayleave_transport_requests_total", Counter, "Requests served between machines."),
    ("wayleave_transport_request_bytes_total", Counter, "Bytes of these requests."),
    ("wayleave_transport_requests_refused_total", Counter, "Requests between machines refused."),
    ("wayleave_transport_connections_refused_total", Counter, "Connections refused."),
    ("process_start_time_seconds", Gauge, "When the program started, in seconds since 1970."),
];

/// Tells the recorder what every family means.
pub(super) fn describe() {
    for (name, shape, meaning) in FAMILIES {
        match shape {
            Counter => metrics::describe_counter!(name, meaning),
            Gauge => metrics::describe_gauge!(name, meaning),
            Histogram => metrics::describe_histogram!(name, meaning),
        }
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    metrics::gauge!("process_start_time_seconds").set(now.as_secs_f64());
}

/// Asks the S3 service where it stands.
pub(super) async fn s3(service: &Open) {
    let Some(snapshot) = service.snapshot().await else { return };
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    for (name, value) in [
        ("wayleave_s3_objects", snapshot.objects),
        ("wayleave_s3_object_bytes", snapshot.object_bytes),
        ("wayleave_s3_shard_bytes", snapshot.shard_bytes),
        ("wayleave_s3_queued_shards", snapshot.queued),
        ("wayleave_s3_leaving_agents", wide(snapshot.leaving.0)),
        ("wayleave_s3_leaving_bytes", snapshot.leaving.1),
        ("wayleave_s3_backup_behind", snapshot.backup_behind),
        ("wayleave_s3_rails", wide(snapshot.rails)),
        ("wayleave_s3_stale_rails", wide(snapshot.stale_rails)),
    ] {
        metrics::gauge!(name).set(float(value));
    }
    if let Some(health) = snapshot.health {
        for (name, value) in [
            ("wayleave_s3_segments_whole", health.whole),
            ("wayleave_s3_segments_degraded", health.degraded),
            ("wayleave_s3_segments_endangered", health.endangered),
            ("wayleave_s3_segments_lost", health.lost),
            ("wayleave_s3_worst_segment_days", health.worst.map_or(0, |(_, days)| days / 1_000)),
        ] {
            metrics::gauge!(name).set(float(value));
        }
    }
    metrics::gauge!("wayleave_s3_promised_dollars").set(float(snapshot.promised.0) / 1e6);
}

/// Asks the ledger where it stands.
pub(super) fn ledger(ledger: &Ledger) {
    let (transactions, blob_bytes) = ledger.load();
    metrics::gauge!("wayleave_ledger_height").set(float(ledger.head().height()));
    for (name, value) in [
        ("wayleave_ledger_waiting_transactions", transactions),
        ("wayleave_ledger_waiting_blob_bytes", blob_bytes),
    ] {
        metrics::gauge!(name).set(float(u64::try_from(value).unwrap_or(u64::MAX)));
    }
}

/// Shows what the ledger's engine says of itself.
pub(super) fn engine(glance: super::Glance) {
    metrics::gauge!("wayleave_ledger_peers").set(float(glance.peers));
}

/// A figure as a gauge takes it: exact below 2^53, and nobody reads more digits off a chart.
fn float(value: u64) -> f64 {
    let [high, low] =
        [value >> 32, value & 0xffff_ffff].map(|half| u32::try_from(half).map_or(0.0, f64::from));
    high.mul_add(4_294_967_296.0, low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_tell_their_units_and_stand_in_the_manual() {
        let manual = include_str!("../../../docs/using.md");
        let mut seen = BTreeSet::new();
        for (name, shape, meaning) in FAMILIES {
            assert!(seen.insert(name), "{name} twice");
            assert_eq!(name.ends_with("_total"), matches!(shape, Counter), "{name}");
            assert!(!matches!(shape, Histogram) || name.ends_with("_seconds"), "{name}");
            assert!(meaning.ends_with('.'), "{name}");
            assert!(manual.contains(&format!("`{name}`")), "{name} is not in docs/using.md");
        }
    }

    #[test]
    fn figures_keep_their_size() {
        for value in [0, 1, 4_294_967_296, (1 << 53) - 1] {
            assert_eq!(format!("{}", float(value)), value.to_string());
        }
    }
}
