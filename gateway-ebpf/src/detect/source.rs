//! What is known of one source: counts of its new contacts, and what is done about it.

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use super::credit::{Credit, Price};
use super::{KIND_SLOTS, Kind, MEASURE_SLOTS, Measure};

const SECOND_NS: u64 = 1_000_000_000;

/// Lengths of the windows that contacts are counted in, in seconds. A window opens with the first
/// contact after the last one closed, so that a burst seldom falls across two.
pub const WINDOWS_S: [u32; WINDOWS] = [300, 3_600, 86_400];
/// How many there are.
pub const WINDOWS: usize = 3;

/// Targets that are kept as evidence: the last ones.
pub const TARGETS: usize = 8;

/// Which source: an IPv4 address as IPv4-mapped (RFC 4291, 2.5.5.2), or the upper half of an IPv6 one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct SourceKey {
    /// Upper half, in the byte order of the machine.
    pub high: u64,
    /// Lower half; 0 for IPv6, whose /64 counts as one source.
    pub low: u64,
}

/// Contacts of one kind within one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Window {
    /// Second in which it opened.
    pub start_s: u32,
    /// New contacts.
    pub attempted: u32,
    /// Of these, answered.
    pub answered: u32,
    /// Of these, refused.
    pub rejected: u32,
}

impl Window {
    /// Contacts that were not answered, as yet.
    #[inline(always)]
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.attempted.saturating_sub(self.answered)
    }

    /// Whether at least this share failed.
    #[inline(always)]
    #[must_use]
    pub const fn fails(&self, percent: u32) -> bool {
        self.failed() as u64 * 100 >= self.attempted as u64 * percent as u64
    }

    /// Opens a window anew if its time is over.
    #[inline(always)]
    fn turn(&mut self, length_s: u32, second: u32) {
        if second.wrapping_sub(self.start_s) >= length_s {
            *self = Self { start_s: second, attempted: 0, answered: 0, rejected: 0 };
        }
    }
}

/// Contacts of one kind in windows of all lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Track {
    /// By [`WINDOWS_S`].
    pub windows: [Window; WINDOWS],
}

impl Track {
    #[inline(always)]
    fn attempt(&mut self, second: u32) {
        let mut index = 0;
        while index < WINDOWS {
            self.windows[index].turn(WINDOWS_S[index], second);
            self.windows[index].attempted += 1;
            index += 1;
        }
    }

    #[inline(always)]
    fn answer(&mut self, rejected: bool) {
        let mut index = 0;
        while index < WINDOWS {
            let window = &mut self.windows[index];
            if rejected {
                window.rejected += 1;
            } else {
                window.answered += 1;
            }
            index += 1;
        }
    }
}

/// What a track counts; an index of [`Source::tracks`].
pub mod track {
    /// Hosts, over TCP.
    pub const TCP_HOSTS: usize = 0;
    /// Ports of hosts, over TCP.
    pub const TCP_PORTS: usize = 1;
    /// Ports of hosts that are sensitive, over TCP.
    pub const SENSITIVE: usize = 2;
    /// Hosts, over UDP.
    pub const UDP_HOSTS: usize = 3;
    /// Hosts pinged.
    pub const PINGED: usize = 4;
    /// Segments that no TCP sends: ports of hosts.
    pub const STEALTH: usize = 5;
    /// Mail hosts.
    pub const MAIL_HOSTS: usize = 6;
    /// Contacts with listed networks.
    pub const LISTED: usize = 7;
    /// How many there are.
    pub const COUNT: usize = 8;
}

/// Which ports contacts went to, within a window: one bit for each of 256 residues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Ports {
    bits: [u64; 4],
    /// Second in which the window opened.
    start_s: u32,
    /// Distinct ones.
    pub distinct: u32,
}

impl Ports {
    #[inline(always)]
    fn note(&mut self, port: u16, length_s: u32, second: u32) {
        if second.wrapping_sub(self.start_s) >= length_s {
            *self = Self { bits: [0; 4], start_s: second, distinct: 0 };
        }
        let residue = (port ^ port >> 8) as usize & 0xff;
        let (word, bit) = (residue >> 6, 1_u64 << (residue & 63));
        if self.bits[word & 3] & bit == 0 {
            self.bits[word & 3] |= bit;
            self.distinct += 1;
        }
    }
}

/// The host that most of the late contacts went to, if one has a majority (Boyer, Moore 1981), and the
/// ports of it that were tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Candidate {
    /// Hash of the host.
    host: u64,
    votes: u32,
    reserved: u32,
    /// Ports in the shortest window, and in an hour.
    pub ports: [Window; 2],
    /// Ports below 1,024 in the shortest window.
    pub low_ports: Window,
}

/// A candidate keeps its place over at most this many contacts with others.
const MOST_VOTES: u32 = 64;

impl Candidate {
    #[inline(always)]
    fn attempt(&mut self, host: u64, port: u16, second: u32) {
        // One that lost its majority is back where it was if it comes next: two hosts in turn are no way
        // round.
        if self.votes == 0 && self.host != host {
            let fresh = Window { start_s: second, attempted: 0, answered: 0, rejected: 0 };
            *self = Self { host, votes: 1, reserved: 0, ports: [fresh; 2], low_ports: fresh };
        } else if self.host == host {
            if self.votes < MOST_VOTES {
                self.votes += 1;
            }
        } else {
            self.votes -= 1;
            return;
        }
        self.ports[0].turn(WINDOWS_S[0], second);
        self.ports[1].turn(WINDOWS_S[1], second);
        self.low_ports.turn(WINDOWS_S[0], second);
        self.ports[0].attempted += 1;
        self.ports[1].attempted += 1;
        if port < 1_024 {
            self.low_ports.attempted += 1;
        }
    }

    #[inline(always)]
    fn answer(&mut self, host: u64, port: u16, rejected: bool) {
        if self.host != host {
            return;
        }
        if rejected {
            self.ports[0].rejected += 1;
            self.ports[1].rejected += 1;
        } else {
            self.ports[0].answered += 1;
            self.ports[1].answered += 1;
            if port < 1_024 {
                self.low_ports.answered += 1;
            }
        }
    }
}

/// How far a rate has been above a limit, one-sided: CUSUM (Page 1954).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Excess {
    /// Packets above the limit, in halves.
    pub halves: u64,
    drained_ns: u64,
}

impl Excess {
    /// `halves` of packets were sent, `per_second` are fine; says whether the excess reaches `limit`.
    #[inline(always)]
    pub fn add(&mut self, halves: u64, per_second: u32, now_ns: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.drained_ns);
        self.drained_ns = now_ns;
        let elapsed_ms = if elapsed_ns > 60 * SECOND_NS { 60_000 } else { elapsed_ns / 1_000_000 };
        // The rest of a millisecond is not lost: it is counted from where it began.
        self.drained_ns -= if elapsed_ns > 60 * SECOND_NS { 0 } else { elapsed_ns % 1_000_000 };
        let fine = elapsed_ms * per_second as u64 * 2 / 1_000;
        self.halves = self.halves.saturating_sub(fine) + halves;
    }

    /// Answers speak for the sender.
    #[inline(always)]
    pub fn relieve(&mut self, halves: u64) {
        self.halves = self.halves.saturating_sub(halves);
    }
}

/// Something that a source turned to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Target {
    /// Upper half of the address, IPv4 as IPv4-mapped.
    pub high: u64,
    /// Lower half.
    pub low: u64,
    /// Port; 0 where there is none.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u16,
    /// Second in which it was.
    pub second: u32,
}

/// All that is known of one source. Written by programs without a lock: two CPUs that count for the same
/// source at the same instant may lose one of the two counts, which detection can bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Source {
    /// Hash of the key; 0: the place is free. The one word that is claimed atomically.
    pub claim: u64,
    /// Which source.
    pub key: SourceKey,
    /// When it last made a contact.
    pub seen_ns: u64,
    /// Slot of its tenant.
    pub slot: u32,
    /// Contacts made, for [`Self::targets`].
    pub contacts: u32,
    /// Until when each measure holds, by [`Measure::slot`].
    pub measures_ns: [u64; MEASURE_SLOTS],
    /// Since when a condition has been met that has to hold for a while, by kind; 0: it is not met.
    pub armed_ns: [u64; KIND_SLOTS],
    /// Until when an offence of a kind is not reported again.
    pub reported_ns: [u64; KIND_SLOTS],
    /// Credit for TCP, UDP and echo requests.
    pub credits: [Credit; 3],
    /// Counts, by [`track`].
    pub tracks: [Track; track::COUNT],
    /// TCP and UDP ports, each in the shortest window and in an hour.
    pub ports: [[Ports; 2]; 2],
    /// Candidates for a vertical scan over TCP and UDP.
    pub candidates: [Candidate; 2],
    /// SMTP connections in a minute, and in a day.
    pub smtp: [Window; 2],
    /// SYNs beyond SYN-ACKs.
    pub syns: Excess,
    /// Datagrams beyond answers.
    pub datagrams: Excess,
    /// What it turned to last.
    pub targets: [Target; TARGETS],
    /// Padding to whole cache lines.
    pub reserved: u64,
}

const _: () = {
    assert!(size_of::<Source>() == 1_344);
    assert!(size_of::<Target>() == 24);
};

/// What a contact is made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Family {
    /// TCP.
    Tcp = 0,
    /// UDP.
    Udp = 1,
    /// Echo requests.
    Ping = 2,
}

impl Family {
    /// What a new contact costs.
    #[inline(always)]
    #[must_use]
    pub const fn price(self) -> Price {
        match self {
            Self::Udp => Price::DATAGRAM,
            Self::Tcp | Self::Ping => Price::CONNECTION,
        }
    }

    /// The track of its hosts.
    #[inline(always)]
    #[must_use]
    pub const fn hosts(self) -> usize {
        match self {
            Self::Tcp => track::TCP_HOSTS,
            Self::Udp => track::UDP_HOSTS,
            Self::Ping => track::PINGED,
        }
    }
}

/// A new contact, or the first answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Over what.
    pub family: Family,
    /// Hash of the peer's address.
    pub host: u64,
    /// The peer's port.
    pub port: u16,
    /// Whether the host is new, not only the port; of an answer: whether it is the host's first.
    pub first_of_host: bool,
}

impl Source {
    /// A source that was not known.
    #[inline(always)]
    pub fn open(&mut self, now_ns: u64) {
        self.seen_ns = now_ns;
        self.credits[0].open(Family::Tcp.price(), now_ns);
        self.credits[1].open(Family::Udp.price(), now_ns);
        self.credits[2].open(Family::Ping.price(), now_ns);
    }

    /// Whether a measure is in force.
    #[inline(always)]
    #[must_use]
    pub const fn is_under(&self, measure: Measure, now_ns: u64) -> bool {
        now_ns < self.measures_ns[measure.slot()]
    }

    /// When the last of its measures ends.
    #[inline(always)]
    #[must_use]
    pub const fn measures_end_ns(&self) -> u64 {
        let (mut latest, mut index) = (0, 1);
        while index < MEASURE_SLOTS {
            if self.measures_ns[index] > latest {
                latest = self.measures_ns[index];
            }
            index += 1;
        }
        latest
    }

    /// Takes the credit for a new contact, if there is any.
    #[inline(always)]
    #[must_use]
    pub fn afford(&mut self, family: Family, now_ns: u64) -> bool {
        let price = if self.is_under(Measure::Slow, now_ns) { Price::SLOW } else { family.price() };
        match family {
            Family::Tcp => self.credits[0].take(price, now_ns),
            Family::Udp => self.credits[1].take(price, now_ns),
            Family::Ping => self.credits[2].take(price, now_ns),
        }
    }

    /// Counts a new contact.
    #[inline(always)]
    pub fn attempt(&mut self, contact: &Contact, second: u32) {
        match contact.family {
            Family::Tcp => {
                self.tracks[track::TCP_PORTS].attempt(second);
                if contact.first_of_host {
                    self.tracks[track::TCP_HOSTS].attempt(second);
                }
                if super::is_sensitive(contact.port) {
                    self.tracks[track::SENSITIVE].attempt(second);
                }
                self.note_port(0, contact.port, second);
                self.candidates[0].attempt(contact.host, contact.port, second);
            }
            Family::Udp => {
                if contact.first_of_host {
                    self.tracks[track::UDP_HOSTS].attempt(second);
                }
                self.note_port(1, contact.port, second);
                self.candidates[1].attempt(contact.host, contact.port, second);
            }
            Family::Ping => self.tracks[track::PINGED].attempt(second),
        }
    }

    #[inline(always)]
    fn note_port(&mut self, family: usize, port: u16, second: u32) {
        self.ports[family][0].note(port, WINDOWS_S[0], second);
        self.ports[family][1].note(port, WINDOWS_S[1], second);
    }

    /// Counts the first answer to a contact. Only an acceptance pays.
    #[inline(always)]
    pub fn answer(&mut self, contact: &Contact, rejected: bool) {
        let first = contact.first_of_host;
        match contact.family {
            Family::Tcp => {
                if !rejected {
                    self.credits[0].reward(Price::CONNECTION);
                }
                self.tracks[track::TCP_PORTS].answer(rejected);
                if first {
                    self.tracks[track::TCP_HOSTS].answer(rejected);
                }
                if super::is_sensitive(contact.port) {
                    self.tracks[track::SENSITIVE].answer(rejected);
                }
                self.candidates[0].answer(contact.host, contact.port, rejected);
            }
            Family::Udp => {
                if !rejected {
                    self.credits[1].reward(Price::DATAGRAM);
                }
                if first {
                    self.tracks[track::UDP_HOSTS].answer(rejected);
                }
                self.candidates[1].answer(contact.host, contact.port, rejected);
            }
            Family::Ping => {
                self.credits[2].reward(Price::CONNECTION);
                self.tracks[track::PINGED].answer(rejected);
            }
        }
    }

    /// Counts something that has no answers.
    #[inline(always)]
    pub fn count(&mut self, which: usize, second: u32) {
        self.tracks[which & (track::COUNT - 1)].attempt(second);
    }

    /// Counts an SMTP connection.
    #[inline(always)]
    pub fn smtp_connection(&mut self, second: u32) {
        self.smtp[0].turn(60, second);
        self.smtp[1].turn(86_400, second);
        self.smtp[0].attempted += 1;
        self.smtp[1].attempted += 1;
    }

    /// Where the counts lie that a kind is judged by: the first 64-bit word, and how many. After an offence
    /// they are set to zero: it is spent, and only as much misuse again is another one.
    #[inline(always)]
    #[must_use]
    pub const fn words_of(kind: Kind) -> (usize, usize) {
        const fn track(which: usize) -> (usize, usize) {
            let words = size_of::<Track>() / 8;
            (offset_of!(Source, tracks) / 8 + which * words, words)
        }
        match kind {
            Kind::ScanSensitive => track(track::SENSITIVE),
            Kind::ScanHorizontal => track(track::TCP_HOSTS),
            Kind::ScanBlock => track(track::TCP_PORTS),
            Kind::ScanStealth => track(track::STEALTH),
            Kind::ScanPing => track(track::PINGED),
            Kind::ScanUdp => track(track::UDP_HOSTS),
            Kind::BulkMail => track(track::MAIL_HOSTS),
            Kind::ListedContact => track(track::LISTED),
            Kind::ScanVertical => (offset_of!(Self, candidates) / 8, size_of::<[Candidate; 2]>() / 8),
            Kind::SmtpRate => (offset_of!(Self, smtp) / 8, size_of::<[Window; 2]>() / 8),
            Kind::SynFlood => (offset_of!(Self, syns) / 8, size_of::<Excess>() / 8),
            Kind::UdpFlood => (offset_of!(Self, datagrams) / 8, size_of::<Excess>() / 8),
            Kind::SuddenRise => (0, 0),
        }
    }

    /// Whether its late contacts are worth keeping as evidence: more of them went without an answer than
    /// chance explains, or is unusual by itself.
    #[inline(always)]
    #[must_use]
    pub const fn is_suspect(&self) -> bool {
        const FEW: u32 = 8;
        self.tracks[track::TCP_PORTS].windows[0].failed() >= FEW
            || self.tracks[track::UDP_HOSTS].windows[0].failed() >= FEW
            || self.tracks[track::PINGED].windows[0].failed() >= FEW
            || self.tracks[track::STEALTH].windows[0].attempted > 0
            || self.tracks[track::LISTED].windows[0].attempted > 0
            || self.tracks[track::MAIL_HOSTS].windows[0].attempted >= FEW
    }

    /// Keeps a target as evidence.
    #[inline(always)]
    pub fn note_target(&mut self, target: Target) {
        self.targets[self.contacts as usize & (TARGETS - 1)] = target;
        self.contacts = self.contacts.wrapping_add(1);
    }
}
