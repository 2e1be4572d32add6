//! Tokio by hand: what was written for tokio runs in a machine, in the world's time and without chance.
//!
//! The validator's worker, the ledger's client and the methods of JSON-RPC sleep, wait and start tasks by
//! tokio. Each machine has a runtime of tokio's with one thread and a clock that stands still. Every
//! [`TICK`] of the world a task of the machine lets it do all that can be done, its timers included, until
//! its clock has gone on by as much; then it waits for the world again. It ends with the machine.
//!
//! Nothing here may use another thread (`spawn_blocking`): when that ends is chance. What runs here does such
//! work at once: `rpc::Local` and the settler see to it.

use super::machine::Machine;
use commonware_runtime::Clock as _;
use std::{io, time::Duration};
use tokio::runtime::{Builder, Runtime};

/// How often a machine's tokio is let run.
const TICK: Duration = Duration::from_millis(5);

/// A runtime whose clock stands still unless it is driven.
///
/// # Errors
/// The system refuses.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_time().start_paused(true).build()
}

/// Drives a runtime for as long as a machine lives.
pub async fn drive(machine: Machine, runtime: Runtime) {
    while machine.life().alive() {
        runtime.block_on(async { tokio::time::sleep(TICK).await });
        machine.sleep(TICK).await;
    }
}
