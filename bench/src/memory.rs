//! Memory of a process, as Linux counts it.

use anyhow::Context as _;
use std::fs;

/// What a process has in memory now, MiB.
pub(crate) fn resident(process: u32) -> anyhow::Result<f64> {
    read(process, "VmRSS:")
}

/// The most that it has had in memory so far, MiB.
pub(crate) fn peak(process: u32) -> anyhow::Result<f64> {
    read(process, "VmHWM:")
}

/// A line of `proc_pid_status(5)`, which counts in KiB.
fn read(process: u32, name: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|text| text.trim().strip_suffix("kB"))
        .context("the kernel tells no memory")?
        .trim()
        .parse()?;
    Ok(kib / 1024.0)
}
