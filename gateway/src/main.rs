//! `fairway`: the command line.
fn main() {}
