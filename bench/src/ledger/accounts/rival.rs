//! Anvil with as many accounts, from a file of its own form.

use super::{ASK_AGAIN, REST, node::interrupt};
use crate::{
    ledger::{anvil, sender::Connection},
    memory,
    up::{free_port, wait_for_port},
};
use anyhow::Context as _;
use serde_json::json;
use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    process::Stdio,
    time::Instant,
};
use tokio::process::Command;

/// What anvil came to.
pub(super) struct Rival {
    /// From its start to its first balance.
    pub(super) seconds: f64,
    /// Memory at rest, MiB.
    pub(super) resident: f64,
    /// Bytes of the file that it leaves.
    pub(super) bytes: u64,
}

/// Starts it with `count` accounts, asks for one, and has it write its file.
pub(super) async fn measure(tools: &Path, folder: &Path, count: u32) -> anyhow::Result<Rival> {
    let (given, left) = (folder.join("anvil-given.json"), folder.join("anvil-left.json"));
    write(&given, count)?;
    let port = free_port()?;
    let began = Instant::now();
    let mut child = Command::new(anvil::program(tools))
        .args(["--port", &port.to_string(), "--accounts", "1", "--silent", "--load-state"])
        .arg(&given)
        .arg("--dump-state")
        .arg(&left)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("anvil does not start")?;
    wait_for_port(port).await?;
    let mut connection = Connection::open(port).await?;
    let last = account(count.saturating_sub(1));
    loop {
        let balance = connection.ask("eth_getBalance", json!([last, "latest"])).await?;
        if balance == json!("0x1") {
            break;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    tokio::time::sleep(REST).await;
    let resident = memory::resident(child.id().context("anvil ended")?)?;
    drop(connection);
    interrupt(&mut child).await?;
    let bytes = std::fs::metadata(&left)?.len();
    Ok(Rival { seconds, resident, bytes })
}

/// Writes the accounts as anvil's own dumps have them.
fn write(path: &Path, count: u32) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write!(file, r#"{{"block":null,"accounts":{{"#)?;
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        let name = account(number);
        write!(
            file,
            r#"{comma}"{name}":{{"nonce":0,"balance":"0x1","code":"0x","storage":{{}}}}"#
        )?;
    }
    write!(file, r#"}},"best_block_number":null,"blocks":[],"transactions":[]}}"#)?;
    Ok(file.flush()?)
}

/// An account of the file.
fn account(number: u32) -> String {
    format!("0x5{number:039x}")
}
