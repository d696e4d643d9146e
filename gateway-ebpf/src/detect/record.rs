//! Offences as the programs report them, and the totals that show whether they still see everything.

use bytemuck::{Pod, Zeroable};

use super::Kind;
use super::hash::Keys;
use super::rules::{Rule, is_met_on_tcp_services, is_met_on_udp_services};
use super::source::{Source, SourceKey, TARGETS, Target, track};
use super::window::Window;

/// Reports that are kept until the controller reads them; a power of two. They outlive the controller.
pub const REPORTS: u32 = 256;

/// One offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Report {
    /// Its number, counting from 1, written last; another one's: not written yet, or overwritten.
    pub number: u64,
    /// When it was.
    pub at_ns: u64,
    /// Until when its measure holds.
    pub until_ns: u64,
    /// Who did it.
    pub key: SourceKey,
    /// Slot of its tenant.
    pub slot: u32,
    /// [`Kind`] by number.
    pub kind: u8,
    /// [`Measure`](super::Measure) that was taken, by number.
    pub measure: u8,
    /// [`Report::HELD`], [`Report::ON_SERVICES`].
    pub flags: u8,
    /// Padding.
    pub reserved: u8,
    /// What it was judged by: the first window that reached its limit, or the shortest.
    pub window: Window,
    /// Distinct ports within an hour, or the excess of a flood in packets.
    pub detail: u64,
    /// Of scans over TCP: contacts within an hour that were answered, and only probed.
    pub probed: u32,
    /// Padding.
    pub reserved_too: u32,
    /// What it turned to last.
    pub targets: [Target; TARGETS],
}

impl Report {
    /// A measure was due, but too many were taken already: the breaker held it.
    pub const HELD: u8 = 1;
    /// It was judged by service ports alone.
    pub const ON_SERVICES: u8 = 2;
}

/// Contact tables, and the pressure on each.
pub mod region {
    /// TCP, by the source.
    pub const TCP: usize = 0;
    /// UDP and echo requests, by the source.
    pub const DATAGRAM: usize = 1;
    /// UDP, by the peer.
    pub const INBOUND: usize = 2;
    /// Hosts.
    pub const HOSTS: usize = 3;
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Where answers to connections are looked up.
    pub const OF_CONNECTIONS: &[usize] = &[TCP, HOSTS];
    /// Where echo replies are.
    pub const OF_PINGS: &[usize] = &[DATAGRAM, HOSTS];
    /// Where datagrams are.
    pub const OF_DATAGRAMS: &[usize] = &[DATAGRAM, INBOUND, HOSTS];
}

/// How detection is set up, and how it fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Detection {
    /// Keys of the hashes.
    pub keys: Keys,
    /// Until when no measures are taken: an outage upstream, as the controller sees it.
    pub frozen_until_ns: u64,
    /// Time that one measure takes up of what the breaker allows; 0: no breaker.
    pub breaker_interval_ns: u64,
    /// How far [`Self::breaker_ns`] may run ahead.
    pub breaker_burst_ns: u64,
    /// Theoretical arrival time of the next measure.
    pub breaker_ns: u64,
    /// Offences reported so far: the number of the last [`Report`].
    pub reports: u64,
    /// Number of the last [`Report`] that a controller read.
    pub read: u64,
    /// New contacts.
    pub attempted: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Contacts that were dropped for want of credit.
    pub throttled: u64,
    /// Sources that found no place; they are policed, but not watched.
    pub sources_full: u64,
    /// Contacts that pushed out one that might still have been answered, by [`region`].
    pub crowded: [u64; region::COUNT],
    /// When that last happened: failures do not count for a while.
    pub crowded_ns: [u64; region::COUNT],
}

/// Failures do not count for this long after a contact table was too small: answers may have met nothing.
const CROWDED_FOR_NS: u64 = 60_000_000_000;

/// Whether a table that was too small at `crowded_ns` still keeps failures from counting; 0: it never was.
#[inline(always)]
#[must_use]
pub const fn is_crowded(crowded_ns: u64, now_ns: u64) -> bool {
    crowded_ns != 0 && now_ns.saturating_sub(crowded_ns) < CROWDED_FOR_NS
}

/// The tables that the failures of a kind rest on.
#[must_use]
pub const fn regions_of(kind: Kind) -> &'static [usize] {
    match kind {
        Kind::ScanPing => region::OF_PINGS,
        Kind::ScanUdp | Kind::UdpFlood => region::OF_DATAGRAMS,
        _ => region::OF_CONNECTIONS,
    }
}

/// The counts that an offence rests on: a window, [`Report::detail`], and flags.
#[inline(always)]
#[must_use]
pub const fn evidence(source: &Source, rule: &Rule, kind: Kind) -> (Window, u64, u8) {
    let (window, ports) = match kind {
        Kind::ScanHorizontal if is_met_on_tcp_services(source, rule) => {
            (source.tracks[track::TCP_SERVICES].windows[1], source.ports[0][1].distinct)
        }
        Kind::ScanUdp if is_met_on_udp_services(source, rule) => {
            (source.tracks[track::UDP_SERVICES].windows[1], source.ports[1][1].distinct)
        }
        _ => {
            let (window, detail) = counted(source, kind);
            return (window, detail, 0);
        }
    };
    (window, ports as u64, Report::ON_SERVICES)
}

/// [`Report::probed`] of an offence.
#[inline(always)]
#[must_use]
pub const fn probed(source: &Source, kind: Kind) -> u32 {
    match kind {
        Kind::ScanSensitive | Kind::ScanHorizontal | Kind::ScanBlock => source.probed[1],
        _ => 0,
    }
}

#[inline(always)]
const fn counted(source: &Source, kind: Kind) -> (Window, u64) {
    let ports = source.ports[0][1].distinct as u64;
    match kind {
        Kind::ScanSensitive => (source.tracks[track::SENSITIVE].windows[1], ports),
        Kind::ScanHorizontal | Kind::SuddenRise => (source.tracks[track::TCP_HOSTS].windows[1], ports),
        Kind::ScanBlock => (source.tracks[track::TCP_PORTS].windows[1], ports),
        Kind::ScanUdp => (source.tracks[track::UDP_HOSTS].windows[1], source.ports[1][1].distinct as u64),
        Kind::ScanPing => (source.tracks[track::PINGED].windows[1], 0),
        Kind::ScanStealth => (source.tracks[track::STEALTH].windows[0], ports),
        Kind::BulkMail => (source.tracks[track::MAIL_HOSTS].windows[1], 0),
        Kind::ListedContact => (source.tracks[track::LISTED].windows[1], 0),
        Kind::SmtpRate => (source.smtp[1], source.smtp[0].attempted as u64),
        Kind::ScanVertical => {
            let [tcp, udp] = &source.candidates;
            let worse = if udp.ports[1].failed() > tcp.ports[1].failed() { udp } else { tcp };
            (worse.ports[1], worse.low_ports.attempted as u64)
        }
        Kind::SynFlood => (source.tracks[track::TCP_PORTS].windows[0], source.syns.halves / 2),
        Kind::UdpFlood => (source.tracks[track::UDP_HOSTS].windows[0], source.datagrams.halves / 2),
    }
}

const _: () = {
    assert!(size_of::<Report>() == 272);
    assert!(size_of::<Detection>() == 184);
};
