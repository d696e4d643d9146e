//! What is known of one source: counts of its new contacts, and what is done about it.

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use super::candidate::Candidate;
use super::credit::{self, Credit, Price, Reward};
use super::excess::Excess;
use super::window::{DAY_S, Ports, Track, WINDOWS_S, Window};
use super::{KIND_SLOTS, Kind, MEASURE_SLOTS, Measure, is_sensitive, is_service};

/// Targets that are kept as evidence: the last ones.
pub const TARGETS: usize = 8;

/// Credit that is short for longer than this is not that of a client at its start: from 64 contacts under
/// way to the 200 of a crawler at 2,000 a second it takes two seconds.
const STARVED_NS: u64 = 4_000_000_000;

/// Fewer probes say nothing yet.
const FEW_PROBES: u32 = 8;

/// Which source: an IPv4 address as IPv4-mapped (RFC 4291, 2.5.5.2), or the upper half of an IPv6 one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct SourceKey {
    /// Upper half, in the byte order of the machine.
    pub high: u64,
    /// Lower half; 0 for IPv6, whose /64 counts as one source.
    pub low: u64,
}

/// What a track counts; an index of [`Source::tracks`].
pub mod track {
    /// Segments that no TCP sends: ports of hosts.
    pub const STEALTH: usize = 0;
    /// Mail hosts.
    pub const MAIL_HOSTS: usize = 1;
    /// Contacts with listed networks.
    pub const LISTED: usize = 2;
    /// Hosts, over TCP. From here on: what answers speak for.
    pub const TCP_HOSTS: usize = 3;
    /// Service ports of hosts, over TCP; next to the hosts, with which they are spent.
    pub const TCP_SERVICES: usize = 4;
    /// Ports of hosts, over TCP.
    pub const TCP_PORTS: usize = 5;
    /// Hosts, over UDP.
    pub const UDP_HOSTS: usize = 6;
    /// Service ports of hosts, over UDP; next to the hosts.
    pub const UDP_SERVICES: usize = 7;
    /// Hosts pinged.
    pub const PINGED: usize = 8;
    /// Ports of hosts that are sensitive, over TCP; next to their day, with which they are spent.
    pub const SENSITIVE: usize = 9;
    /// How many there are.
    pub const COUNT: usize = 10;
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
    /// Hash of the key, or what [`place`](super::place) says of a free one. The one word that is claimed atomically.
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
    /// Ports of hosts that are sensitive, over TCP, within a day.
    pub sensitive_day: Window,
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
    /// Since when its TCP credit has been short; 0: it is not.
    pub starved_ns: u64,
    /// What it turned to last.
    pub targets: [Target; TARGETS],
    /// Of the answered contacts over TCP, those that it only probed ([`State::PROBED`]), in the windows of
    /// [`track::TCP_PORTS`].
    ///
    /// [`State::PROBED`]: super::contact::State::PROBED
    pub probed: [u32; 2],
    /// Padding to whole cache lines.
    pub reserved: [u64; 5],
}

const _: () = {
    assert!(size_of::<Source>() == 1_344);
    assert!(size_of::<Target>() == 24);
    assert!(track::SENSITIVE == track::COUNT - 1);
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
            Family::Tcp => {
                let affordable = self.credits[0].take(price, now_ns);
                if affordable && self.credits[0].is_ample(price) {
                    self.starved_ns = 0;
                } else if !affordable && self.starved_ns == 0 {
                    self.starved_ns = now_ns;
                }
                affordable
            }
            Family::Udp => self.credits[1].take(price, now_ns),
            Family::Ping => self.credits[2].take(price, now_ns),
        }
    }

    /// Whether SYNs that are dropped for want of credit are a flood's as well. At first they are not: it is
    /// we who keep a client in a hurry from being answered, until its first answers have paid.
    #[inline(always)]
    #[must_use]
    pub const fn is_starved(&self, now_ns: u64) -> bool {
        self.starved_ns != 0 && now_ns.saturating_sub(self.starved_ns) >= STARVED_NS
    }

    /// Counts a new contact.
    #[inline(always)]
    pub fn attempt(&mut self, contact: &Contact, second: u32) {
        match contact.family {
            Family::Tcp => {
                self.tracks[track::TCP_PORTS].attempt(second);
                self.begin_probed();
                if contact.first_of_host {
                    self.tracks[track::TCP_HOSTS].attempt(second);
                }
                if is_service(contact.port) {
                    self.tracks[track::TCP_SERVICES].attempt(second);
                }
                if is_sensitive(contact.port) {
                    self.tracks[track::SENSITIVE].attempt(second);
                    self.sensitive_day.attempt(DAY_S, second);
                }
                self.note_port(0, contact.port, second);
                self.candidates[0].attempt(contact.host, contact.port, second);
            }
            Family::Udp => {
                if contact.first_of_host {
                    self.tracks[track::UDP_HOSTS].attempt(second);
                }
                if is_service(contact.port) {
                    self.tracks[track::UDP_SERVICES].attempt(second);
                }
                self.note_port(1, contact.port, second);
                self.candidates[1].attempt(contact.host, contact.port, second);
            }
            Family::Ping => self.tracks[track::PINGED].attempt(second),
        }
    }

    /// Counts probes anew where their window has just opened.
    #[inline(always)]
    fn begin_probed(&mut self) {
        for (probed, window) in self.probed.iter_mut().zip(&self.tracks[track::TCP_PORTS].windows) {
            if window.attempted == 1 {
                *probed = 0;
            }
        }
    }

    #[inline(always)]
    fn note_port(&mut self, family: usize, port: u16, second: u32) {
        self.ports[family][0].note(port, WINDOWS_S[0], second);
        self.ports[family][1].note(port, WINDOWS_S[1], second);
    }

    /// Counts the first answer to a contact. Only an acceptance pays.
    #[inline(always)]
    pub fn answer(&mut self, contact: &Contact, rejected: bool, second: u32) {
        let (first, service) = (contact.first_of_host, is_service(contact.port));
        match contact.family {
            Family::Tcp => {
                if !rejected {
                    self.credits[0].reward(Price::CONNECTION, self.tcp_reward(service, second));
                }
                self.tracks[track::TCP_PORTS].answer(rejected);
                if first {
                    self.tracks[track::TCP_HOSTS].answer(rejected);
                }
                if service {
                    self.tracks[track::TCP_SERVICES].answer(rejected);
                }
                if is_sensitive(contact.port) {
                    self.tracks[track::SENSITIVE].answer(rejected);
                    self.sensitive_day.answer(rejected);
                }
                self.candidates[0].answer(contact.host, contact.port, rejected);
            }
            Family::Udp => {
                if !rejected {
                    let reward = self.reward(service, track::UDP_SERVICES, track::UDP_HOSTS, second);
                    self.credits[1].reward(Price::DATAGRAM, reward);
                }
                if first {
                    self.tracks[track::UDP_HOSTS].answer(rejected);
                }
                if service {
                    self.tracks[track::UDP_SERVICES].answer(rejected);
                }
                self.candidates[1].answer(contact.host, contact.port, rejected);
            }
            Family::Ping => {
                let reward = Reward::for_service(&self.tracks[track::PINGED].windows[0]);
                self.credits[2].reward(Price::CONNECTION, reward);
                self.tracks[track::PINGED].answer(rejected);
            }
        }
    }

    /// Counts an answered contact that was only probed. It is no failure, but where many fail its answer pays for
    /// nothing.
    #[inline(always)]
    pub fn probe(&mut self, port: u16, second: u32) {
        if self.misses_many() {
            let reward = self.tcp_reward(is_service(port), second);
            self.credits[0].take_back(Price::CONNECTION, reward);
        }
        self.probed[0] += 1;
        self.probed[1] += 1;
    }

    #[inline(always)]
    const fn misses_many(&self) -> bool {
        self.tracks[track::TCP_PORTS].windows[0].fails(credit::FAILS_PERCENT)
    }

    /// What an answer over TCP brings. Nothing to those who are known to do no more than look: until it is taken back,
    /// a fast scan would have spent it.
    #[inline(always)]
    const fn tcp_reward(&self, service: bool, second: u32) -> Reward {
        if self.is_probing(0) && self.misses_many() {
            return Reward::NONE;
        }
        self.reward(service, track::TCP_SERVICES, track::TCP_PORTS, second)
    }

    /// Whether it does little more than look who is there, by what it counted in one of its windows: programs send
    /// something to most of those who answer them.
    #[inline(always)]
    #[must_use]
    pub const fn is_probing(&self, window: usize) -> bool {
        let (probed, answered) =
            (self.probed[window & 1], self.tracks[track::TCP_PORTS].windows[window & 1].answered);
        probed >= FEW_PROBES && probed as u64 * 4 >= answered as u64 * 3
    }

    /// What an answer brings, by how many went without one lately: on service ports, and on others.
    #[inline(always)]
    const fn reward(&self, service: bool, services: usize, others: usize, second: u32) -> Reward {
        if service {
            Reward::for_service(&self.tracks[services].windows[0])
        } else {
            Reward::for_peer(&self.tracks[others].windows[0], second)
        }
    }

    /// Counts something that has no answers.
    #[inline(always)]
    pub fn count(&mut self, which: usize, second: u32) {
        if let Some(track) = self.tracks.get_mut(which) {
            track.attempt(second);
        }
    }

    /// Counts an SMTP connection.
    #[inline(always)]
    pub fn smtp_connection(&mut self, second: u32) {
        self.smtp[0].attempt(60, second);
        self.smtp[1].attempt(DAY_S, second);
    }

    /// Where the counts lie that a kind is judged by: the first 64-bit word, and how many. After an offence
    /// they are set to zero: it is spent, and only as much misuse again is another one.
    #[inline(always)]
    #[must_use]
    pub const fn words_of(kind: Kind) -> (usize, usize) {
        const fn tracks(first: usize, count: usize) -> (usize, usize) {
            let words = size_of::<Track>() / 8;
            (offset_of!(Source, tracks) / 8 + first * words, count * words)
        }
        const fn track(which: usize) -> (usize, usize) {
            tracks(which, 1)
        }
        match kind {
            Kind::ScanSensitive => {
                let (first, count) = track(track::SENSITIVE);
                (first, count + size_of::<Window>() / 8)
            }
            Kind::ScanHorizontal => tracks(track::TCP_HOSTS, 2),
            Kind::ScanBlock => track(track::TCP_PORTS),
            Kind::ScanStealth => track(track::STEALTH),
            Kind::ScanPing => track(track::PINGED),
            Kind::ScanUdp => tracks(track::UDP_HOSTS, 2),
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
