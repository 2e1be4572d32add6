//! One target under libFuzzer, which searches by coverage: `cargo xtask fuzz` builds and runs this.
//!
//! The target is named by the environment variable `FUZZ_TARGET`, since libFuzzer owns the arguments.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<&'static fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {name:?}"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (TARGET.run)(bytes);
});
