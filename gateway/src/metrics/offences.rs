//! Offences, measures in force, and how recording them goes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;

use super::family::Family;
use crate::config::{Config, DetectMode, Measure, OffenceKind};
use crate::controller::Observation;
use crate::dataplane::DetectionCounters;
use crate::detect::{OffenceTally, kind_label};
use crate::store::hex;

/// Only tenants that offended have series, so there are few whatever `metrics.top_tenants` says.
pub(super) fn write(out: &mut impl Write, observation: &Observation, now: Timestamp) -> io::Result<()> {
    let Observation { policy, offences: tally, ledger, .. } = observation;
    let config = &policy.config;
    let mut offences = Family::new("fairway_offences_total", "Offences that detectors saw.", "counter");
    for (tenant, kind, count) in tally.counts() {
        if config.tenants.binary_search_by(|known| known.id.as_str().cmp(tenant)).is_ok() {
            offences.sample(out, &[("tenant", tenant), ("kind", kind.label())], count)?;
        }
    }
    let mut measures =
        Family::new("fairway_measures", "Measures in force against sources and tenants.", "gauge");
    for ((kind, measure), count) in in_force(config, tally, now) {
        measures.sample(out, &[("kind", kind_label(kind)), ("measure", measure.label())], count)?;
    }
    let held = u64::from(observation.are_measures_held);
    let help = "1 while an outage upstream holds new measures back.";
    Family::new("fairway_measures_held", help, "gauge").sample(out, &[], held)?;
    let mut cases = Family::new("fairway_cases", "Cases that are open.", "gauge");
    for ((class, severity), count) in &observation.cases {
        cases.sample(out, &[("class", class.label()), ("severity", severity.label())], *count)?;
    }
    let help = "Restorations that wait for an approver.";
    let waiting = observation.approvals_waiting;
    Family::new("fairway_approvals_waiting", help, "gauge").sample(out, &[], waiting)?;
    if let Some(counters) = &observation.detection {
        write_detection(out, counters)?;
    }
    if let Some(head) = ledger.head {
        Family::new("fairway_ledger_entries_total", "Entries of the ledger on the disk.", "counter").sample(
            out,
            &[],
            head.number,
        )?;
        let help = "Hash of the ledger's last entry: a copy of it elsewhere witnesses the chain.";
        Family::new("fairway_ledger_head_info", help, "gauge").sample(
            out,
            &[("hash", &hex(&head.hash))],
            1,
        )?;
    }
    for (name, help, kind, value) in [
        (
            "fairway_ledger_losses",
            "Losses of the ledger that no operator has acknowledged.",
            "gauge",
            ledger.losses.len() as u64,
        ),
        (
            "fairway_ledger_waiting_entries",
            "Entries of the ledger not on the disk yet.",
            "gauge",
            ledger.waiting as u64,
        ),
        (
            "fairway_ledger_lost_entries_total",
            "Entries of the ledger that never will be.",
            "counter",
            ledger.lost,
        ),
        (
            "fairway_ledger_lost_captures_total",
            "Offences whose packets could not be kept.",
            "counter",
            ledger.captures_lost,
        ),
    ] {
        Family::new(name, help, kind).sample(out, &[], value)?;
    }
    Ok(())
}

/// How detection fares: what it sees, and where it sees no more.
fn write_detection(out: &mut impl Write, counters: &DetectionCounters) -> io::Result<()> {
    let DetectionCounters { attempted, answered, throttled, sources_full, crowded, sources, source_places } =
        *counters;
    for (name, help, kind, value) in [
        ("fairway_detection_contacts_total", "New contacts that sources made.", "counter", attempted),
        ("fairway_detection_answered_contacts_total", "Of these, answered.", "counter", answered),
        (
            "fairway_detection_throttled_packets_total",
            "Packets dropped because their source made contacts faster than they were answered.",
            "counter",
            throttled,
        ),
        (
            "fairway_detection_unwatched_contacts_total",
            "Contacts of sources that found no place in the table: policed, but not watched.",
            "counter",
            sources_full,
        ),
        (
            "fairway_detection_crowded_contacts_total",
            "Contacts that pushed out one that might still have been answered: failures do not count for a minute.",
            "counter",
            crowded,
        ),
        ("fairway_detection_sources", "Sources that are watched.", "gauge", sources.into()),
        ("fairway_detection_source_capacity", "Sources that can be.", "gauge", source_places.into()),
    ] {
        Family::new(name, help, kind).sample(out, &[], value)?;
    }
    Ok(())
}

/// How many measures hold, with a zero for each that could.
fn in_force(
    config: &Config,
    tally: &OffenceTally,
    now: Timestamp,
) -> BTreeMap<(Option<OffenceKind>, Measure), u64> {
    let rules = config.detection.classes.iter().flat_map(|class| class.rules());
    let acting = rules.filter(|(_, rule)| rule.mode == DetectMode::Enforce && rule.measure != Measure::None);
    let mut measures: BTreeMap<_, _> = acting.map(|(kind, rule)| ((Some(kind), rule.measure), 0)).collect();
    measures.extend(tally.measures(now));
    measures
}
