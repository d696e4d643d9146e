//! What can be detected, and by which thresholds.
//!
//! The defaults are those of published work and of a model run over public captures. Each threshold is
//! a trade: lower, it catches more and slower, and hits busy tenants that do no harm; higher, an
//! attacker reaches more targets before it is stopped.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Measure, OffenceKind};

/// One number that a detector decides by. What it counts is counted per source: an IPv4 address or an
/// IPv6 /64; hosts and ports count once each, however often they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Threshold {
    /// Hosts tried without an answer within five minutes.
    HostsPerWindow,
    /// Hosts tried without an answer within an hour (for mail: mail hosts, answered or not).
    HostsPerHour,
    /// The same within a day.
    HostsPerDay,
    /// Share of what was tried that did not answer, in percent.
    FailedPercent,
    /// Hosts tried on service ports without an answer within five minutes; a host counts once for each of
    /// these ports.
    ServiceHostsPerWindow,
    /// The same within an hour.
    ServiceHostsPerHour,
    /// Share of what was tried on service ports that did not answer, in percent.
    ServiceFailedPercent,
    /// Ports of one host tried without an answer within five minutes (for block and stealth scans: of all hosts
    /// together).
    PortsPerWindow,
    /// The same below port 1024, where a scan looks first and an application seldom.
    LowPortsPerWindow,
    /// Ports of one host tried without an answer within an hour.
    PortsPerHour,
    /// Ports of hosts tried without an answer within an hour that make [`SustainedFailedPercent`] enough.
    SustainedPortsPerHour,
    /// Share of them that did not answer, in percent.
    SustainedFailedPercent,
    /// Contacts, answered or not, within five minutes or an hour, of a source that ends most of those that are answered
    /// without having sent anything.
    ProbingContacts,
    /// Share of them that did not answer, in percent.
    ProbingFailedPercent,
    /// Share of the ports of one host tried by UDP that did not answer, in percent.
    UdpFailedPercent,
    /// Connections opened per second, over one and a half times those answered, that are still normal.
    SynsPerSecond,
    /// Datagrams sent per second, over those answered, that are still normal.
    PacketsPerSecond,
    /// How many over the normal rate, summed up, are a flood.
    Excess,
    /// New mail connections within a minute.
    ConnectionsPerMinute,
    /// New mail connections within a day.
    ConnectionsPerDay,
    /// Listed hosts contacted within an hour.
    ContactsPerHour,
    /// How many times its baseline a tenant's rate reaches.
    TimesBaseline,
    /// How much of the uplinks' capacity is in use, in percent.
    UplinkLoadPercent,
    /// How many minutes a rise lasts.
    Minutes,
}

use Threshold::{
    ConnectionsPerDay, ConnectionsPerMinute, ContactsPerHour, Excess, FailedPercent, HostsPerDay,
    HostsPerHour, HostsPerWindow, LowPortsPerWindow, Minutes, PacketsPerSecond, PortsPerHour, PortsPerWindow,
    ProbingContacts, ProbingFailedPercent, ServiceFailedPercent, ServiceHostsPerHour, ServiceHostsPerWindow,
    SustainedFailedPercent, SustainedPortsPerHour, SynsPerSecond, TimesBaseline, UdpFailedPercent,
    UplinkLoadPercent,
};

/// What is known of a detector before anything is configured.
struct Detector {
    measure: Measure,
    lasts: Duration,
    thresholds: &'static [Limits],
}

/// A threshold's default, and the least and the most that it may be set to.
type Limits = (Threshold, u32, u32, u32);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

impl OffenceKind {
    const fn detector(self) -> Detector {
        const MOST: u32 = 1_000_000;
        let (measure, lasts, thresholds): (_, _, &[Limits]) = match self {
            Self::ScanSensitive => (
                Measure::Quarantine,
                HOUR,
                &[
                    (HostsPerWindow, 24, 4, MOST),
                    (HostsPerHour, 48, 4, MOST),
                    (HostsPerDay, 100, 4, MOST),
                    (FailedPercent, 25, 1, 100),
                ],
            ),
            Self::ScanHorizontal => (
                Measure::Slow,
                HOUR,
                &[
                    (HostsPerWindow, 64, 4, MOST),
                    (HostsPerHour, 128, 4, MOST),
                    (FailedPercent, 65, 1, 100),
                    (ServiceHostsPerWindow, 48, 4, MOST),
                    (ServiceHostsPerHour, 96, 4, MOST),
                    (ServiceFailedPercent, 25, 1, 100),
                    (ProbingContacts, 64, 16, MOST),
                    (ProbingFailedPercent, 25, 1, 100),
                ],
            ),
            Self::ScanBlock => (
                Measure::Slow,
                HOUR,
                &[
                    (PortsPerWindow, 80, 4, MOST),
                    (PortsPerHour, 256, 4, MOST),
                    (FailedPercent, 75, 1, 100),
                    (SustainedPortsPerHour, 640, 4, MOST),
                    (SustainedFailedPercent, 66, 1, 100),
                    (ProbingContacts, 64, 16, MOST),
                    (ProbingFailedPercent, 25, 1, 100),
                ],
            ),
            Self::ScanVertical => (
                Measure::Quarantine,
                HOUR,
                &[
                    (LowPortsPerWindow, 20, 4, MOST),
                    (PortsPerWindow, 32, 4, MOST),
                    (PortsPerHour, 96, 4, MOST),
                    (FailedPercent, 25, 1, 100),
                    (UdpFailedPercent, 50, 1, 100),
                ],
            ),
            Self::ScanStealth => (Measure::Quarantine, HOUR, &[(PortsPerWindow, 20, 4, MOST)]),
            Self::ScanPing => (
                Measure::Quarantine,
                HOUR,
                &[(HostsPerWindow, 64, 4, MOST), (HostsPerHour, 128, 4, MOST), (FailedPercent, 25, 1, 100)],
            ),
            Self::ScanUdp => (
                Measure::Slow,
                HOUR,
                &[
                    (HostsPerWindow, 64, 4, MOST),
                    (HostsPerHour, 128, 4, MOST),
                    (FailedPercent, 65, 1, 100),
                    (ServiceHostsPerWindow, 48, 4, MOST),
                    (ServiceHostsPerHour, 96, 4, MOST),
                    (ServiceFailedPercent, 25, 1, 100),
                ],
            ),
            Self::SynFlood => (
                Measure::DropSyn,
                Duration::from_secs(600),
                &[(SynsPerSecond, 50, 1, 1_000_000), (Excess, 500, 1, 100_000_000)],
            ),
            Self::UdpFlood => (
                Measure::DropUdp,
                Duration::from_secs(600),
                &[(PacketsPerSecond, 2_000, 1, 100_000_000), (Excess, 10_000, 1, 1_000_000_000)],
            ),
            Self::BulkMail => (Measure::CloseSmtp, DAY, &[(HostsPerHour, 50, 1, MOST)]),
            Self::SmtpRate => (
                Measure::CloseSmtp,
                HOUR,
                &[(ConnectionsPerMinute, 60, 1, 1_000_000), (ConnectionsPerDay, 2_000, 1, 100_000_000)],
            ),
            Self::ListedContact => (Measure::None, HOUR, &[(ContactsPerHour, 1, 1, MOST)]),
            Self::SuddenRise => (
                Measure::None,
                HOUR,
                &[(TimesBaseline, 4, 2, 1_000), (UplinkLoadPercent, 80, 1, 100), (Minutes, 5, 1, 60)],
            ),
        };
        Detector { measure, lasts, thresholds }
    }

    /// What is done to the source unless configured otherwise.
    pub(super) const fn default_measure(self) -> Measure {
        self.detector().measure
    }

    /// For how long.
    pub(super) const fn default_duration(self) -> Duration {
        self.detector().lasts
    }

    /// The least and the most of a measure's duration.
    pub(super) const DURATIONS: RangeInclusive<Duration> = MINUTE..=Duration::from_secs(30 * 86_400);

    /// Its thresholds, each with its default and what it may be set to.
    pub(super) fn thresholds(self) -> impl Iterator<Item = (Threshold, u32, RangeInclusive<u32>)> {
        let limits = self.detector().thresholds.iter();
        limits.map(|&(threshold, default, least, most)| (threshold, default, least..=most))
    }
}

impl Threshold {
    /// As the config writes it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            HostsPerWindow => "hosts_per_5_minutes",
            HostsPerHour => "hosts_per_hour",
            HostsPerDay => "hosts_per_day",
            FailedPercent => "failed_percent",
            PortsPerWindow => "ports_per_5_minutes",
            ServiceHostsPerWindow => "service_hosts_per_5_minutes",
            ServiceHostsPerHour => "service_hosts_per_hour",
            ServiceFailedPercent => "service_failed_percent",
            LowPortsPerWindow => "low_ports_per_5_minutes",
            PortsPerHour => "ports_per_hour",
            SustainedPortsPerHour => "sustained_ports_per_hour",
            SustainedFailedPercent => "sustained_failed_percent",
            ProbingContacts => "probing_contacts",
            ProbingFailedPercent => "probing_failed_percent",
            UdpFailedPercent => "udp_failed_percent",
            SynsPerSecond => "syns_per_second",
            PacketsPerSecond => "packets_per_second",
            Excess => "excess",
            ConnectionsPerMinute => "connections_per_minute",
            ConnectionsPerDay => "connections_per_day",
            ContactsPerHour => "contacts_per_hour",
            TimesBaseline => "times_baseline",
            UplinkLoadPercent => "uplink_load_percent",
            Minutes => "minutes",
        }
    }

    /// The threshold over a longer time that is of no use unless it is at least as large.
    pub(super) const fn longer(self) -> Option<Self> {
        match self {
            HostsPerWindow => Some(HostsPerHour),
            HostsPerHour => Some(HostsPerDay),
            ServiceHostsPerWindow => Some(ServiceHostsPerHour),
            LowPortsPerWindow => Some(PortsPerWindow),
            PortsPerWindow => Some(PortsPerHour),
            ConnectionsPerMinute => Some(ConnectionsPerDay),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lie_within_their_limits() {
        for kind in OffenceKind::ALL {
            assert!(OffenceKind::DURATIONS.contains(&kind.default_duration()));
            for (threshold, default, range) in kind.thresholds() {
                assert!(range.contains(&default), "{}.{}", kind.label(), threshold.label());
            }
        }
    }
}
