//! One entry for everything a developer does.
fn main() {}
