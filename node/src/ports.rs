//! Listening, with an error that says what to do: who holds a busy port, and the option for another.

use anyhow::bail;
use std::{io::ErrorKind, net::SocketAddr};
use tokio::net::TcpListener;

/// Listens at `address`, which `option` of the command line chose.
pub(crate) async fn open(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "{address} is in use by {}: stop it, or choose another with {option} {}:PORT",
            holder(address.port()).unwrap_or_else(|| "another program".into()),
            address.ip()
        ),
        Err(error) => bail!("{address} cannot be opened ({error}): choose another with {option}"),
    }
}

/// Opens and closes a port whose server opens it itself later.
pub(crate) async fn probe(address: SocketAddr, option: &str) -> anyhow::Result<SocketAddr> {
    Ok(open(address, option).await?.local_addr()?)
}

/// The program that listens on a TCP port of this machine, if the system tells.
#[cfg(target_os = "linux")]
pub(crate) fn holder(port: u16) -> Option<String> {
    use std::fs;
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let sockets: Vec<String> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines())
        .filter_map(|line| listening(line, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    // Programs of other users do not show their files; nor do those that end meanwhile.
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let id = process.file_name();
        // Beside its numbers the folder holds a name for whoever asks.
        let Some(id) = id.to_str().filter(|id| id.parse::<u32>().is_ok()) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let held = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        if held.into_iter().any(|to| to.to_str().is_some_and(|to| sockets.iter().any(|s| s == to)))
        {
            let name = fs::read_to_string(process.path().join("comm")).ok()?;
            return Some(format!("{} (process {id})", name.trim()));
        }
    }
    None
}

/// The inode of the socket that a line of the system's table shows listening on `port`.
#[cfg(target_os = "linux")]
fn listening(line: &str, port: u16) -> Option<&str> {
    /// The state of a listening socket.
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (_, local) = fields.nth(1)?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    (state == LISTEN && u16::from_str_radix(local, 16) == Ok(port)).then_some(inode)
}

/// The program that listens on a TCP port of this machine, if the system tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn holder(_: u16) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_port_is_named_with_its_holder_and_the_option_that_mends_it() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let held = open(any, "--s3").await.unwrap();
        let address = held.local_addr().unwrap();
        let error = open(address, "--s3").await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains("--s3 127.0.0.1:PORT"), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        }
    }
}
