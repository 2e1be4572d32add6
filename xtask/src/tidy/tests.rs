//! How faults read.

use super::*;

#[test]
fn a_fault_names_the_file_and_the_mend() {
    let fault = Fault::new("a/b.rs", "too long", "split it");
    assert_eq!(fault.to_string(), "a/b.rs: too long\n  mend: split it");
    assert_eq!(fault.at(7).to_string(), "a/b.rs:7: too long\n  mend: split it");
}
