//! `cargo xtask fuzz`: lets libFuzzer search for inputs by coverage, and keeps what reaches new code.
//!
//! The counters are LLVM's, which a stable compiler puts in when told to (the flags are those of cargo-fuzz,
//! without the sanitizer that needs a nightly one). What is built so goes into a folder of its own, since
//! everything is built anew for it. An input that fails is written beside the corpus, and the command that
//! runs it again is printed.

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

/// Searches for `minutes` in each of `targets`, or in all.
///
/// # Errors
/// When something cannot be built or a target fails.
pub fn run(root: &Path, targets: &[String], minutes: u64) -> anyhow::Result<()> {
    let built = root.join("target/fuzz");
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
            search(root, &built, name, minutes)?;
        }
    }
    Ok(())
}

fn search(root: &Path, built: &Path, name: &str, minutes: u64) -> anyhow::Result<()> {
    let corpus = root.join("fuzz/corpus").join(name);
    let found = built.join("found").join(name);
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let guided = || {
        let mut command = Command::new(built.join("release/guided"));
        command.current_dir(root).env("FUZZ_TARGET", name);
        command.arg(format!("-max_len={INPUT_MAX}"));
        command
    };
    write_seeds(root, name, &found)?;
    let status = guided()
        .arg(format!("-max_total_time={}", minutes.saturating_mul(60)))
        .arg(format!("-artifact_prefix={}/fault-", corpus.display()))
        .arg("-print_final_stats=1")
        .args([&found, &corpus])
        .status()?;
    ensure!(
        status.success(),
        "{name} fails: run `cargo run -p fuzz -- {name} --input fuzz/corpus/{name}/fault-...`, mend it, and keep the file"
    );
    // Of what was found, only what reaches code that nothing kept reaches.
    let status = guided().arg("-merge=1").args([&corpus, &found]).status()?;
    ensure!(status.success(), "{name}: the corpus was not merged: {status}");
    Ok(())
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
