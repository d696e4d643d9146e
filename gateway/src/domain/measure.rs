//! Measures that hold for a time.

use std::fmt;

use ipnetwork::IpNetwork;
use jiff::Timestamp;
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
    /// The offence that it was taken for.
    pub kind: OffenceKind,
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
    pub fn identity(&self) -> (String, Option<IpNetwork>, OffenceKind, Measure) {
        (self.tenant.clone(), self.source, self.kind, self.measure)
    }
}
