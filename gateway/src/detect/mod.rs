//! Misuse that detectors saw: what it was, who, when, and by what evidence (policy rules M4, S1-S3).
//!
//! The data plane detects and acts by itself, between two packets; its events become [`Offence`]s here,
//! to be counted, recorded and shown. What needs a wider view than one source is judged here.

mod breaker;
mod rise;
mod second;
mod tally;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnetwork::{IpNetwork, Ipv6Network};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use breaker::{BREAKER_EVERY, Breaker, ContactTotals, Turn};
pub use rise::{Baseline, KEEP_EVERY, Learned, RiseDetector, SAMPLE_EVERY};
pub use second::{Look, Second};
pub use tally::OffenceTally;

pub use crate::domain::{HeldMeasure, LoweredCap, MeasureInForce, kind_label};

use crate::domain::{DetectMode, Measure, OffenceKind};

/// One offence of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Offence {
    /// When the rule's condition was met.
    pub at: Timestamp,
    /// Id of the tenant.
    pub tenant: String,
    /// The IPv4 address (/32) or the IPv6 /64; none: the tenant as a whole.
    pub source: Option<IpNetwork>,
    /// What it is.
    pub kind: OffenceKind,
    /// The rule's mode at that time.
    pub mode: DetectMode,
    /// What the rule does about it.
    pub measure: Measure,
    /// How long the measure holds; none: it was not taken, because the rule only watches or because it
    /// was held back.
    pub until: Option<Timestamp>,
    /// What the tenant is held to meanwhile, if that is the measure.
    pub lowered_cap: Option<LoweredCap>,
    /// What was counted, by name: `hosts_attempted`, `hosts_answered`, `ports`...
    pub counters: BTreeMap<String, u64>,
    /// Whom it was done to: the first few.
    pub targets: Vec<Target>,
    /// The first packets, as far as they were kept.
    pub frames: Vec<Frame>,
}

/// Whom something was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: IpAddr,
    /// Its port; none where there are no ports, as in ICMP.
    pub port: Option<u16>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// What is known of a source at the moment, offence or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The IPv4 address (/32) or the IPv6 /64.
    pub source: IpNetwork,
    /// When it last turned to somebody new, or was found under a measure.
    pub seen: Timestamp,
    /// Measures in force against it, each with its end.
    pub measures: Vec<(Measure, Timestamp)>,
    /// What was counted of it within five minutes and within an hour; only what occurred.
    pub counts: Vec<Count>,
    /// Whom it turned to last, the oldest first.
    pub targets: Vec<Target>,
}

/// New contacts of one kind within one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// `tcp_hosts`, `tcp_ports`, `sensitive_ports`, `udp_hosts`, `pinged_hosts`, `stealth_probes`,
    /// `mail_hosts` or `listed_contacts`.
    pub what: String,
    /// How long the window lasts, in seconds.
    pub window_seconds: u32,
    /// When it opened.
    pub since: Timestamp,
    /// Contacts made.
    pub attempted: u32,
    /// Of these, answered.
    pub answered: u32,
    /// Of these, refused.
    pub rejected: u32,
    /// Of the answered, those that the source ended without having sent anything; of `tcp_ports` only.
    #[serde(default)]
    pub probed: u32,
}

/// A packet that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was seen.
    pub at: Timestamp,
    /// Its first bytes, from the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Length of the whole frame, in bytes.
    pub length_bytes: u32,
}

impl Offence {
    /// The counter of an offence whose measure was due, but held back: too many were taken already, or
    /// there is an outage upstream.
    pub const HELD: &str = "held_by_breaker";

    /// Whether its measure was held back.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.counters.contains_key(Self::HELD)
    }

    /// Reports it only, whatever the rule says.
    pub fn spare(&mut self) {
        (self.measure, self.until, self.lowered_cap) = (Measure::None, None, None);
    }

    /// The measure that was taken, if one was.
    #[must_use]
    pub fn taken(&self) -> Option<MeasureInForce> {
        if self.measure == Measure::None {
            return None;
        }
        Some(MeasureInForce {
            tenant: self.tenant.clone(),
            source: self.source,
            kind: Some(self.kind),
            measure: self.measure,
            lowered_cap: self.lowered_cap,
            since: self.at,
            until: self.until?,
        })
    }
}

/// The source that an address belongs to: itself, or its IPv6 /64, all of which one host may use.
#[must_use]
pub fn source_of(address: IpAddr) -> IpNetwork {
    const V6_HOST_BITS: u128 = (1 << 64) - 1;
    match address {
        IpAddr::V4(address) => IpNetwork::V4(address.into()),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & !V6_HOST_BITS);
            // 64 is a length of IPv6 prefixes; should it ever not be, the address alone is one too.
            Ipv6Network::new(network, 64).unwrap_or_else(|_| address.into()).into()
        }
    }
}

/// Whose measures an operator ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    /// Id of the tenant.
    pub tenant: String,
    /// One of its sources; none: all of them.
    pub source: Option<IpNetwork>,
    /// When.
    pub at: Timestamp,
    /// Who did.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Lift {
    /// Whether it ends a measure.
    #[must_use]
    pub fn covers(&self, measure: &MeasureInForce) -> bool {
        self.tenant == measure.tenant && (self.source.is_none() || self.source == measure.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_source_is_a_network_of_64_bits() {
        let source = |address: &str| source_of(address.parse().unwrap()).to_string();
        assert_eq!(source("192.0.2.1"), "192.0.2.1/32");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_target_is_written_with_its_port() {
        let target = |address: &str, port| Target { address: address.parse().unwrap(), port }.to_string();
        assert_eq!(target("192.0.2.1", Some(22)), "192.0.2.1:22");
        assert_eq!(target("2001:db8::1", Some(22)), "[2001:db8::1]:22");
        assert_eq!(target("2001:db8::1", None), "2001:db8::1");
    }
}

/// Made-up offences for tests.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    /// `seconds` after an arbitrary moment.
    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    /// A quarantine of an hour for a vertical scan.
    pub(crate) fn offence(tenant: &str, source: &str, seconds: i64) -> Offence {
        Offence {
            at: at(seconds),
            tenant: tenant.into(),
            source: Some(source.parse().unwrap()),
            kind: OffenceKind::ScanVertical,
            mode: DetectMode::Enforce,
            measure: Measure::Quarantine,
            until: Some(at(seconds + 3_600)),
            lowered_cap: None,
            counters: BTreeMap::from([("ports".into(), 32), ("ports_answered".into(), 1)]),
            targets: vec![
                Target { address: "198.51.100.7".parse().unwrap(), port: Some(22) },
                Target { address: "2001:db8::7".parse().unwrap(), port: None },
            ],
            frames: vec![
                Frame { at: at(seconds - 2), bytes: vec![0xab; 60], length_bytes: 60 },
                Frame { at: at(seconds - 1), bytes: vec![0xcd; 33], length_bytes: 1_514 },
            ],
        }
    }
}
