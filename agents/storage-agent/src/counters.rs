//! What a storage agent did for services, in numbers that only grow.

use crate::store::Usage;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the agent started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    stored: AtomicU64,
    stored_bytes: AtomicU64,
    deliveries: AtomicU64,
    slices: AtomicU64,
    delivered_bytes: AtomicU64,
    refused: AtomicU64,
}

/// What the counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Shards acknowledged.
    pub stored: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Deliveries made.
    pub deliveries: u64,
    /// Of these, as Bao slices.
    pub slices: u64,
    /// Bytes delivered.
    pub delivered_bytes: u64,
    /// Requests refused.
    pub refused: u64,
}

impl Counters {
    pub(crate) fn stored(&self, bytes: u64) {
        self.stored.fetch_add(1, Ordering::Relaxed);
        self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn delivered(&self, bytes: u64, slice: bool) {
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        self.slices.fetch_add(u64::from(slice), Ordering::Relaxed);
        self.delivered_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives the figures to the process's metrics recorder.
    pub(crate) fn publish(&self, usage: Usage, leaving: bool, device: &str) {
        let service = self.read();
        let gauges = [
            ("wayleave_storage_bytes", usage.bytes),
            ("wayleave_storage_capacity_bytes", usage.capacity),
            ("wayleave_storage_shards", usage.shards),
            ("wayleave_storage_leaving", u64::from(leaving)),
        ];
        for (name, value) in gauges {
            metrics::gauge!(name, "device" => device.to_owned()).set(approximate(value));
        }
        let counters = [
            ("wayleave_storage_stored_bytes_total", service.stored_bytes),
            ("wayleave_storage_delivered_bytes_total", service.delivered_bytes),
            ("wayleave_storage_refused_total", service.refused),
        ];
        for (name, value) in counters {
            metrics::counter!(name, "device" => device.to_owned()).absolute(value);
        }
    }

    pub(crate) fn read(&self) -> Service {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Service {
            stored: read(&self.stored),
            stored_bytes: read(&self.stored_bytes),
            deliveries: read(&self.deliveries),
            slices: read(&self.slices),
            delivered_bytes: read(&self.delivered_bytes),
            refused: read(&self.refused),
        }
    }
}

/// A figure as a gauge takes it: exact below 2^53, and nobody reads more digits off a chart.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point, and only shown")]
const fn approximate(value: u64) -> f64 {
    value as f64
}
