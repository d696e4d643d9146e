//! From offence to restoration: what a tenant's misuse leads to, and how it ends (policy rules B4, E1-E10).
//!
//! ```text
//! fact, command, clock ─► decide(state, input, now) ─► acts ─► apply ─► state
//!                           │ ladders (config)                          │ standing, restriction
//!                           └ transitions (data)                        └ next deadline
//! ```
//!
//! Everything here is pure: no clock is read and nothing is written. Acts are what is recorded, and the same
//! acts applied in the same order give the same state, so what was recorded is enough to go on after a restart.

mod act;
mod case;
mod decide;
mod fact;
mod standing;
mod state;
mod transition;

#[cfg(test)]
mod tests;

pub use act::{Act, Notice, Resolution};
pub use case::{Case, CaseId, CaseIdError, InForce, Note, Request};
pub use decide::{Command, Input, Refusal, decide};
pub use fact::{FACTS, Fact, FactKind, Report, Signal};
pub use standing::Standing;
pub use state::{Restraint, State, Strikes};
pub use transition::{Effect, Event, Phase, TRANSITIONS, To, Transition};
