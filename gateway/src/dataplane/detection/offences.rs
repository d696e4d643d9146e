//! From the programs' reports to offences.

use std::collections::BTreeMap;

use gateway_ebpf::detect::record::Report;
use gateway_ebpf::detect::source::{Source, track};
use gateway_ebpf::detect::window::WINDOWS_S;
use gateway_ebpf::detect::{Kind, Measure};
use ipnetwork::IpNetwork;

use super::sources::{HeldBySource, address, address_of};
use crate::dataplane::clock::Clock;
use crate::detect::{Count, Offence, Target, Watched, source_of};
use crate::domain::{self, DetectMode, HeldMeasure, OffenceKind};

/// A report as an offence of `tenant`; none if it is not one that this controller knows.
pub(in crate::dataplane) fn offence(report: &Report, tenant: &str, clock: Clock) -> Option<Offence> {
    let number = usize::from(report.kind).checked_sub(1)?;
    let kind = *OffenceKind::ALL.get(number)?;
    let measure = *domain::Measure::OF_SOURCES.get(usize::from(report.measure))?;
    let is_held = report.flags & Report::HELD != 0;
    let is_taken = report.measure != Measure::None as u8;
    Some(Offence {
        at: clock.instant(report.at_ns),
        tenant: tenant.to_owned(),
        source: Some(source(report)),
        kind,
        mode: if is_taken || is_held { DetectMode::Enforce } else { DetectMode::Watch },
        measure,
        until: is_taken.then(|| clock.instant(report.until_ns)),
        lowered_cap: None,
        counters: counters(report, is_held),
        targets: targets(report),
        frames: Vec::new(),
    })
}

fn source(report: &Report) -> IpNetwork {
    source_of(address(report.key))
}

/// What is known of a source at `now_ns`.
pub(in crate::dataplane) fn watched(source: &Source, clock: Clock, now_ns: u64) -> Watched {
    let measures = domain::Measure::OF_SOURCES
        .into_iter()
        .map(|measure| (measure, source.measures_ns[Measure::from(measure).slot()]));
    Watched {
        source: source_of(address(source.key)),
        seen: clock.instant(source.seen_ns),
        measures: measures
            .filter(|(_, until_ns)| *until_ns > now_ns)
            .map(|(measure, until_ns)| (measure, clock.instant(until_ns)))
            .collect(),
        counts: counts(source, clock, now_ns),
        targets: targets_of(&source.targets),
    }
}

/// A measure of `tenant`'s source.
pub(in crate::dataplane) fn held_measure(held: &HeldBySource, tenant: &str, clock: Clock) -> HeldMeasure {
    let measure = domain::Measure::OF_SOURCES.into_iter();
    let measure = measure.zip(Measure::ALL.iter().copied()).find(|(_, measure)| *measure == held.measure);
    HeldMeasure {
        tenant: tenant.to_owned(),
        source: held.source,
        kind: held.kind.and_then(|kind| OffenceKind::ALL.get(kind as usize - 1).copied()),
        measure: measure.map_or(domain::Measure::None, |(measure, _)| measure),
        until: clock.instant(held.until_ns),
    }
}

/// By [`track`].
const TRACKS: [&str; track::COUNT] = [
    "stealth_probes",
    "mail_hosts",
    "listed_contacts",
    "tcp_hosts",
    "tcp_service_ports",
    "tcp_ports",
    "udp_hosts",
    "udp_service_ports",
    "pinged_hosts",
    "sensitive_ports",
];

/// Windows that are still open, the day's aside.
fn counts(source: &Source, clock: Clock, now_ns: u64) -> Vec<Count> {
    let mut counts = Vec::new();
    for (index, (what, track)) in TRACKS.iter().zip(&source.tracks).enumerate() {
        let probed = if index == track::TCP_PORTS { source.probed } else { [0; 2] };
        for ((window, length_s), probed) in track.windows.iter().zip(WINDOWS_S).zip(probed) {
            let start_ns = u64::from(window.start_s) * 1_000_000_000;
            let is_open = now_ns < start_ns + u64::from(length_s) * 1_000_000_000;
            if window.attempted > 0 && is_open {
                counts.push(Count {
                    what: (*what).to_owned(),
                    window_seconds: length_s,
                    since: clock.instant(start_ns),
                    attempted: window.attempted,
                    answered: window.answered,
                    rejected: window.rejected,
                    probed,
                });
            }
        }
    }
    counts
}

/// What was counted, by name.
fn counters(report: &Report, is_held: bool) -> BTreeMap<String, u64> {
    let window = &report.window;
    let kind = Kind::from_number(report.kind);
    let (what, detail) = match kind {
        _ if report.flags & Report::ON_SERVICES != 0 => ("service_ports", "distinct_ports"),
        Some(Kind::ScanVertical) => ("ports", "low_ports_attempted"),
        Some(Kind::ScanBlock | Kind::ScanStealth | Kind::ScanSensitive) => ("host_ports", "distinct_ports"),
        Some(Kind::SynFlood) => ("host_ports", "excess_syns"),
        Some(Kind::UdpFlood) => ("hosts", "excess_datagrams"),
        Some(Kind::SmtpRate) => ("connections", "connections_in_a_minute"),
        _ => ("hosts", "distinct_ports"),
    };
    let named = [
        (format!("{what}_attempted"), u64::from(window.attempted)),
        (format!("{what}_answered"), u64::from(window.answered)),
        (format!("{what}_rejected"), u64::from(window.rejected)),
        (detail.to_owned(), report.detail),
        ("contacts_probed".to_owned(), u64::from(report.probed)),
        (Offence::HELD.to_owned(), u64::from(is_held)),
    ];
    named.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The last targets, the oldest first.
fn targets(report: &Report) -> Vec<Target> {
    targets_of(&report.targets)
}

fn targets_of(targets: &[gateway_ebpf::detect::source::Target]) -> Vec<Target> {
    let mut kept: Vec<_> = targets.iter().filter(|target| target.protocol != 0).collect();
    kept.sort_by_key(|target| target.second);
    let target = |target: &&gateway_ebpf::detect::source::Target| Target {
        address: address_of([target.high, target.low]),
        port: matches!(target.protocol, 6 | 17).then_some(target.port),
    };
    kept.iter().map(target).collect()
}
