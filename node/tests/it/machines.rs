//! Machines for nodes of a ledger: each a network namespace of its own where the system allows it, else all
//! on loopback; and the processes of the built program that run on them.

use crate::{ports::free_ports, program::PROGRAM};
use std::{
    io::{BufRead as _, BufReader, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

/// How long something may take before a test gives up. Not a measure: on a quiet machine all of it takes
/// seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// The passphrase of every keystore.
pub(crate) const PASSPHRASE: &str = "correct horse";
/// How many lines of a process a failed test shows.
const SHOWN: usize = 60;

/// Where a process runs.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Its ports: other nodes, JSON-RPC, HTTP.
    ports: [u16; 3],
    /// Its namespace, and the end of its cable.
    space: Option<(String, String)>,
}

impl Machine {
    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, port)
    }

    /// Where other nodes dial it.
    pub(crate) fn endpoint(&self) -> SocketAddr {
        self.at(self.ports[0])
    }

    /// Where its JSON-RPC listens.
    pub(crate) fn rpc(&self) -> SocketAddr {
        self.at(self.ports[1])
    }

    /// Where its HTTP listens.
    pub(crate) fn http(&self) -> SocketAddr {
        self.at(self.ports[2])
    }

    /// A command of the program on this machine.
    pub(crate) fn command(&self) -> Command {
        let mut command = match &self.space {
            Some((name, _)) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, PROGRAM]);
                command
            }
            None => Command::new(PROGRAM),
        };
        command.env("WAYLEAVE_PASSPHRASE", PASSPHRASE);
        command
    }

    /// Runs a command to its end and gives what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Machines that can reach one another.
#[derive(Debug)]
pub(crate) struct Machines {
    machines: Vec<Machine>,
    bridge: Option<String>,
}

impl Machines {
    /// So many on loopback.
    pub(crate) fn on_loopback(count: usize) -> Self {
        let ports = free_ports(3 * count);
        let machine = |ports: &[u16]| Machine {
            ip: Ipv4Addr::LOCALHOST.into(),
            ports: ports.try_into().unwrap(),
            space: None,
        };
        Self { machines: ports.chunks(3).map(machine).collect(), bridge: None }
    }

    /// So many in network namespaces on one bridge; nothing where that is not allowed.
    pub(crate) fn in_namespaces(count: usize) -> Option<Self> {
        let id = std::process::id();
        // Interface names have 15 characters; the address is one that several runs do not share.
        let bridge = format!("wl{}", id % 1_000_000);
        let address = |host: usize| {
            let bytes = id.to_be_bytes();
            Ipv4Addr::new(10, 64 | bytes[2] & 63, bytes[3], u8::try_from(host).unwrap())
        };
        ip(&format!("link add {bridge} type bridge"))?;
        let mut this = Self { machines: Vec::new(), bridge: Some(bridge.clone()) };
        ip(&format!("addr add {}/24 dev {bridge}", address(254)))?;
        ip(&format!("link set {bridge} up"))?;
        for number in 1..=count {
            let (space, cable) = (format!("{bridge}-{number}"), format!("{bridge}v{number}"));
            ip(&format!("netns add {space}"))?;
            let own = address(number);
            this.machines.push(Machine {
                ip: own.into(),
                ports: [8548, 8545, 8546],
                space: Some((space.clone(), cable.clone())),
            });
            ip(&format!("link add {cable} type veth peer name eth0 netns {space}"))?;
            ip(&format!("link set {cable} master {bridge} up"))?;
            ip(&format!("-n {space} addr add {own}/24 dev eth0"))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        Some(this)
    }

    /// A machine, numbered from 0.
    pub(crate) fn get(&self, number: usize) -> &Machine {
        &self.machines[number]
    }

    /// Takes a machine off the network, or back to it. On loopback the process is halted instead.
    pub(crate) fn cut(&self, machine: &Machine, process: &Process, cut: bool) {
        match &machine.space {
            Some((_, cable)) => {
                let state = if cut { "down" } else { "up" };
                ip(&format!("link set {cable} {state}")).unwrap();
            }
            None => process.signal(if cut { "STOP" } else { "CONT" }),
        }
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for (space, cable) in self.machines.iter().filter_map(|machine| machine.space.as_ref()) {
            ip(&format!("link del {cable}"));
            ip(&format!("netns del {space}"));
        }
        if let Some(bridge) = &self.bridge {
            ip(&format!("link del {bridge}"));
        }
    }
}

/// Runs `ip`; nothing if it fails.
fn ip(arguments: &str) -> Option<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().ok()?;
    if !output.status.success() {
        eprintln!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    Some(())
}

/// What a process printed, and whether it may print more.
type Printed = Arc<(Mutex<(Vec<String>, usize)>, Condvar)>;

/// A process of the program, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    printed: Printed,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = Printed::default();
        printed.0.lock().unwrap().1 = 2;
        read(child.stdout.take().unwrap(), &printed);
        read(child.stderr.take().unwrap(), &printed);
        Self { name: name.to_owned(), child, printed }
    }

    /// Waits until it has printed a line that begins with `start`, and gives it.
    pub(crate) fn says(&self, start: &str) -> String {
        let (lock, news) = &*self.printed;
        let limit = Instant::now() + PATIENCE;
        let mut state = lock.lock().unwrap();
        loop {
            if let Some(line) = state.0.iter().find(|line| line.starts_with(start)) {
                return line.clone();
            }
            let left = limit.saturating_duration_since(Instant::now());
            let over = state.1 == 0 || left.is_zero();
            assert!(!over, "{} did not say {start:?}:\n{}", self.name, tail(&state.0));
            state = news.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as Ctrl-C does, and gives how it ended.
    pub(crate) fn interrupt(mut self) -> ExitStatus {
        self.signal("INT");
        self.child.wait().unwrap()
    }

    /// Sends a signal by its name.
    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "signal {name} to {}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.name, tail(&self.printed.0.lock().unwrap().0));
        }
        // One that ended or was killed is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: impl Read + Send + 'static, printed: &Printed) {
    let printed = printed.clone();
    std::thread::spawn(move || {
        let (lock, news) = &*printed;
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lock.lock().unwrap().0.push(line);
            news.notify_all();
        }
        lock.lock().unwrap().1 -= 1;
        news.notify_all();
    });
}

fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
