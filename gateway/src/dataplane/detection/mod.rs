//! Detection as the controller sees it: rules in, offences out, measures taken and lifted by hand.
//!
//! The programs judge by themselves. The controller only confirms what they cannot: a condition that has
//! to hold for a while ([`CONFIRM_NS`](gateway_ebpf::detect::rules::CONFIRM_NS)), in a source that sends
//! nothing any more.

mod compile;
mod offences;
mod sources;

pub(super) use compile::{DetectionImage, left_alone};
pub(super) use offences::{held_measure, offence, watched};
pub(super) use sources::HeldBySource;

use std::hash::{BuildHasher as _, RandomState};
use std::mem::offset_of;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use bytemuck::Zeroable as _;
use gateway_ebpf::abi::map;
use gateway_ebpf::detect::contact;
use gateway_ebpf::detect::hash::Keys;
use gateway_ebpf::detect::record::{self, Detection, REPORTS, Report};
use gateway_ebpf::detect::rules::{CLASSES, HELD_FOR_NS, Rules};
use gateway_ebpf::detect::source::Source;
use gateway_ebpf::detect::{Kind, Measure};
use gateway_ebpf::gcra;
use ipnetwork::IpNetwork;

use super::error::DataplaneError;
use super::mapped::MappedArray;
use super::tables::Maps;

/// The maps of detection.
pub(super) struct DetectionTables {
    rules: MappedArray<Rules>,
    detection: MappedArray<Detection>,
    sources: MappedArray<Source>,
    contacts: MappedArray<contact::Set>,
    reports: MappedArray<Report>,
    /// Sources that a detector leaves alone, under the policy in force.
    left_alone: Vec<(Kind, IpNetwork)>,
}

/// How detection fares, since the tables were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetectionCounters {
    /// New contacts.
    pub attempted: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Packets that were dropped because their source made contacts faster than they were answered.
    pub throttled: u64,
    /// Contacts of sources that found no place in the table: policed, but not watched.
    pub sources_full: u64,
    /// Contacts that pushed out one that might still have been answered.
    pub crowded: u64,
    /// Sources in the table.
    pub sources: u32,
    /// Places in the table.
    pub source_places: u32,
}

/// What the programs found out about a source under judgement.
pub(super) struct Judged {
    pub(super) slot: u32,
    pub(super) until_ns: u64,
}

impl DetectionTables {
    pub(super) fn new(maps: &mut Maps<'_>) -> Result<Self, DataplaneError> {
        Ok(Self {
            rules: maps.array(map::RULES)?,
            detection: maps.array(map::DETECTION)?,
            sources: maps.array(map::SOURCES)?,
            contacts: maps.array(map::CONTACTS)?,
            reports: maps.array(map::REPORTS)?,
            left_alone: Vec::new(),
        })
    }

    /// Draws the keys of new tables.
    pub(super) fn sign(&self) {
        // The standard library's hasher has keys from the kernel's random numbers.
        let random = RandomState::new();
        let keys = Keys(std::array::from_fn(|index| random.hash_one(index)));
        self.detection.set(0, &Detection { keys, ..Detection::zeroed() });
    }

    /// Writes a bank's rules, and the breaker, which is the same for all banks.
    pub(super) fn write(&mut self, bank: u32, image: &DetectionImage) {
        self.rules.set_all(bank * CLASSES, &image.rules);
        self.word(offset_of!(Detection, breaker_interval_ns)).store(image.breaker_interval_ns, Relaxed);
        self.word(offset_of!(Detection, breaker_burst_ns)).store(image.breaker_burst_ns, Relaxed);
        self.left_alone.clone_from(&image.left_alone);
    }

    fn word(&self, offset: usize) -> &std::sync::atomic::AtomicU64 {
        &self.detection.words(0)[offset / 8]
    }

    /// Holds all measures until then: an outage upstream looks like everybody's scan.
    pub(super) fn freeze(&self, until_ns: u64) {
        self.word(offset_of!(Detection, frozen_until_ns)).store(until_ns, Relaxed);
    }

    /// Reports that came since the last time, and how many of them were overwritten before they were read.
    pub(super) fn reports(&self) -> (Vec<Report>, u64) {
        let last = self.word(offset_of!(Detection, reports)).load(Acquire);
        let next = self.word(offset_of!(Detection, read)).load(Relaxed) + 1;
        let first = next.max((last + 1).saturating_sub(u64::from(REPORTS)));
        let mut lost = first - next;
        let mut reports = Vec::new();
        for number in first..=last {
            let report = self.reports.get((number % u64::from(REPORTS)) as u32);
            if report.number == number { reports.push(report) } else { lost += 1 }
        }
        // Kept in the kernel, so that the next controller goes on from here.
        self.word(offset_of!(Detection, read)).store(last, Relaxed);
        (reports, lost)
    }

    /// Judges sources in which a condition has been met for long enough, as the programs would at their
    /// next packet. `class_of` finds the rules of a slot's tenant.
    pub(super) fn confirm(&self, bank: u32, now_ns: u64, class_of: impl Fn(u32) -> u32) -> Vec<Judged> {
        let mut judged = Vec::new();
        let crowded_ns = self.detection.get(0).crowded_ns;
        let is_crowded = |kind| {
            record::regions_of(kind).iter().any(|region| record::is_crowded(crowded_ns[*region], now_ns))
        };
        for index in self.occupied() {
            let armed = self.sources.words(index)[offset_of!(Source, armed_ns) / 8..].iter().take(KINDS);
            if armed.into_iter().all(|word| word.load(Relaxed) == 0) {
                continue;
            }
            let mut source = self.sources.get(index);
            let rules = self.rules.get(bank * CLASSES + class_of(source.slot) % CLASSES);
            for kind in gateway_ebpf::detect::rules::CONFIRMED.into_iter().filter(|kind| !is_crowded(*kind)) {
                let rule = rules.get(kind);
                let offends = gateway_ebpf::detect::rules::is_offence(&mut source, rule, kind, true, now_ns);
                if offends {
                    judged.extend(self.offend(index, &source, rule, kind, now_ns));
                }
            }
        }
        judged
    }

    /// What the programs do about an offence, done from here.
    fn offend(
        &self,
        index: u32,
        source: &Source,
        rule: &gateway_ebpf::detect::rules::Rule,
        kind: Kind,
        now_ns: u64,
    ) -> Option<Judged> {
        let until_ns = rule.until_ns(now_ns);
        let words = self.sources.words(index);
        words[offset_of!(Source, reported_ns) / 8 + kind.slot()].store(until_ns, Relaxed);
        words[offset_of!(Source, armed_ns) / 8 + kind.slot()].store(0, Relaxed);
        let (first, count) = Source::words_of(kind);
        words[first..first + count].iter().for_each(|word| word.store(0, Relaxed));
        let address = sources::address(source.key);
        if self.left_alone.iter().any(|(spared, network)| *spared == kind && network.contains(address)) {
            return None;
        }
        let due = rule.measure();
        let is_held = due != Measure::None && !self.breaker_admits(now_ns);
        let measure = if is_held { Measure::None } else { due };
        if is_held {
            words[offset_of!(Source, reported_ns) / 8 + kind.slot()].store(now_ns + HELD_FOR_NS, Relaxed);
        }
        if measure != Measure::None {
            words[offset_of!(Source, measures_ns) / 8 + measure.slot()].fetch_max(until_ns, Relaxed);
        }
        self.report(source, rule, kind, measure, is_held, now_ns);
        (measure != Measure::None).then_some(Judged { slot: source.slot, until_ns })
    }

    fn breaker_admits(&self, now_ns: u64) -> bool {
        let load = |offset| self.word(offset).load(Relaxed);
        let interval_ns = load(offset_of!(Detection, breaker_interval_ns));
        if now_ns < load(offset_of!(Detection, frozen_until_ns)) {
            return false;
        }
        let arrival_ns = load(offset_of!(Detection, breaker_ns));
        let burst_ns = load(offset_of!(Detection, breaker_burst_ns));
        interval_ns == 0
            || gcra::admit(arrival_ns, now_ns, interval_ns, burst_ns).is_some_and(|next_ns| {
                let word = self.word(offset_of!(Detection, breaker_ns));
                word.compare_exchange(arrival_ns, next_ns, SeqCst, Relaxed).is_ok()
            })
    }

    fn report(
        &self,
        source: &Source,
        rule: &gateway_ebpf::detect::rules::Rule,
        kind: Kind,
        measure: Measure,
        is_held: bool,
        at_ns: u64,
    ) {
        let number = self.word(offset_of!(Detection, reports)).fetch_add(1, SeqCst) + 1;
        let (window, detail, rests_on) = record::evidence(source, rule, kind);
        let report = Report {
            number,
            at_ns,
            until_ns: rule.until_ns(at_ns),
            key: source.key,
            slot: source.slot,
            kind: kind as u8,
            measure: measure as u8,
            flags: rests_on | if is_held { Report::HELD } else { 0 },
            reserved: 0,
            window,
            detail,
            probed: record::probed(source, kind),
            reserved_too: 0,
            targets: source.targets,
        };
        self.reports.set((number % u64::from(REPORTS)) as u32, &report);
    }

    /// How detection fares.
    pub(super) fn counters(&self) -> DetectionCounters {
        let state = self.detection.get(0);
        DetectionCounters {
            attempted: state.attempted,
            answered: state.answered,
            throttled: state.throttled,
            sources_full: state.sources_full,
            crowded: state.crowded.iter().sum(),
            sources: self.occupied().count() as u32,
            source_places: self.sources.len(),
        }
    }
}

const KINDS: usize = gateway_ebpf::detect::KIND_SLOTS;
