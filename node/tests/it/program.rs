//! A running `wayleave up` of its own, with its own home folder and ports.

use crate::ports::free_ports;
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use wayleave::s3::Access;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_wayleave");

/// A devnet of its own.
pub(crate) struct Program {
    home: PathBuf,
    ports: [u16; 4],
    child: Option<Child>,
}

impl Program {
    /// One that is not started yet.
    pub(crate) fn new(home: &Path) -> Self {
        let ports = free_ports(4).try_into().unwrap();
        Self { home: home.to_owned(), ports, child: None }
    }

    /// Starts `up` and waits until it says that it is ready.
    pub(crate) fn start(&mut self) {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let [rpc, http, s3, control] = self.ports.map(at);
        let mut child = Command::new(PROGRAM)
            .args(["up", "--rpc", &rpc, "--http", &http, "--s3", &s3, "--control", &control])
            .arg("--home")
            .arg(&self.home)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line == "Next");
        assert!(ready, "up ended before it was ready: {:?}", child.wait());
        // The pipe is drained, or the program would block on it.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    /// Kills the program as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs another command against this devnet and gives its output.
    pub(crate) fn run(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(PROGRAM).args(arguments).arg("--home").arg(&self.home).output().unwrap()
    }

    /// The options by which reading commands find this devnet.
    pub(crate) fn at(&self) -> [String; 4] {
        [
            "--ledger".into(),
            format!("http://127.0.0.1:{}", self.ports[0]),
            "--validator".into(),
            format!("http://127.0.0.1:{}", self.ports[1]),
        ]
    }

    /// Where metrics and controls answer.
    pub(crate) fn control(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[3])
    }

    /// Where S3 answers, as the running program wrote it.
    pub(crate) fn access(&self) -> Access {
        let bytes = std::fs::read(self.home.join("devnet/running.json")).unwrap();
        let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        serde_json::from_value(file["s3"].clone()).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}
