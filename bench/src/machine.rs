//! What machine the figures are from.

use std::{fs, thread::available_parallelism};

/// Cores, processor, memory, kernel, and what else runs, as Linux tells them.
pub(crate) fn describe() -> String {
    let cores = available_parallelism().map_or(0, std::num::NonZero::get);
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores ({}), {} of memory, Linux {}, release build without LTO. Load average of the minute \
         before the run: {load}; above a few tenths, other work on the machine disturbed the figures",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        kernel.trim()
    )
}
