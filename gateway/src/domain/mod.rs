//! Words that every room shares: no I/O, no formats.

mod principal;

pub use principal::{Principal, Role, Way};
