//! The ledger: what tenants did and what was done about it, as the store keeps it, for those who read it: a
//! tenant's history, copies with their proof, and whether anything was changed.

mod export;
mod history;
mod verify;

pub use export::{ExportError, Format, check_export, export};
pub use history::{Lifted, PastEntry, PastOffence, PastSuspension, Taken, history};
pub use verify::{Finding, Verified, verify};

#[cfg(test)]
mod tests;
