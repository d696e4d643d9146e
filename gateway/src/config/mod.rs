//! The operator's configuration: raw TOML, CSV or JSON -> checked -> [`Config`].
//!
//! ```text
//! files -> syntax -> reader -> sections, tenants -> checks between tenants -> Config
//!            |         |                                 |
//!            +---------+---------------------------------+--> Diagnostics: every mistake, where it stands
//! ```
//!
//! A [`Config`] is a function of the bytes of its files. What expires is judged by whoever has a clock:
//! [`advice()`] warns of it.
//!
//! Nothing is guessed and nothing is passed over: an unknown key, a value without its unit, a network
//! with host bits are errors. A configuration with one error is refused as a whole, with all that is
//! wrong in all files told in one run. What is odd but harmless is a warning.

mod advice;
mod burst;
mod check;
mod contact;
mod detect;
mod diagnostic;
mod encoding;
mod enforcement;
mod exemption;
mod expiry;
mod files;
mod gateway;
mod kept;
mod load;
mod locate;
mod main_file;
mod model;
mod network;
mod open;
mod pattern;
mod ports;
mod reader;
mod removals;
mod source;
mod sources;
mod suggest;
mod syntax;
mod tenant;
mod tenants_file;
mod units;
mod value;

pub use crate::domain::{BitRate, DetectMode, LineRate, Measure, Mode, OffenceKind, Side};
pub use advice::advice;
pub use detect::{AllowReason, Allowance, DetectClass, Detection, Rule, Threshold};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub(crate) use enforcement::hours_and_minutes;
pub use enforcement::{
    CaseClass, CaseSeverity, Department, Enforcement, EnforcementMode, Ladder, OfficeHours, Release,
    Restrict, Step,
};
pub use kept::{KeptError, KeptFiles};
pub use load::{Loaded, Loader, load};
pub use locate::{Paths, locate};
pub use model::*;
pub(crate) use network::port_range_text;
pub use removals::Removals;
pub use sources::{Sources, Stand};
pub(crate) use units::SizeText;
pub use units::{DurationText, QuantityError};
