//! wayleave
fn main() {}
