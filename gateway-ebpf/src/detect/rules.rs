//! Thresholds, and when they are met.
//!
//! Every condition asks for a number of failures *and* for a share of them, so that neither the busy nor
//! the unlucky meet it; those on hosts that may still answer have to hold for [`CONFIRM_NS`].

use bytemuck::{Pod, Zeroable};

use super::source::{Source, track};
use super::window::Window;
use super::{KIND_SLOTS, Kind, Measure, Mode};

/// A condition on hosts that may still answer must hold this long: a SYN is repeated after one second,
/// and after two more (RFC 6298, 2), so an answer that comes at all has mostly come.
pub const CONFIRM_NS: u64 = 3_000_000_000;

/// An offence that the breaker held back is judged anew after this time, not after its whole duration: who
/// goes on is still stopped.
pub const HELD_FOR_NS: u64 = 60_000_000_000;

/// Classes of tenants, each with rules of its own; 0 is the default one.
pub const CLASSES: u32 = 16;

/// One detector's settings for one class of tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Rule {
    /// [`Mode`] by number.
    pub mode: u8,
    /// [`Measure`] by number.
    pub measure: u8,
    /// Least share of contacts that failed, in percent.
    pub failed_percent: u8,
    /// The same for [`Rule::SERVICE_SHORT`], [`Rule::SERVICE_HOUR`] and [`Rule::SUSTAINED_HOUR`]; of
    /// vertical scans: over UDP.
    pub other_failed_percent: u8,
    /// The same for [`Rule::PROBES`].
    pub probe_failed_percent: u8,
    /// Padding.
    pub reserved: [u8; 3],
    /// How long its measure holds, and it is not reported again.
    pub duration_s: u32,
    /// What the kind counts, by window; see [`Rule::SHORT`] and the others. 0: not judged by it.
    pub limits: [u32; 8],
}

impl Rule {
    /// Within five minutes; of floods: fine per second; of `smtp_rate`: a minute.
    pub const SHORT: usize = 0;
    /// Within an hour; of floods: the excess.
    pub const HOUR: usize = 1;
    /// Within a day.
    pub const DAY: usize = 2;
    /// Of vertical scans: ports below 1,024, within five minutes.
    pub const LOW_PORTS: usize = 3;
    /// Of horizontal and UDP scans: service ports, within five minutes.
    pub const SERVICE_SHORT: usize = 4;
    /// The same within an hour.
    pub const SERVICE_HOUR: usize = 5;
    /// Of block scans: so many within an hour that chance explains a smaller share as well.
    pub const SUSTAINED_HOUR: usize = 6;
    /// Of horizontal and block scans: contacts within five minutes or an hour, answered or not, of a source that
    /// [only probes](Source::is_probing) those who answer.
    pub const PROBES: usize = 7;

    /// Whether it looks at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.mode != Mode::Off as u8
    }

    /// What it does, once its condition is met.
    #[inline(always)]
    #[must_use]
    pub const fn measure(&self) -> Measure {
        if self.mode != Mode::Enforce as u8 {
            return Measure::None;
        }
        match Measure::from_number(self.measure) {
            Some(measure) => measure,
            None => Measure::None,
        }
    }

    /// Until when, if it is met now.
    #[inline(always)]
    #[must_use]
    pub const fn until_ns(&self, now_ns: u64) -> u64 {
        now_ns + self.duration_s as u64 * 1_000_000_000
    }

    /// Whether a window reaches a limit; 0 is none.
    #[inline(always)]
    const fn is_failed(&self, window: &Window, limit: usize, percent: u8) -> bool {
        let least = self.limits[limit & 7];
        least != 0 && window.failed() >= least && window.fails(percent as u32)
    }
}

/// The rules of one class, by [`Kind::slot`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Rules(pub [Rule; KIND_SLOTS]);

impl Rules {
    /// One kind's.
    #[inline(always)]
    #[must_use]
    pub const fn get(&self, kind: Kind) -> &Rule {
        &self.0[kind.slot()]
    }
}

/// Conditions that hosts may still undo by answering.
pub const CONFIRMED: [Kind; 5] =
    [Kind::ScanSensitive, Kind::ScanHorizontal, Kind::ScanBlock, Kind::ScanUdp, Kind::ScanPing];

/// Whether the condition of a kind is met now.
#[inline(always)]
#[must_use]
pub const fn is_met(source: &Source, rule: &Rule, kind: Kind) -> bool {
    match kind {
        Kind::ScanSensitive => {
            is_met_in_any(source, rule, track::SENSITIVE)
                || rule.is_failed(&source.sensitive_day, Rule::DAY, rule.failed_percent)
        }
        Kind::ScanHorizontal => {
            is_met_on_few_ports(source, rule, track::TCP_HOSTS, 0)
                || is_met_on_tcp_services(source, rule)
                || is_met_by_probes(source, rule, track::TCP_HOSTS, true)
        }
        Kind::ScanBlock => {
            let hour = &source.tracks[track::TCP_PORTS].windows[1];
            is_met_in_any(source, rule, track::TCP_PORTS)
                || rule.is_failed(hour, Rule::SUSTAINED_HOUR, rule.other_failed_percent)
                || is_met_by_probes(source, rule, track::TCP_PORTS, false)
        }
        Kind::ScanUdp => {
            is_met_on_few_ports(source, rule, track::UDP_HOSTS, 1) || is_met_on_udp_services(source, rule)
        }
        Kind::ScanPing => is_met_in_any(source, rule, track::PINGED),
        Kind::ScanVertical => {
            is_vertical(source, rule, 0, rule.failed_percent)
                || is_vertical(source, rule, 1, rule.other_failed_percent)
        }
        Kind::ScanStealth => reaches(&source.tracks[track::STEALTH].windows[0], rule.limits[Rule::SHORT]),
        Kind::BulkMail => reaches(&source.tracks[track::MAIL_HOSTS].windows[1], rule.limits[Rule::HOUR]),
        Kind::ListedContact => reaches(&source.tracks[track::LISTED].windows[1], rule.limits[Rule::HOUR]),
        Kind::SmtpRate => {
            reaches(&source.smtp[0], rule.limits[Rule::SHORT])
                || reaches(&source.smtp[1], rule.limits[Rule::DAY])
        }
        Kind::SynFlood => source.syns.halves >= rule.limits[Rule::HOUR] as u64 * 2,
        Kind::UdpFlood => source.datagrams.halves >= rule.limits[Rule::HOUR] as u64 * 2,
        Kind::SuddenRise => false,
    }
}

#[inline(always)]
const fn reaches(window: &Window, limit: u32) -> bool {
    limit != 0 && window.attempted >= limit
}

#[inline(always)]
const fn is_met_in_any(source: &Source, rule: &Rule, which: usize) -> bool {
    let windows = &source.tracks[which].windows;
    let percent = rule.failed_percent;
    rule.is_failed(&windows[0], Rule::SHORT, percent) || rule.is_failed(&windows[1], Rule::HOUR, percent)
}

#[inline(always)]
const fn is_met_on_few_ports(source: &Source, rule: &Rule, which: usize, family: usize) -> bool {
    let windows = &source.tracks[which].windows;
    let ports = &source.ports[family];
    let percent = rule.failed_percent;
    (rule.is_failed(&windows[0], Rule::SHORT, percent) && are_few(ports[0].distinct, &windows[0]))
        || (rule.is_failed(&windows[1], Rule::HOUR, percent) && are_few(ports[1].distinct, &windows[1]))
}

/// Whether failures went to few ports: one service was looked for, not many peers met.
#[inline(always)]
const fn are_few(distinct: u32, window: &Window) -> bool {
    let eighth = window.failed() / 8;
    distinct <= if eighth > 4 { eighth } else { 4 }
}

/// Of what a source turns to, one in so many at least is on service ports before they are judged by
/// themselves: a few of the peers of a peer-to-peer program are there too.
const SERVICE_SHARE: u64 = 8;

/// Whether a horizontal scan shows on service ports alone: fewer failures tell, as their clients are
/// answered.
#[inline(always)]
#[must_use]
pub const fn is_met_on_tcp_services(source: &Source, rule: &Rule) -> bool {
    is_met_on_services(source, rule, track::TCP_SERVICES, track::TCP_PORTS)
}

/// The same of a UDP scan.
#[inline(always)]
#[must_use]
pub const fn is_met_on_udp_services(source: &Source, rule: &Rule) -> bool {
    is_met_on_services(source, rule, track::UDP_SERVICES, track::UDP_HOSTS)
}

#[inline(always)]
const fn is_met_on_services(source: &Source, rule: &Rule, services: usize, all: usize) -> bool {
    let (services, all) = (&source.tracks[services].windows, &source.tracks[all].windows);
    let percent = rule.other_failed_percent;
    (rule.is_failed(&services[0], Rule::SERVICE_SHORT, percent) && are_much_of(&services[0], &all[0]))
        || (rule.is_failed(&services[1], Rule::SERVICE_HOUR, percent) && are_much_of(&services[1], &all[1]))
}

/// Whether so much was tried on few ports, or on many, a share of it in vain, and most of the rest was only probed.
#[inline(always)]
const fn is_met_by_probes(source: &Source, rule: &Rule, which: usize, on_few_ports: bool) -> bool {
    let mut index = 0;
    while index < 2 {
        let (tried, ports) = (&source.tracks[which].windows[index], source.ports[0][index].distinct);
        if reaches(tried, rule.limits[Rule::PROBES])
            && tried.fails(rule.probe_failed_percent as u32)
            && source.is_probing(index)
            && are_few(ports, tried) == on_few_ports
        {
            return true;
        }
        index += 1;
    }
    false
}

#[inline(always)]
const fn are_much_of(services: &Window, all: &Window) -> bool {
    services.attempted as u64 * SERVICE_SHARE >= all.attempted as u64
}

#[inline(always)]
const fn is_vertical(source: &Source, rule: &Rule, candidate: usize, percent: u8) -> bool {
    let candidate = &source.candidates[candidate];
    rule.is_failed(&candidate.ports[0], Rule::SHORT, percent)
        || rule.is_failed(&candidate.ports[1], Rule::HOUR, percent)
        || rule.is_failed(&candidate.low_ports, Rule::LOW_PORTS, percent)
}

/// Judges one kind: whether it is an offence now. Arms, and disarms, what has to hold for a while.
#[inline(always)]
#[must_use]
pub const fn is_offence(source: &mut Source, rule: &Rule, kind: Kind, confirm: bool, now_ns: u64) -> bool {
    let slot = kind.slot();
    if !rule.is_on() || now_ns < source.reported_ns[slot] {
        return false;
    }
    if !is_met(source, rule, kind) {
        // Only where something changes: a line that is written must also be written back.
        if source.armed_ns[slot] != 0 {
            source.armed_ns[slot] = 0;
        }
        return false;
    }
    if !confirm {
        return true;
    }
    let armed_ns = source.armed_ns[slot];
    if armed_ns == 0 {
        source.armed_ns[slot] = now_ns;
        return false;
    }
    now_ns.saturating_sub(armed_ns) >= CONFIRM_NS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::source::{Contact, Family};

    const SECOND: u32 = 1_000;

    /// A source that made so many contacts with hosts of their own, `answered` of a hundred answered.
    fn source(family: Family, contacts: u32, answered: u32, port: impl Fn(u32) -> u16) -> Source {
        let mut source = Source::zeroed();
        tries(&mut source, family, contacts, answered, |n| (u64::from(n), port(n)));
        source
    }

    fn tries(
        source: &mut Source,
        family: Family,
        contacts: u32,
        answered: u32,
        to: impl Fn(u32) -> (u64, u16),
    ) {
        for n in 0..contacts {
            let (host, port) = to(n);
            let contact = Contact { family, host, port, first_of_host: true };
            source.attempt(&contact, SECOND);
            // Spread evenly: the same share of any number of contacts in a row.
            if n * answered % 100 < answered {
                source.answer(&contact, false, SECOND);
            }
        }
    }

    const FEW_PORTS: Rule = Rule {
        mode: Mode::Enforce as u8,
        measure: Measure::Slow as u8,
        failed_percent: 65,
        other_failed_percent: 25,
        probe_failed_percent: 25,
        reserved: [0; 3],
        duration_s: 60,
        limits: [64, 128, 0, 0, 48, 96, 0, 64],
    };

    const BLOCK: Rule = Rule {
        failed_percent: 75,
        other_failed_percent: 66,
        limits: [80, 256, 0, 0, 0, 0, 640, 64],
        ..FEW_PORTS
    };

    #[test]
    fn on_service_ports_a_quarter_of_failures_is_enough() {
        for (family, kind, port) in
            [(Family::Tcp, Kind::ScanHorizontal, 443), (Family::Udp, Kind::ScanUdp, 161)]
        {
            for answered in [0, 30, 50, 70] {
                let contacts = 4_800_u32.div_ceil(100 - answered);
                let met = |contacts| is_met(&source(family, contacts, answered, |_| port), &FEW_PORTS, kind);
                assert!(met(contacts + 4), "{answered} % of {contacts} to port {port}");
                assert!(!met(contacts - 4), "{answered} % of {contacts} to port {port}");
            }
            // Clients are answered.
            assert!(!is_met(&source(family, 10_000, 80, |_| port), &FEW_PORTS, kind));
            // On any other port the same share is that of a peer-to-peer program.
            assert!(!is_met(&source(family, 10_000, 40, |_| 6_881), &FEW_PORTS, kind));
        }
        // Mail and ident have clients that are not.
        for port in [25, 113, 465, 587] {
            assert!(!is_met(&source(Family::Tcp, 10_000, 50, |_| port), &FEW_PORTS, Kind::ScanHorizontal));
        }
    }

    #[test]
    fn peers_on_service_ports_are_no_scan_as_long_as_they_are_few() {
        let one_in = |many| source(Family::Tcp, 4_000, 40, move |n| if n % many == 0 { 443 } else { 6_881 });
        assert!(!is_met(&one_in(9), &FEW_PORTS, Kind::ScanHorizontal));
        assert!(is_met(&one_in(8), &FEW_PORTS, Kind::ScanHorizontal));
    }

    #[test]
    fn what_an_offence_used_up_is_gone() {
        for (family, kind) in [(Family::Tcp, Kind::ScanHorizontal), (Family::Udp, Kind::ScanUdp)] {
            let mut source = source(family, 200, 50, |_| 161);
            assert!(is_met(&source, &FEW_PORTS, kind));
            let (first, count) = Source::words_of(kind);
            let words: &mut [u64] = bytemuck::cast_slice_mut(bytemuck::bytes_of_mut(&mut source));
            words[first..first + count].fill(0);
            assert!(!is_met(&source, &FEW_PORTS, kind));
        }
    }

    #[test]
    fn many_failures_make_a_smaller_share_enough_for_a_block_scan() {
        let met = |contacts, answered| {
            let source = source(Family::Tcp, contacts, answered, |n| 1_024 + (n * 61 % 60_000) as u16);
            is_met(&source, &BLOCK, Kind::ScanBlock)
        };
        assert!(met(90, 10));
        assert!(!met(900, 30) && met(920, 30));
        assert!(!met(100_000, 40));
    }

    /// The same source, which ended `probed` of a hundred answered contacts without having sent anything.
    fn probing(mut source: Source, probed: u32) -> Source {
        for _ in 0..source.tracks[track::TCP_PORTS].windows[0].answered * probed / 100 {
            source.probe(6_881, SECOND);
        }
        source
    }

    #[test]
    fn who_only_probes_is_judged_by_a_quarter_of_failures_on_any_port() {
        let peers = |n: u32| 1_024 + (n * 61 % 60_000) as u16;
        for (rule, kind, port) in [
            (FEW_PORTS, Kind::ScanHorizontal, (|_| 8_080) as fn(u32) -> u16),
            (BLOCK, Kind::ScanBlock, peers),
        ] {
            let met = |contacts, answered, probed| {
                is_met(&probing(source(Family::Tcp, contacts, answered, port), probed), &rule, kind)
            };
            for answered in [50, 70] {
                assert!(met(64, answered, 100) && !met(63, answered, 100), "{kind:?}, {answered} %");
                // A scanner that looks closer at some of those that it finds.
                assert!(met(100, answered, 76) && !met(100, answered, 74), "{kind:?}, {answered} %");
            }
            // Who watches servers by connections alone is answered by most.
            assert!(!met(10_000, 80, 100), "{kind:?}");
            // Peers are talked to, but for a few.
            assert!(!met(10_000, 40, 20), "{kind:?}");
        }
        // The few that answer a peer-to-peer program at its start say nothing.
        assert!(!is_met(&probing(source(Family::Tcp, 70, 70 / 7, peers), 100), &BLOCK, Kind::ScanBlock));
        // It is one of the two.
        let is = |port: fn(u32) -> u16, rule, kind| {
            is_met(&probing(source(Family::Tcp, 100, 50, port), 100), rule, kind)
        };
        assert!(!is(peers, &FEW_PORTS, Kind::ScanHorizontal) && !is(|_| 8_080, &BLOCK, Kind::ScanBlock));
    }

    #[test]
    fn ports_of_one_host_fail_more_often_by_udp() {
        let rule = Rule {
            failed_percent: 25,
            other_failed_percent: 50,
            limits: [32, 96, 0, 20, 0, 0, 0, 0],
            ..FEW_PORTS
        };
        for (family, answered, expected) in [
            (Family::Tcp, 70, true),
            (Family::Tcp, 80, false),
            (Family::Udp, 45, true),
            (Family::Udp, 70, false),
        ] {
            let mut source = Source::zeroed();
            tries(&mut source, family, 400, answered, |n| (7, 2_000 + n as u16));
            assert_eq!(is_met(&source, &rule, Kind::ScanVertical), expected, "{family:?}, {answered} %");
        }
    }
}
