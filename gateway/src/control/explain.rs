//! What `fairway explain` answers: `GET /v1/explain/ADDRESS`.

use std::net::IpAddr;
use std::time::Duration;

use gateway_ebpf::Direction;
use gateway_ebpf::policer::fair;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::api::{DirectionStatus, VERSION};
use crate::config::{BitRate, CapAlgorithm, Measure, Tenant};
use crate::controller::{Explained, Owner, Sample};
use crate::detect::{Count, MeasureInForce, Watched};
use crate::domain::Backlog;
use crate::link::name_of;
use crate::policy::{self, Cause, Exemption, PolicyRule, Restraint, TenantPolicy};
use crate::suspension::Suspension;

/// Everything that decides about an address's packets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// [`VERSION`].
    pub version: u32,
    /// When this was read.
    pub at: Timestamp,
    /// The address that was asked about.
    pub address: IpAddr,
    /// Whose it is; null: nobody's.
    pub tenant: Option<OwnerStatus>,
    /// The rules that decide, in the order in which they are applied.
    pub rules: Vec<RuleStatus>,
    /// The last dropped packets of the tenant, or if there is none, of anybody with this address; the latest
    /// first.
    pub samples: Vec<SampleStatus>,
}

/// The tenant of the address, and how it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnerStatus {
    /// Stable key.
    pub id: String,
    /// For people.
    pub name: String,
    /// Which of its networks the address is in.
    pub prefix: String,
    /// `110`, or `200.110` for two tags.
    pub vlan: Option<String>,
    /// Whom notices go to.
    pub contact: Option<String>,
    /// `file:line:column`.
    pub configured_at: String,
    /// The widest of `suspensions`; null: there is none.
    pub suspension: Option<Suspension>,
    /// How it is suspended: one of each scope at most, the narrowest first. What they forbid adds up.
    #[serde(default)]
    pub suspensions: Vec<Suspension>,
    /// What its open cases restrict, by their ids.
    #[serde(default)]
    pub restraints: Vec<Restraint>,
    /// The measure that lowers its cap; null: none does.
    #[serde(default)]
    pub lowered_cap: Option<MeasureInForce>,
    /// What detection knows of the address as a source; null: it turned to nobody lately.
    pub detection: Option<WatchedStatus>,
    /// Mail exemptions that hold.
    pub exemptions: Vec<ExemptionStatus>,
    /// From the tenant to the Internet.
    pub up: UsageStatus,
    /// From the Internet to the tenant.
    pub down: UsageStatus,
}

/// A source as detection sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WatchedStatus {
    /// The address (/32), or the IPv6 /64 that it is in.
    pub source: String,
    /// When it last turned to somebody new, or was found under a measure.
    pub seen: Timestamp,
    /// Measures in force against it.
    pub measures: Vec<MeasureStatus>,
    /// What was counted of it; only what occurred.
    pub counts: Vec<Count>,
    /// Whom it turned to last, the oldest first.
    pub targets: Vec<String>,
}

/// A measure in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeasureStatus {
    /// What is done.
    pub measure: Measure,
    /// Until when.
    pub until: Timestamp,
}

impl From<&Watched> for WatchedStatus {
    fn from(watched: &Watched) -> Self {
        let measures = watched.measures.iter();
        Self {
            source: watched.source.to_string(),
            seen: watched.seen,
            measures: measures.map(|&(measure, until)| MeasureStatus { measure, until }).collect(),
            counts: watched.counts.clone(),
            targets: watched.targets.iter().map(ToString::to_string).collect(),
        }
    }
}

/// One mail exemption.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExemptionStatus {
    /// The written justification.
    pub ticket: String,
    /// `out`, `in` or `both`.
    pub direction: String,
    /// Whom with; empty: anybody.
    pub peers: Vec<String>,
    /// Who decided it.
    pub approved_by: Option<String>,
    /// The first instant at which it no longer holds.
    pub expires: Timestamp,
    /// `file:line:column`, or the grant that gives it.
    pub configured_at: String,
}

/// One direction of the tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UsageStatus {
    /// The cap, and what passed and was dropped.
    #[serde(flatten)]
    pub counters: DirectionStatus,
    /// Where its cap stands now; null if that cannot be read.
    pub bucket: Option<BucketStatus>,
}

/// A cap's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketStatus {
    /// `fair` or `bucket`.
    pub algorithm: String,
    /// How far the tenant is ahead of its cap, as time at the cap's rate.
    pub backlog_ms: u64,
    /// The same in bytes.
    pub backlog_bytes: u64,
    /// How far it may be.
    pub burst_ms: u64,
    /// Whether its next packet would be dropped, whatever its flow.
    pub over_cap: bool,
    /// With `fair`: how far each phantom queue that is not empty is ahead, the longest first. Empty far below the cap.
    pub queues_ms: Vec<u64>,
}

/// One rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleStatus {
    /// What it is about.
    pub about: String,
    /// What it says.
    pub says: String,
    /// The key that says so.
    pub key: String,
    /// `file:line:column`; null: it is left out, and this is the default.
    pub configured_at: Option<String>,
}

/// One dropped packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SampleStatus {
    /// Whose it was; null: nobody's.
    pub tenant: Option<String>,
    /// When.
    pub at: Timestamp,
    /// `up` or `down`.
    pub direction: String,
    /// Why.
    pub reason: String,
    /// Interface that received it; null if it is gone.
    pub interface: Option<String>,
    /// Length of the Ethernet frame without FCS.
    pub frame_bytes: u32,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, another IP protocol's number, or null.
    pub protocol: Option<String>,
    /// Sender.
    pub source: Option<IpAddr>,
    /// Its port.
    pub source_port: Option<u16>,
    /// Receiver.
    pub destination: Option<IpAddr>,
    /// Its port.
    pub destination_port: Option<u16>,
    /// Whether it is a TCP segment that opens a connection.
    pub opens_connection: bool,
    /// Whether it is a fragment.
    pub fragment: bool,
    /// Whether it comes from the address that was asked about, or goes to it.
    pub of_address: bool,
}

impl From<&Explained> for Explanation {
    fn from(explained: &Explained) -> Self {
        let Explained { address, at, policy, owner, samples } = explained;
        let effective = &policy.effective;
        let rules = match owner {
            Some(owner) => policy::rules(&effective.tenant_at(owner.index)),
            None => policy::rules_for_strangers(effective),
        };
        Self {
            version: VERSION,
            at: *at,
            address: *address,
            tenant: owner.as_ref().map(|owner| OwnerStatus::of(owner, &effective.tenant_at(owner.index))),
            rules: rules.into_iter().map(RuleStatus::from).collect(),
            samples: samples.iter().map(|sample| SampleStatus::of(sample, *address)).collect(),
        }
    }
}

impl OwnerStatus {
    fn of(owner: &Owner, policy: &TenantPolicy<'_>) -> Self {
        let tenant = policy.configured();
        let usage = |direction: Direction, counters| {
            let cap = policy.cap(direction).value;
            let bucket =
                |backlogs: &[Backlog; 2]| BucketStatus::of(&backlogs[direction.index()], tenant, cap);
            UsageStatus {
                counters: DirectionStatus::of(cap, counters),
                bucket: owner.backlogs.as_ref().map(bucket),
            }
        };
        Self {
            id: tenant.id.clone(),
            name: tenant.name.clone(),
            prefix: owner.prefix.to_string(),
            vlan: tenant.vlan.map(|vlan| vlan.to_string()),
            contact: tenant.contact.clone(),
            configured_at: tenant.place.to_string(),
            suspension: policy.suspensions().last().cloned(),
            suspensions: policy.suspensions().to_vec(),
            restraints: policy.restraints().to_vec(),
            lowered_cap: policy.lowered_caps().first().cloned(),
            detection: owner.watched.as_ref().map(WatchedStatus::from),
            exemptions: policy.exemptions().map(ExemptionStatus::from).collect(),
            up: usage(Direction::Up, &owner.counters.up),
            down: usage(Direction::Down, &owner.counters.down),
        }
    }
}

impl BucketStatus {
    fn of(backlog: &Backlog, tenant: &Tenant, cap: BitRate) -> Self {
        let Backlog { total, queues } = backlog;
        let (algorithm, burst) = (tenant.cap_algorithm, tenant.burst);
        let limit = match algorithm {
            CapAlgorithm::Bucket => burst,
            CapAlgorithm::Fair => Duration::from_nanos(fair::credit_ns(nanoseconds(burst))),
        };
        let mut queues_ms: Vec<u64> = queues.iter().map(|queue| nanoseconds(*queue) / 1_000_000).collect();
        queues_ms.sort_unstable_by_key(|backlog_ms| std::cmp::Reverse(*backlog_ms));
        let bytes = total.as_nanos() * u128::from(cap.bits_per_sec()) / 8_000_000_000;
        Self {
            algorithm: algorithm.label().to_owned(),
            backlog_ms: nanoseconds(*total) / 1_000_000,
            backlog_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            burst_ms: nanoseconds(burst) / 1_000_000,
            over_cap: *total > limit,
            queues_ms,
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<Exemption<'_>> for ExemptionStatus {
    fn from(exemption: Exemption<'_>) -> Self {
        let configured_at = match exemption.cause {
            Cause::Config { place: Some(place), .. } => place.to_string(),
            Cause::Config { place: None, .. } | Cause::Measure(_) => String::new(),
            Cause::Grant(grant) => format!("grant {}", grant.id),
            Cause::Case(restraint) => format!("case {}", restraint.case),
        };
        Self {
            ticket: exemption.ticket.to_owned(),
            direction: exemption.direction.label().into(),
            peers: exemption.peers.iter().map(ToString::to_string).collect(),
            approved_by: exemption.approved_by.map(str::to_owned),
            expires: exemption.expires,
            configured_at,
        }
    }
}

impl From<PolicyRule> for RuleStatus {
    fn from(rule: PolicyRule) -> Self {
        let PolicyRule { about, says, key, place } = rule;
        Self { about, says, key: key.to_owned(), configured_at: place.map(|place| place.to_string()) }
    }
}

impl SampleStatus {
    fn of(sample: &Sample, address: IpAddr) -> Self {
        let headers = &sample.headers;
        Self {
            tenant: sample.tenant.clone(),
            at: sample.at,
            direction: sample.direction.label().into(),
            reason: sample.reason.label().into(),
            interface: name_of(sample.ifindex),
            frame_bytes: sample.frame_bytes,
            protocol: headers.protocol.map(protocol),
            source: headers.source,
            source_port: headers.ports.map(|(source, _)| source),
            destination: headers.destination,
            destination_port: headers.ports.map(|(_, destination)| destination),
            opens_connection: headers.opens_connection,
            fragment: headers.is_fragment,
            of_address: headers.has(address),
        }
    }
}

/// By the names of IANA's list of protocol numbers.
fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "icmpv6".into(),
        other => other.to_string(),
    }
}
