//! `[detect]`: which misuse is looked for, in whom, and what is done about it (policy rules M4, S1-S3).
//!
//! Every tenant belongs to a class, and a class has one rule for each kind of offence. Class 0 is that
//! of tenants without a class of their own; the others inherit what they do not say from it.

mod allow;
mod drop_list;
mod kind;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde::Serialize;

pub(super) use allow::report_strangers;
pub(super) use drop_list::read_drop_list;
pub use kind::Threshold;
pub(super) use read::{DetectSection, read_detect, report_unseen_rises};

use super::Place;
use super::source::Span;
use crate::domain::{DetectMode, Measure, OffenceKind};

/// `[detect]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// Sources (IPv4 addresses and IPv6 /64 networks) that can be watched at the same time.
    pub sources: u32,
    /// Recent contacts between a source and a host that can be remembered at the same time.
    pub contacts: u32,
    /// Measures that the gateway takes within a minute, over all tenants, before it stops and only reports:
    /// so many offenders at once are more likely a fault of the network than of the tenants.
    pub max_measures_per_minute: u32,
    /// Files that list networks nobody should talk to, as found from the main file's directory.
    pub drop_lists: Vec<PathBuf>,
    /// What they list, sorted, each once.
    pub listed: Vec<IpNetwork>,
    /// At most [`DetectClass::MAX`] and the default one, which is the first.
    pub classes: Vec<DetectClass>,
    /// Sources that may do what others may not; those that have expired are among them.
    pub allow: Vec<Allowance>,
}

impl Detection {
    /// The index of a class by its name, which [`super::Tenant::detect_class`] holds; the default class
    /// for none.
    #[must_use]
    pub fn class_index(&self, name: Option<&str>) -> usize {
        name.and_then(|name| self.classes.iter().position(|class| class.name == name)).unwrap_or(0)
    }
}

/// A class of tenants that share rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectClass {
    /// `default`, or the operator's.
    pub name: String,
    /// One rule for each kind, in the order of [`OffenceKind::ALL`].
    rules: [Rule; OffenceKind::ALL.len()],
}

impl DetectClass {
    /// Classes besides the default one: four bits in the data plane.
    pub const MAX: usize = 15;
    /// The name of the first class.
    pub const DEFAULT: &str = "default";

    /// What is done about offences of a kind.
    #[must_use]
    pub fn rule(&self, kind: OffenceKind) -> &Rule {
        &self.rules[kind as usize]
    }

    /// All rules with their kinds.
    pub fn rules(&self) -> impl Iterator<Item = (OffenceKind, &Rule)> {
        OffenceKind::ALL.into_iter().zip(&self.rules)
    }
}

/// How one kind of offence is looked for, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is looked for, and whether anything is done.
    pub mode: DetectMode,
    /// What is done.
    pub measure: Measure,
    /// How long the measure holds. The same offence is not reported again meanwhile, measure or not.
    pub duration: Duration,
    /// The detector's own thresholds, each with its value.
    pub thresholds: Vec<(Threshold, u32)>,
}

impl Rule {
    /// A threshold's value; none if the detector has no such threshold.
    #[must_use]
    pub fn threshold(&self, threshold: Threshold) -> Option<u32> {
        self.thresholds.iter().find(|(known, _)| *known == threshold).map(|&(_, value)| value)
    }
}

/// `[[detect.allow]]`: sources in which some kinds of offences are not looked for, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Networks of tenants; at least one.
    pub sources: Vec<IpNetwork>,
    /// Kinds that are not looked for; empty: none is.
    pub kinds: Vec<OffenceKind>,
    /// What the sources do instead.
    pub reason: AllowReason,
    /// The ticket with the justification.
    pub ticket: String,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// The first instant at which it no longer holds (a date means its end, UTC).
    pub expires: jiff::Timestamp,
    /// Where that is written.
    pub(super) expires_at: Span,
    /// Where it was written.
    pub place: Place,
}

impl Allowance {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds_at(&self, now: jiff::Timestamp) -> bool {
        now < self.expires
    }
}

/// What a source does that looks like an offence and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowReason {
    /// A recursive resolver asks name servers everywhere.
    Resolver,
    /// A crawler fetches pages from everywhere.
    Crawler,
    /// A mail server sends to mail hosts everywhere.
    Mail,
    /// Peer-to-peer nodes try peers that are gone.
    PeerToPeer,
    /// Monitoring asks many hosts, some of them down.
    Monitoring,
    /// A load test, agreed with who is tested.
    LoadTest,
    /// Researchers who scan, with a page that says so.
    Research,
    /// Something else, which the ticket explains.
    Other,
}
