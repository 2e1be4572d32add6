//! `cargo xtask fuzz`: lets libFuzzer search for inputs by coverage, and keeps what reaches new code.
//!
//! The counters are LLVM's, which a stable compiler puts in when told to (the flags are those of cargo-fuzz,
//! without the sanitizer that needs a nightly one). What is built so goes into `target/fuzz`, since everything
//! is built anew for it; a C++ compiler builds libFuzzer.
//!
//! The inputs of a target are unpacked to `target/fuzz/work/TARGET`, which libFuzzer adds to. What is packed
//! back into `fuzz/corpus` is the least set of inputs that reaches every edge which anything found reaches,
//! short ones first; each run replaces them all, but for those with a name, which a person put there. An input
//! that fails is written to `target/fuzz/faults`, and the command that runs it again is printed.

use anyhow::{Context as _, ensure};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Counters at every edge, a table of where they stand, and what comparisons compare.
const COUNTERS: &str = "-Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares \
     -Cdebug-assertions -Ccodegen-units=1 --cfg fuzzing";
/// The longest input it tries, in bytes.
const INPUT_MAX: u64 = 8 * 1024;
/// How long one input may take, in seconds: longer is a fault.
const INPUT_SECONDS: u64 = 20;

/// Searches for `seconds` in each of `targets`, or in all.
///
/// # Errors
/// When a tool is missing, something cannot be built, or a target fails.
pub fn run(root: &Path, targets: &[String], seconds: u64) -> anyhow::Result<()> {
    let place = Place { root, built: root.join("target/fuzz"), machine: machine()? };
    ensure_compiler()?;
    let listed = place.plain().arg("--list").output().context("cargo does not run")?;
    ensure!(
        listed.status.success(),
        "the targets were not built:\n{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let listed = String::from_utf8(listed.stdout)?;
    let all: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    // Before the long build: a name may be misspelt.
    for name in targets {
        ensure!(all.contains(&name.as_str()), "no target {name}; there are {}", all.join(", "));
    }
    place.build()?;
    for name in all {
        if targets.is_empty() || targets.iter().any(|target| target == name) {
            place.search(name, seconds)?;
        }
    }
    Ok(())
}

/// Where things are.
struct Place<'a> {
    root: &'a Path,
    /// What is built with counters, and what is searched in.
    built: PathBuf,
    /// The triple that is built for.
    machine: String,
}

impl Place<'_> {
    /// Builds the targets with counters.
    fn build(&self) -> anyhow::Result<()> {
        // With the machine named, cargo keeps the flags from build scripts and macros, which have no counters'
        // runtime to be linked with.
        let built = crate::cargo(self.root)
            .args(["build", "--release", "--package", "fuzz", "--bin", "guided"])
            .args(["--features", "guided", "--target", &self.machine])
            .env("CARGO_TARGET_DIR", &self.built)
            .env("RUSTFLAGS", COUNTERS)
            .status()
            .context("cargo does not run")?;
        ensure!(built.success(), "the targets were not built with counters: {built}");
        Ok(())
    }

    /// The targets without counters.
    fn plain(&self) -> Command {
        let mut command = crate::cargo(self.root);
        command.args(["run", "--quiet", "--package", "fuzz", "--"]);
        command
    }

    /// A chore with the kept inputs of a target.
    fn chore(&self, name: &str, chore: &str, folder: &Path) -> anyhow::Result<()> {
        let status = self.plain().args([name, chore]).arg(folder).status()?;
        ensure!(status.success(), "{name}: `fuzz {chore} {}` failed: {status}", folder.display());
        Ok(())
    }

    /// A target under libFuzzer.
    fn guided(&self, name: &str) -> Command {
        let mut command = Command::new(self.built.join(&self.machine).join("release/guided"));
        command.current_dir(self.root).env("FUZZ_TARGET", name);
        command.arg(format!("-max_len={INPUT_MAX}"));
        command.arg(format!("-timeout={INPUT_SECONDS}"));
        command
    }

    fn search(&self, name: &str, seconds: u64) -> anyhow::Result<()> {
        let [work, least] = ["work", "least"].map(|folder| self.built.join(folder).join(name));
        let faults = self.built.join("faults");
        if least.exists() {
            fs::remove_dir_all(&least)?;
        }
        for folder in [&work, &least, &faults] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        self.chore(name, "--unpack", &work)?;
        let status = self
            .guided(name)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/{name}-", faults.display()))
            .arg("-print_final_stats=1")
            .arg(&work)
            .status()
            .with_context(|| format!("{name} does not run under libFuzzer"))?;
        let fault = format!("target/fuzz/faults/{name}-…");
        ensure!(
            status.success(),
            "{name} fails: run `cargo run -p fuzz -- {name} --input {fault}`, mend it, and keep the input by \
             `cargo run -p fuzz -- {name} --keep {fault}`"
        );
        let merge = ["-set_cover_merge=1", "-use_counters=0"];
        let status = self.guided(name).args(merge).args([&least, &work]).status()?;
        ensure!(status.success(), "{name}: the inputs were not merged: {status}");
        self.chore(name, "--pack", &least)
    }
}

/// Fails if libFuzzer cannot be built here: the build would find out after a quarter of an hour.
fn ensure_compiler() -> anyhow::Result<()> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| OsString::from("c++"));
    let runs =
        Command::new(&compiler).arg("--version").output().is_ok_and(|it| it.status.success());
    ensure!(
        runs,
        "no C++ compiler runs as `{}`: libFuzzer needs one; install it (Debian: `apt-get install g++`) or name \
         it in the variable CXX",
        compiler.display()
    );
    Ok(())
}

/// The triple of the machine that this runs on.
fn machine() -> anyhow::Result<String> {
    let told = Command::new("rustc").arg("-vV").output().context("rustc does not run")?;
    let told = String::from_utf8(told.stdout)?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say for which machine it builds")?.to_owned())
}
