//! Time of the processor, as Linux counts it: unlike a rate, it depends little on what else runs.

use anyhow::Context as _;
use std::fs;

/// Ticks of `/proc` in a second; the same on every machine (`USER_HZ`).
const TICKS: f64 = 100.0;
/// How the client's threads are named.
const CLIENT: [&str; 2] = ["bench", "client"];

/// Seconds that a process has computed, its ended threads included.
pub(super) fn process(id: u32) -> anyhow::Result<f64> {
    let (_, seconds) = read(&format!("/proc/{id}/stat"))?;
    Ok(seconds)
}

/// Seconds that this process has computed, but for the client's threads.
pub(super) fn servers() -> anyhow::Result<f64> {
    let (_, mut seconds) = read("/proc/self/stat")?;
    for thread in fs::read_dir("/proc/self/task")? {
        let path = thread?.path().join("stat");
        // A thread may end while its neighbours are read.
        let Ok((name, time)) = read(&path.to_string_lossy()) else { continue };
        if CLIENT.contains(&name.as_str()) {
            seconds -= time;
        }
    }
    Ok(seconds)
}

/// Name and seconds of a process or a thread (`proc_pid_stat(5)`: fields 2, 14 and 15).
fn read(path: &str) -> anyhow::Result<(String, f64)> {
    let text = fs::read_to_string(path)?;
    let (name, rest) = text.rsplit_once(')').context("a process has a name")?;
    let name = name.split_once('(').map_or("", |(_, name)| name);
    let ticks: f64 = rest.split_whitespace().skip(11).take(2).flat_map(str::parse::<f64>).sum();
    Ok((name.to_owned(), ticks / TICKS))
}
