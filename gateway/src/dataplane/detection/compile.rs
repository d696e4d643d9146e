//! `[detect]` as the programs keep it.

use gateway_ebpf::detect::rules::{Rule, Rules};
use gateway_ebpf::detect::{Kind, Measure, Mode};
use ipnetwork::IpNetwork;

use crate::config::{self, Config, Threshold};
use crate::domain::OffenceKind;
use crate::policy::Effective;

/// What a bank says of detection, lists of networks aside.
pub(in crate::dataplane) struct DetectionImage {
    /// By class of tenants.
    pub(super) rules: Vec<Rules>,
    /// Sources to make room for.
    pub(in crate::dataplane) sources: u32,
    /// Contacts to make room for.
    pub(in crate::dataplane) contacts: u32,
    /// Time that one measure takes up of what the breaker allows.
    pub(super) breaker_interval_ns: u64,
    /// A minute's worth.
    pub(super) breaker_burst_ns: u64,
    /// Sources that a detector leaves alone.
    pub(super) left_alone: Vec<(Kind, IpNetwork)>,
}

const MINUTE_NS: u64 = 60_000_000_000;

impl DetectionImage {
    /// Compiles the detectors' settings.
    pub(in crate::dataplane) fn compile(policy: &Effective) -> Self {
        let config = policy.config();
        let detection = &config.detection;
        let breaker_interval_ns = MINUTE_NS / u64::from(detection.max_measures_per_minute.max(1));
        Self {
            rules: detection.classes.iter().map(rules).collect(),
            sources: sources(config),
            contacts: detection.contacts,
            breaker_interval_ns,
            breaker_burst_ns: MINUTE_NS - breaker_interval_ns,
            left_alone: left_alone(policy).map(|(kind, network, _)| (kind, network)).collect(),
        }
    }

    /// Whether anything is looked for.
    pub(in crate::dataplane) fn is_on(&self) -> bool {
        self.rules.iter().flat_map(|rules| &rules.0).any(Rule::is_on)
    }
}

/// Every source that a kind is not looked for in, with when that ends.
pub(in crate::dataplane) fn left_alone(
    policy: &Effective,
) -> impl Iterator<Item = (Kind, IpNetwork, jiff::Timestamp)> {
    policy.allowances().flat_map(|allowance| {
        let all = OffenceKind::ALL.into_iter().filter(|_| allowance.kinds.is_empty());
        let kinds = all.chain(allowance.kinds.iter().copied()).map(Kind::from);
        kinds.flat_map(move |kind| {
            allowance.sources.iter().map(move |source| (kind, *source, allowance.expires))
        })
    })
}

/// Sources that the tenants have at most, each prefix counted for 256 (an IPv6 prefix holds more /64s
/// than anybody uses), and no more than is configured.
fn sources(config: &Config) -> u32 {
    let sources = |prefix: &IpNetwork| match prefix {
        IpNetwork::V4(prefix) => 1_u32 << (32 - prefix.prefix()).min(8),
        IpNetwork::V6(prefix) => 1 << 64_u8.saturating_sub(prefix.prefix()).min(8),
    };
    let most = config.detection.sources;
    // Each has one at least: with as many prefixes, there is no need to look at the others.
    let all = config.tenants.iter().flat_map(|tenant| &tenant.prefixes).take(most as usize).map(sources);
    all.fold(0, u32::saturating_add).min(most)
}

fn rules(class: &config::DetectClass) -> Rules {
    let mut rules = Rules::default();
    // The controller judges a sudden rise by itself.
    for (kind, rule) in class.rules().filter(|(kind, _)| *kind != OffenceKind::SuddenRise) {
        rules.0[Kind::from(kind).slot()] = Rule {
            mode: Mode::from(rule.mode) as u8,
            measure: Measure::from(rule.measure) as u8,
            failed_percent: percent(rule, &[Threshold::FailedPercent]),
            other_failed_percent: percent(
                rule,
                &[
                    Threshold::ServiceFailedPercent,
                    Threshold::SustainedFailedPercent,
                    Threshold::UdpFailedPercent,
                ],
            ),
            probe_failed_percent: percent(rule, &[Threshold::ProbingFailedPercent]),
            reserved: [0; 3],
            duration_s: u32::try_from(rule.duration.as_secs()).unwrap_or(u32::MAX),
            limits: limits(kind, rule),
        };
    }
    rules
}

/// The share that one of these thresholds, of which a kind has one at most, asks for.
fn percent(rule: &config::Rule, thresholds: &[Threshold]) -> u8 {
    let percent = thresholds.iter().find_map(|threshold| rule.threshold(*threshold)).unwrap_or(0);
    u8::try_from(percent).unwrap_or(u8::MAX)
}

/// Limits in the places that the programs look for them; see [`Rule::SHORT`] and the others.
fn limits(kind: OffenceKind, rule: &config::Rule) -> [u32; 8] {
    use Threshold::{
        ConnectionsPerDay, ConnectionsPerMinute, ContactsPerHour, Excess, HostsPerDay, HostsPerHour,
        HostsPerWindow, LowPortsPerWindow, PacketsPerSecond, PortsPerHour, PortsPerWindow, ProbingContacts,
        ServiceHostsPerHour, ServiceHostsPerWindow, SustainedPortsPerHour, SynsPerSecond,
    };
    let of = |threshold| rule.threshold(threshold).unwrap_or(0);
    let [short, hour, day] = match kind {
        OffenceKind::ScanVertical | OffenceKind::ScanStealth | OffenceKind::ScanBlock => {
            [of(PortsPerWindow), of(PortsPerHour), 0]
        }
        OffenceKind::SynFlood => [of(SynsPerSecond), of(Excess), 0],
        OffenceKind::UdpFlood => [of(PacketsPerSecond), of(Excess), 0],
        OffenceKind::SmtpRate => [of(ConnectionsPerMinute), 0, of(ConnectionsPerDay)],
        OffenceKind::ListedContact => [0, of(ContactsPerHour), 0],
        OffenceKind::ScanSensitive
        | OffenceKind::ScanHorizontal
        | OffenceKind::ScanPing
        | OffenceKind::ScanUdp
        | OffenceKind::BulkMail
        | OffenceKind::SuddenRise => [of(HostsPerWindow), of(HostsPerHour), of(HostsPerDay)],
    };
    let mut limits = [0; 8];
    limits[Rule::SHORT] = short;
    limits[Rule::HOUR] = hour;
    limits[Rule::DAY] = day;
    // 0 where the kind has no such threshold.
    limits[Rule::LOW_PORTS] = of(LowPortsPerWindow);
    limits[Rule::SERVICE_SHORT] = of(ServiceHostsPerWindow);
    limits[Rule::SERVICE_HOUR] = of(ServiceHostsPerHour);
    limits[Rule::SUSTAINED_HOUR] = of(SustainedPortsPerHour);
    limits[Rule::PROBES] = of(ProbingContacts);
    limits
}
