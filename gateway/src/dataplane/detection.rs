//! Detection as the controller sees it: rules in, offences out.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use bytemuck::Zeroable as _;
use gateway_ebpf::abi::map;
use gateway_ebpf::detect::contact;
use gateway_ebpf::detect::hash::Keys;
use gateway_ebpf::detect::record::{Detection, REPORTS, Report};
use gateway_ebpf::detect::rules::{CLASSES, Rule, Rules};
use gateway_ebpf::detect::source::Source;
use gateway_ebpf::detect::{Kind, Measure, Mode};

use super::error::DataplaneError;
use super::mapped::MappedArray;
use super::tables::Maps;
use crate::config::Config;

/// What a bank says of detection.
pub(super) struct DetectionImage {
    /// By class of tenants.
    pub(super) rules: Vec<Rules>,
    /// Sources to make room for.
    pub(super) sources: u32,
    /// Contacts to make room for.
    pub(super) contacts: u32,
}

impl DetectionImage {
    /// Compiles the detectors' settings.
    pub(super) fn compile(config: &Config) -> Self {
        Self { rules: vec![default_rules()], sources: sources(config), contacts: 524_288 }
    }
}

/// Sources that the tenants have at most, each prefix counted for 256 (an IPv6 prefix holds more /64s
/// than anybody uses), and no more than the table's limit.
fn sources(config: &Config) -> u32 {
    let sources = |prefix: &ipnetwork::IpNetwork| match prefix {
        ipnetwork::IpNetwork::V4(prefix) => 1 << (32 - prefix.prefix()).min(8),
        ipnetwork::IpNetwork::V6(prefix) => 1 << 64_u8.saturating_sub(prefix.prefix()).min(8),
    };
    let all: u32 = config.tenants.iter().flat_map(|tenant| &tenant.prefixes).map(sources).sum();
    all.min(10_000)
}

fn default_rules() -> Rules {
    let mut rules = Rules::default();
    let mut set = |kind: Kind, measure: Measure, failed_percent: u16, limits: [u32; 4]| {
        rules.0[kind.slot()] = Rule {
            mode: Mode::Enforce as u8,
            measure: measure as u8,
            failed_percent,
            duration_s: 3_600,
            limits,
        };
    };
    set(Kind::ScanSensitive, Measure::Quarantine, 25, [24, 48, 100, 0]);
    set(Kind::ScanHorizontal, Measure::Slow, 65, [64, 128, 0, 0]);
    set(Kind::ScanBlock, Measure::Slow, 90, [256, 512, 0, 0]);
    set(Kind::ScanVertical, Measure::Quarantine, 50, [32, 96, 0, 20]);
    set(Kind::ScanStealth, Measure::Quarantine, 0, [20, 0, 0, 0]);
    set(Kind::ScanPing, Measure::Quarantine, 70, [64, 128, 0, 0]);
    set(Kind::ScanUdp, Measure::Slow, 80, [64, 256, 0, 0]);
    set(Kind::SynFlood, Measure::DropSyn, 0, [50, 500, 0, 0]);
    set(Kind::UdpFlood, Measure::DropUdp, 0, [2_000, 10_000, 0, 0]);
    set(Kind::BulkMail, Measure::CloseSmtp, 0, [0, 50, 0, 0]);
    set(Kind::SmtpRate, Measure::CloseSmtp, 0, [60, 0, 2_000, 0]);
    set(Kind::ListedContact, Measure::None, 0, [0, 1, 0, 0]);
    rules
}

/// The maps of detection.
pub(super) struct DetectionTables {
    rules: MappedArray<Rules>,
    detection: MappedArray<Detection>,
    sources: MappedArray<Source>,
    contacts: MappedArray<contact::Set>,
    reports: MappedArray<Report>,
    /// Number of the last report that was read.
    read: u64,
}

impl DetectionTables {
    pub(super) fn new(maps: &mut Maps<'_>) -> Result<Self, DataplaneError> {
        Ok(Self {
            rules: maps.array(map::RULES)?,
            detection: maps.array(map::DETECTION)?,
            sources: maps.array(map::SOURCES)?,
            contacts: maps.array(map::CONTACTS)?,
            reports: maps.array(map::REPORTS)?,
            read: 0,
        })
    }

    /// Draws the keys of new tables.
    pub(super) fn sign(&self) {
        // The standard library's hasher is keyed from the kernel's random numbers once per thread.
        let random = RandomState::new();
        let keys = Keys(std::array::from_fn(|index| random.hash_one(index)));
        self.detection.set(0, &Detection { keys, ..Detection::zeroed() });
    }

    /// Writes a bank's rules.
    pub(super) fn write_rules(&self, bank: u32, image: &DetectionImage) {
        self.rules.set_all(bank * CLASSES, &image.rules);
    }

    /// Reports that came since the last time, and how many of them were overwritten before.
    pub(super) fn reports(&mut self) -> (Vec<Report>, u64) {
        let word = std::mem::offset_of!(Detection, reports) / 8;
        let last = self.detection.words(0)[word].load(Acquire);
        let first = (self.read + 1).max((last + 1).saturating_sub(u64::from(REPORTS)));
        let mut lost = first - (self.read + 1).min(first);
        let mut reports = Vec::new();
        for number in first..=last {
            let report = self.reports.get((number % u64::from(REPORTS)) as u32);
            if report.number == number { reports.push(report) } else { lost += 1 }
        }
        self.read = last;
        (reports, lost)
    }
}
