//! `cargo xtask fuzz`: lets libFuzzer search for inputs by coverage, and keeps what reaches new code.
//!
//! The counters are LLVM's, which a stable compiler puts in when told to (the flags are those of cargo-fuzz,
//! without the sanitizer that needs a nightly one). What is built so goes into a folder of its own, since
//! everything is built anew for it. An input that fails is written beside the corpus, and the command that
//! runs it again is printed.
//!
//! What is kept is the least set of inputs that reaches every edge which anything found reaches, short ones
//! first: their names are hashes, and each run replaces them all. An input with another name was put there by
//! a person, and stays.

use anyhow::{Context as _, ensure};
use std::{fs, path::Path, process::Command};

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

/// Searches for `minutes` in each of `targets`, or in all.
///
/// # Errors
/// When something cannot be built or a target fails.
pub fn run(root: &Path, targets: &[String], minutes: u64) -> anyhow::Result<()> {
    let built = root.join("target/fuzz");
    let machine = machine()?;
    // With the machine named, cargo keeps the flags from build scripts and macros, which have no counters'
    // runtime to be linked with.
    let status = crate::cargo(root)
        .args([
            "build",
            "--release",
            "--package",
            "fuzz",
            "--bin",
            "guided",
            "--features",
            "guided",
            "--target",
            &machine,
        ])
        .env("CARGO_TARGET_DIR", &built)
        .env("RUSTFLAGS", COUNTERS)
        .status()?;
    ensure!(status.success(), "the targets were not built: {status}");
    let listed = crate::cargo(root)
        .args(["run", "--quiet", "--package", "fuzz", "--", "--list"])
        .output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let all: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for name in targets {
        ensure!(all.contains(&name.as_str()), "no target {name}; there are {}", all.join(", "));
    }
    for name in all {
        if targets.is_empty() || targets.iter().any(|target| target == name) {
            let place = Place { root, built: &built, machine: &machine };
            search(&place, name, minutes)?;
        }
    }
    Ok(())
}

/// Where things are.
struct Place<'a> {
    root: &'a Path,
    built: &'a Path,
    /// The triple that is built for.
    machine: &'a str,
}

impl Place<'_> {
    /// A target under libFuzzer.
    fn guided(&self, name: &str) -> Command {
        let mut command = Command::new(self.built.join(self.machine).join("release/guided"));
        command.current_dir(self.root).env("FUZZ_TARGET", name);
        command.arg(format!("-max_len={INPUT_MAX}"));
        command.arg(format!("-timeout={INPUT_SECONDS}"));
        command
    }
}

fn search(place: &Place<'_>, name: &str, minutes: u64) -> anyhow::Result<()> {
    let corpus = place.root.join("fuzz/corpus").join(name);
    let [found, least] = ["found", "least"].map(|folder| place.built.join(folder).join(name));
    if least.exists() {
        fs::remove_dir_all(&least)?;
    }
    for folder in [&corpus, &found, &least] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    write_seeds(place.root, name, &found)?;
    let status = place
        .guided(name)
        .arg(format!("-max_total_time={}", minutes.saturating_mul(60)))
        .arg(format!("-artifact_prefix={}/fault-", corpus.display()))
        .arg("-print_final_stats=1")
        .args([&found, &corpus])
        .status()?;
    ensure!(
        status.success(),
        "{name} fails: run `cargo run -p fuzz -- {name} --input fuzz/corpus/{name}/fault-...`, mend it, and keep the file"
    );
    let status = place
        .guided(name)
        .args(["-set_cover_merge=1", "-use_counters=0"])
        .args([&least, &corpus, &found])
        .status()?;
    ensure!(status.success(), "{name}: the corpus was not merged: {status}");
    replace(&corpus, &least)
}

/// Puts the inputs in `least` into the place of those that were found before.
fn replace(corpus: &Path, least: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(corpus)? {
        let path = entry?.path();
        if is_found(&path) {
            fs::remove_file(path)?;
        }
    }
    for entry in fs::read_dir(least)? {
        let entry = entry?;
        fs::copy(entry.path(), corpus.join(entry.file_name()))?;
    }
    Ok(())
}

/// Whether libFuzzer named the file: by its SHA-1.
fn is_found(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The triple of the machine that this runs on.
fn machine() -> anyhow::Result<String> {
    let told = Command::new("rustc").arg("-vV").output().context("rustc does not run")?;
    let told = String::from_utf8(told.stdout)?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say for which machine it builds")?.to_owned())
}

/// Writes the inputs that a target's encoders make where the search begins.
fn write_seeds(root: &Path, name: &str, folder: &Path) -> anyhow::Result<()> {
    let status = crate::cargo(root)
        .args(["run", "--quiet", "--package", "fuzz", "--", name, "--write-seeds"])
        .arg(folder)
        .status()?;
    ensure!(status.success(), "{name}: its seeds were not written: {status}");
    Ok(())
}
