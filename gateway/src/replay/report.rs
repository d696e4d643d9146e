//! What a replay found, as `--json` prints it.

use std::collections::{BTreeMap, HashMap};

use gateway_ebpf::DropReason;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use serde::Serialize;

use super::ReplayError;
use super::ladders::Judgement;
use super::tally::{Fate, Line, Tally};
use crate::config::{DetectMode, Measure, OffenceKind};
use crate::dataplane::Engine;
use crate::detect::Offence;
use crate::domain::DirectionCounters;

/// Version of the JSON; raised whenever a key changes its meaning or goes away.
const VERSION: u32 = 1;

/// What became of a capture's packets: `packets` = `passed` + `dropped` + `unmatched` + `unsupported`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// 1.
    pub version: u32,
    /// Of the configuration whose policy this is.
    pub config_digest: String,
    /// The earliest packet's time.
    pub first: Option<Timestamp>,
    /// The latest packet's.
    pub last: Option<Timestamp>,
    /// Packets read.
    pub packets: u64,
    /// Tenants' packets that were let through.
    pub passed: u64,
    /// Packets that were dropped.
    pub dropped: u64,
    /// Those, by reason.
    pub by_reason: ByReason,
    /// Packets of no tenant that were not dropped either.
    pub unmatched: u64,
    /// Packets of link types that carry neither Ethernet nor IP.
    pub unsupported: u64,
    /// Packets of which a part was not captured; they were judged with zeros in its place.
    pub truncated: u64,
    /// Every configured tenant by its id, counted by the programs.
    pub tenants: BTreeMap<String, TenantReport>,
    /// Misuse that was detected, in the order of time.
    pub offences: Vec<OffenceReport>,
    /// What would have followed from them.
    pub enforcement: Judgement,
    /// Why the capture could not be read to its end.
    pub error: Option<String>,
    /// Every verdict, in the capture's order, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Vec<PacketVerdict>>,
    /// Packets of unsupported link types, by link type.
    #[serde(skip)]
    pub unsupported_link_types: BTreeMap<u16, u64>,
}

/// Packets by the label of why they were dropped; only reasons that occurred.
pub type ByReason = BTreeMap<&'static str, u64>;

/// One tenant.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct TenantReport {
    /// From the tenant.
    pub up: DirectionReport,
    /// To the tenant.
    pub down: DirectionReport,
}

/// One direction of one tenant.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct DirectionReport {
    /// All packets, dropped ones included.
    pub packets: u64,
    /// Their bytes, as Ethernet frames without FCS.
    pub bytes: u64,
    /// Packets dropped.
    pub dropped_packets: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Packets dropped, by reason.
    pub by_reason: ByReason,
}

/// One offence.
#[derive(Debug, Serialize)]
pub struct OffenceReport {
    /// Who committed it.
    pub tenant: String,
    /// Which of its sources.
    pub source: Option<IpNetwork>,
    /// What it is.
    pub kind: OffenceKind,
    /// When it was certain.
    pub at: Timestamp,
    /// Whether the rule only reports.
    pub mode: DetectMode,
    /// What was done about it.
    pub measure: Measure,
    /// Until when; none if nothing was done.
    pub until: Option<Timestamp>,
    /// What it rests on.
    pub detail: OffenceDetail,
}

/// What an offence rests on.
#[derive(Debug, Serialize)]
pub struct OffenceDetail {
    /// What was counted, by name.
    pub counters: BTreeMap<String, u64>,
    /// Whom the source turned to last.
    pub targets: Vec<String>,
}

impl From<Offence> for OffenceReport {
    fn from(offence: Offence) -> Self {
        let Offence { at, tenant, source, kind, mode, measure, until, counters, targets, .. } = offence;
        let targets = targets.iter().map(ToString::to_string).collect();
        let detail = OffenceDetail { counters, targets };
        Self { tenant, source, kind, at, mode, measure, until, detail }
    }
}

/// One verdict; a packet between two tenants that the first side lets through has two.
#[derive(Debug, Serialize)]
pub struct PacketVerdict {
    /// The packet's number, from 1.
    pub n: u64,
    /// When it was captured, if the capture tells.
    pub at: Option<Timestamp>,
    /// The tenant that it was counted for.
    pub tenant: Option<String>,
    /// `up` or `down`: the side that it was run on; none if it was not run.
    pub direction: Option<&'static str>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was dropped.
    pub reason: Option<&'static str>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Let through.
    Pass,
    /// Dropped.
    Drop,
    /// Of no tenant, and not dropped.
    Unmatched,
    /// Not run: neither Ethernet nor IP.
    Unsupported,
}

impl Verdict {
    /// As JSON writes it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Unmatched => "unmatched",
            Self::Unsupported => "unsupported",
        }
    }
}

impl Report {
    /// Whether anything could be judged, if there was anything.
    ///
    /// # Errors
    /// If every packet is of an unsupported link type.
    pub fn check_supported(&self) -> Result<(), ReplayError> {
        if self.unsupported == 0 || self.unsupported < self.packets {
            return Ok(());
        }
        let link_types: Vec<_> = self.unsupported_link_types.keys().map(u16::to_string).collect();
        Err(ReplayError::Unsupported(link_types.join(", ")))
    }
}

/// The report on packets that were judged by `engine`, which has judged no others.
pub(super) fn report(
    tally: Tally,
    engine: &Engine,
    offences: Vec<Offence>,
    enforcement: Judgement,
    config_digest: String,
) -> Report {
    let tenants = engine.snapshot().tenants.into_iter().map(|tenant| {
        let report = TenantReport { up: direction(&tenant.up), down: direction(&tenant.down) };
        (tenant.id, report)
    });
    Report {
        version: VERSION,
        config_digest,
        first: tally.first_ns.map(timestamp),
        last: tally.last_ns.map(timestamp),
        packets: tally.packets,
        passed: tally.passed,
        dropped: tally.dropped.values().sum(),
        by_reason: by_reason(tally.dropped),
        unmatched: tally.unmatched,
        unsupported: tally.unsupported.values().sum(),
        truncated: tally.truncated,
        tenants: tenants.collect(),
        offences: offences.into_iter().map(OffenceReport::from).collect(),
        enforcement,
        error: None,
        verdicts: tally.lines.map(|lines| verdicts(&lines, engine)),
        unsupported_link_types: tally.unsupported,
    }
}

fn direction(counters: &DirectionCounters) -> DirectionReport {
    let DirectionCounters { passed, dropped, .. } = counters;
    let dropped_total = counters.dropped_total();
    DirectionReport {
        packets: passed.packets + dropped_total.packets,
        bytes: passed.bytes + dropped_total.bytes,
        dropped_packets: dropped_total.packets,
        dropped_bytes: dropped_total.bytes,
        by_reason: by_reason(dropped.iter().map(|(reason, tally)| (*reason, tally.packets))),
    }
}

fn by_reason(counts: impl IntoIterator<Item = (DropReason, u64)>) -> ByReason {
    counts.into_iter().map(|(reason, packets)| (reason.label(), packets)).collect()
}

fn verdicts(lines: &[Line], engine: &Engine) -> Vec<PacketVerdict> {
    let ids: HashMap<_, _> = engine.slots().map(|(id, slot)| (slot, id)).collect();
    let verdict = |line: &Line| {
        let (verdict, reason) = match line.fate {
            Fate::Passed => (Verdict::Pass, None),
            Fate::Dropped(reason) => (Verdict::Drop, Some(reason.label())),
            Fate::Unmatched => (Verdict::Unmatched, None),
            Fate::Unsupported => (Verdict::Unsupported, None),
        };
        PacketVerdict {
            n: line.number,
            at: line.at_ns.map(timestamp),
            tenant: line.tenant.and_then(|slot| ids.get(&slot)).map(|id| (*id).to_owned()),
            direction: line.direction.map(|direction| direction.label()),
            verdict,
            reason,
        }
    };
    lines.iter().map(verdict).collect()
}

/// An instant of the virtual clock, which ends in the year 2554, long before jiff's time does.
#[must_use]
pub fn timestamp(at_ns: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(at_ns)).unwrap_or(Timestamp::MAX)
}
