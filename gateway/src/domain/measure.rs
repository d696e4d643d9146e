//! Measures that hold for a time.

use std::fmt;

use ipnetwork::IpNetwork;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{BitRate, Measure, OffenceKind};

/// Rates that a measure puts in the place of a tenant's own caps, in bits per second; none: its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoweredCap {
    /// From the tenant to the Internet.
    pub up_bits_per_second: Option<u64>,
    /// From the Internet to the tenant.
    pub down_bits_per_second: Option<u64>,
}

impl LoweredCap {
    /// Up and down.
    #[must_use]
    pub fn rates(&self) -> [Option<BitRate>; 2] {
        [self.up_bits_per_second, self.down_bits_per_second].map(|rate| BitRate::from_bits_per_sec(rate?))
    }
}

impl fmt::Display for LoweredCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = ["up", "down"].into_iter().zip(self.rates());
        let written = rates.filter_map(|(direction, rate)| Some(format!("{direction} {}", rate?)));
        f.write_str(&written.collect::<Vec<_>>().join(", "))
    }
}

/// A measure against a source or a tenant that holds for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureInForce {
    /// Id of the tenant.
    pub tenant: String,
    /// The IPv4 address (/32) or the IPv6 /64; none: the tenant as a whole.
    pub source: Option<IpNetwork>,
    /// The offence that it was taken for; none: the kernel holds it, and does not say.
    pub kind: Option<OffenceKind>,
    /// What is done.
    pub measure: Measure,
    /// What the tenant is held to, if that is the measure.
    #[serde(default)]
    pub lowered_cap: Option<LoweredCap>,
    /// Since when.
    pub since: Timestamp,
    /// Until when, unless it is lifted before.
    pub until: Timestamp,
}

impl MeasureInForce {
    /// What a repeated offence prolongs: the same against the same source, for the same.
    #[must_use]
    pub fn identity(&self) -> (String, Option<IpNetwork>, Option<OffenceKind>, Measure) {
        (self.tenant.clone(), self.source, self.kind, self.measure)
    }
}

/// A measure against a source as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldMeasure {
    /// Id of the tenant.
    pub tenant: String,
    /// The IPv4 address (/32) or the IPv6 /64.
    pub source: IpNetwork,
    /// The offence that it was taken for; none: that is forgotten.
    pub kind: Option<OffenceKind>,
    /// What is done.
    pub measure: Measure,
    /// Until when.
    pub until: Timestamp,
}

/// What a measure was taken for, for people and metrics.
#[must_use]
pub fn kind_label(kind: Option<OffenceKind>) -> &'static str {
    kind.map_or("unknown", OffenceKind::label)
}

impl HeldMeasure {
    /// How far clocks that are read one after the other may seem to differ.
    pub const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

    /// Whether it is this one, however long that holds.
    #[must_use]
    pub fn is(&self, measure: &MeasureInForce) -> bool {
        measure.tenant == self.tenant
            && measure.source == Some(self.source)
            && measure.measure == self.measure
            && (self.kind.is_none() || measure.kind.is_none() || self.kind == measure.kind)
    }
}
