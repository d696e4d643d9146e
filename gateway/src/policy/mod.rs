//! The policy in force: what each tenant may do at one moment, and why.
//!
//! ```text
//! Config (files) ──────┐
//! Overrides (run time) ├─ compose ─► Effective ─► tables, explain, metrics, check, replay
//! now ─────────────────┘
//! ```
//!
//! Files, decisions made at run time, and the time come together here and nowhere else. The data plane compiles an
//! [`Effective`]; explanations, metrics, comparisons and replays read the same one. Nothing here reads a
//! clock, and nothing does I/O.

mod changes;
mod effective;
mod found;
mod overrides;
mod restraint;
mod rules;
mod tenant;
#[cfg(test)]
mod tests;
mod view;

pub use changes::{Change, changes};
pub use effective::{Effective, Lapsed, compose};
pub use overrides::{Grant, Overrides};
pub use restraint::Restraint;
pub use rules::{PolicyRule, rules, rules_for_strangers};
pub use tenant::{Cause, Exemption, Field, TenantPolicy};
pub use view::view;
