//! `wayleave doctor`: what this machine lacks for a network, each finding with cause and mend.

use crate::{cli::Doctor, devnet::running::Running, exit::Failure, home::Home, out, ports, units};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Free space that `up` and `tour` need, in bytes.
const FREE_MIN: u64 = 2 << 30;
/// A clock before this time (July 2026) is surely wrong.
const CLOCK_MIN: Duration = Duration::from_secs(1_782_864_000);

/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at.
    check: String,
    /// Whether it is fine.
    ok: bool,
    /// What was seen.
    seen: String,
    /// The command or step that mends it, if it is not fine.
    mend: Option<String>,
}

impl Finding {
    fn good(check: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { check: check.into(), ok: true, seen: seen.into(), mend: None }
    }

    fn bad(check: impl Into<String>, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check: check.into(), ok: false, seen: seen.into(), mend: Some(mend.into()) }
    }
}

/// Looks at ports, clock, disk and permissions.
pub(crate) fn run(root: &Path, doctor: &Doctor, json: bool) -> anyhow::Result<()> {
    let home = Home::devnet(root);
    let mut findings = vec![clock(), permissions(&home)];
    findings.push(disk(&home));
    let own = Running::ports(&home);
    findings.extend(doctor.ports.iter().map(|&number| port(number, &own)));
    if json {
        out::json(&findings)?;
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok  " } else { "FAIL" };
            out::line(format!("{mark}  {}: {}", finding.check, finding.seen));
            if let Some(mend) = &finding.mend {
                out::line(format!("      mend: {mend}"));
            }
        }
    }
    match findings.iter().filter(|finding| !finding.ok).count() {
        0 => Ok(()),
        failed => {
            Err(Failure::Check(format!("{failed} of {} checks failed", findings.len())).into())
        }
    }
}

fn clock() -> Finding {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(now) if now >= CLOCK_MIN => {
            Finding::good("clock", httpdate::fmt_http_date(UNIX_EPOCH + now))
        }
        _ => Finding::bad(
            "clock",
            "the system clock is years behind, so evidence would be refused as clock_skew",
            "sudo timedatectl set-ntp true",
        ),
    }
}

fn permissions(home: &Home) -> Finding {
    let path = home.path().display();
    let attempt = home.create().and_then(|()| {
        let probe = home.path().join(".doctor");
        let mut file = File::create(&probe)?;
        file.write_all(b"probe")?;
        file.sync_all()?;
        fs::remove_file(&probe)
    });
    match attempt {
        Ok(()) => Finding::good("home folder", format!("{path} is writable")),
        Err(error) => Finding::bad(
            "home folder",
            format!("{path} cannot be written: {error}"),
            writable(&error, &path.to_string()),
        ),
    }
}

/// What makes a folder writable that is not, by the failure.
fn writable(error: &io::Error, path: &str) -> String {
    let mend = match error.kind() {
        ErrorKind::ReadOnlyFilesystem => "remount its file system for writing".to_owned(),
        ErrorKind::StorageFull => "free some space".to_owned(),
        _ => format!("sudo chown -R \"$USER\" '{path}'"),
    };
    format!("{mend}, or choose another with --home FOLDER")
}

fn disk(home: &Home) -> Finding {
    match storage_agent::disk::free_bytes(home.path()) {
        Ok(free) if free >= FREE_MIN => {
            Finding::good("disk", format!("{} free", units::bytes(free)))
        }
        Ok(free) => Finding::bad(
            "disk",
            format!("{} free, {} needed", units::bytes(free), units::bytes(FREE_MIN)),
            "free some space, or put the home folder on a larger disk: --home FOLDER",
        ),
        Err(error) => Finding::bad(
            "disk",
            format!("cannot be asked: {error}"),
            "check that the folder exists",
        ),
    }
}

fn port(number: u16, own: &[u16]) -> Finding {
    let check = format!("port {number}");
    match TcpListener::bind((Ipv4Addr::LOCALHOST, number)) {
        Ok(_) => Finding::good(check, "free"),
        Err(error) if error.kind() == ErrorKind::AddrInUse && own.contains(&number) => {
            Finding::good(check, "in use by this home's `wayleave up`")
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::bad(
            check,
            match ports::holder(number) {
                Some(holder) => format!("in use by {holder}"),
                None => "in use by another program".into(),
            },
            format!(
                "stop it (who: ss -ltnp 'sport = :{number}'), or choose another port, see `wayleave up --help`"
            ),
        ),
        Err(error) => Finding::bad(
            check,
            format!("cannot be opened: {error}"),
            "choose a port above 1023, see `wayleave up --help`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_mended_by_what_is_wrong_with_it() {
        let mend = |kind: ErrorKind| writable(&kind.into(), "/a");
        assert!(mend(ErrorKind::PermissionDenied).starts_with("sudo chown"));
        assert!(mend(ErrorKind::ReadOnlyFilesystem).starts_with("remount"));
        assert!(mend(ErrorKind::StorageFull).starts_with("free"));
    }
}
