//! Thresholds, and when they are met.
//!
//! Every condition asks for a number of failures *and* for a share of them, so that neither the busy nor
//! the unlucky meet it; those on hosts that may still answer have to hold for [`CONFIRM_NS`].

use bytemuck::{Pod, Zeroable};

use super::source::{Source, Window, track};
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
    pub failed_percent: u16,
    /// How long its measure holds, and it is not reported again.
    pub duration_s: u32,
    /// What the kind counts, by window; see [`Rule::SHORT`] and the others. 0: not judged by it.
    pub limits: [u32; 4],
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
    const fn is_failed(&self, window: &Window, limit: usize) -> bool {
        let least = self.limits[limit & 3];
        least != 0 && window.failed() >= least && window.fails(self.failed_percent as u32)
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
        Kind::ScanSensitive => is_met_in_any(source, rule, track::SENSITIVE),
        Kind::ScanHorizontal => is_met_on_few_ports(source, rule, track::TCP_HOSTS, 0),
        Kind::ScanBlock => is_met_in_any(source, rule, track::TCP_PORTS),
        Kind::ScanUdp => is_met_on_few_ports(source, rule, track::UDP_HOSTS, 1),
        Kind::ScanPing => is_met_in_any(source, rule, track::PINGED),
        Kind::ScanVertical => is_vertical(source, rule, 0) || is_vertical(source, rule, 1),
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
    rule.is_failed(&windows[0], Rule::SHORT)
        || rule.is_failed(&windows[1], Rule::HOUR)
        || rule.is_failed(&windows[2], Rule::DAY)
}

#[inline(always)]
const fn is_met_on_few_ports(source: &Source, rule: &Rule, which: usize, family: usize) -> bool {
    let windows = &source.tracks[which].windows;
    let ports = &source.ports[family];
    (rule.is_failed(&windows[0], Rule::SHORT) && are_few(ports[0].distinct, &windows[0]))
        || (rule.is_failed(&windows[1], Rule::HOUR) && are_few(ports[1].distinct, &windows[1]))
        || (rule.is_failed(&windows[2], Rule::DAY) && are_few(ports[1].distinct, &windows[2]))
}

/// Whether failures went to few ports: one service was looked for, not many peers met.
#[inline(always)]
const fn are_few(distinct: u32, window: &Window) -> bool {
    let eighth = window.failed() / 8;
    distinct <= if eighth > 4 { eighth } else { 4 }
}

#[inline(always)]
const fn is_vertical(source: &Source, rule: &Rule, candidate: usize) -> bool {
    let candidate = &source.candidates[candidate];
    rule.is_failed(&candidate.ports[0], Rule::SHORT)
        || rule.is_failed(&candidate.ports[1], Rule::HOUR)
        || rule.is_failed(&candidate.low_ports, Rule::LOW_PORTS)
}

/// Judges one kind, whose slot is given in a form that the verifier can follow: whether it is an offence
/// now. Arms, and disarms, what has to hold for a while.
#[inline(always)]
#[must_use]
pub const fn is_offence(
    source: &mut Source,
    rule: &Rule,
    kind: Kind,
    slot: usize,
    confirm: bool,
    now_ns: u64,
) -> bool {
    if !rule.is_on() || now_ns < source.reported_ns[slot] {
        return false;
    }
    if !is_met(source, rule, kind) {
        source.armed_ns[slot] = 0;
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
