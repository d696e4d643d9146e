//! Which packets say something about a source, and what.

use bytemuck::{Pod, Zeroable};

use crate::Direction;

/// TCP's control bits (RFC 9293, 3.1).
mod flag {
    pub(super) const FIN: u8 = 0x01;
    pub(super) const SYN: u8 = 0x02;
    pub(super) const RST: u8 = 0x04;
    pub(super) const ACK: u8 = 0x10;
}

/// What a packet is to detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign(u32);

impl Sign {
    /// Nothing: the packets of connections that are set up.
    pub const NONE: Self = Self(0);
    /// A SYN: the sender turns to a peer.
    pub const OPEN: Self = Self(1);
    /// A SYN-ACK: the receiver was answered.
    pub const ACCEPT: Self = Self(2);
    /// A reset: the receiver was refused, if it had asked.
    pub const REJECT: Self = Self(3);
    /// A segment that no TCP sends.
    pub const ODD: Self = Self(4);
    /// A datagram from a tenant to a peer that it has turned to, or that has turned to it.
    pub const DATAGRAM: Self = Self(5);
    /// A datagram to a tenant.
    pub const DATAGRAM_IN: Self = Self(6);
    /// An echo request from a tenant.
    pub const ECHO: Self = Self(7);
    /// An echo reply.
    pub const ECHO_REPLY: Self = Self(8);
    /// A datagram from a tenant to a peer of which nothing is known: it turns to the peer.
    pub const FIRST_DATAGRAM: Self = Self(9);
    /// A tenant's FIN: the end of a connection that may have been its own.
    pub const END: Self = Self(10);
    /// A tenant's reset: such an end too, or a refusal of one who had asked.
    pub const ABORT: Self = Self(11);

    /// Its number, for [`Sighting::sign`].
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The sign with this number.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Whether it answers its receiver, whichever way it goes.
    #[inline(always)]
    #[must_use]
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::ACCEPT | Self::REJECT | Self::ECHO_REPLY)
    }

    /// The sign of a TCP segment with these control bits.
    ///
    /// Every honest segment without SYN or RST has ACK (RFC 9293, 3.10.7), so NULL, FIN and XMAS probes
    /// show by themselves, as does a SYN with FIN or RST.
    #[inline(always)]
    #[must_use]
    pub const fn of_segment(direction: Direction, flags: u8) -> Self {
        use flag::{ACK, FIN, RST, SYN};
        let up = matches!(direction, Direction::Up);
        match (flags & SYN != 0, flags & ACK != 0) {
            (true, false) if flags & (FIN | RST) != 0 => {
                if up {
                    Self::ODD
                } else {
                    Self::NONE
                }
            }
            (true, false) => {
                if up {
                    Self::OPEN
                } else {
                    Self::NONE
                }
            }
            (true, true) => Self::ACCEPT,
            (false, _) if flags & RST != 0 => {
                if up {
                    Self::ABORT
                } else {
                    Self::REJECT
                }
            }
            (false, false) if up => Self::ODD,
            (false, true) if up && flags & FIN != 0 => Self::END,
            (false, _) => Self::NONE,
        }
    }

    /// The sign of a UDP datagram; `is_first`: of its two ends, neither has turned to the other.
    #[inline(always)]
    #[must_use]
    pub const fn of_datagram(direction: Direction, is_first: bool) -> Self {
        match direction {
            Direction::Up if is_first => Self::FIRST_DATAGRAM,
            Direction::Up => Self::DATAGRAM,
            Direction::Down => Self::DATAGRAM_IN,
        }
    }

    /// The sign of an ICMP (RFC 792) or ICMPv6 (RFC 4443) message.
    #[inline(always)]
    #[must_use]
    pub const fn of_icmp(direction: Direction, v6: bool, message: u8) -> Self {
        let (request, reply) = if v6 { (128, 129) } else { (8, 0) };
        if message == reply {
            Self::ECHO_REPLY
        } else if message == request && matches!(direction, Direction::Up) {
            Self::ECHO
        } else {
            Self::NONE
        }
    }
}

/// A packet with a sign, as detection takes it: from the one who turned to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Sighting {
    /// Who turned to a peer: address, upper and lower half, IPv4 as IPv4-mapped.
    pub source: [u64; 2],
    /// The peer.
    pub peer: [u64; 2],
    /// Lower half of the source's key: all addresses of an IPv6 /64 are one source, which makes a contact
    /// once, whichever of them it goes by.
    pub source_low: u64,
    /// When, read once.
    pub now_ns: u64,
    /// The source's port; 0 where there is none.
    pub source_port: u16,
    /// The peer's port.
    pub peer_port: u16,
    /// [`Sign`] by number.
    pub sign: u32,
    /// Slot of the tenant that the packet is counted for.
    pub slot: u32,
    /// The bank that the packet is judged by.
    pub bank: u32,
    /// Class of the tenant.
    pub class: u32,
    /// Whether the port is a mail port: 0 or 1.
    pub is_mail: u32,
    /// Counts datagrams on this CPU, to look closely at one in so many.
    pub ticks: u32,
    /// [`Self::now_ns`] in seconds: a division takes longer than a look here.
    pub second: u32,
    /// Of a SYN-ACK: the number of the first byte that it awaits; of an end, of the byte after the last.
    pub sequence: u32,
    /// Padding.
    pub reserved: u32,
    /// Hash of the contact.
    pub contact: u64,
    /// Hash of its host.
    pub host: u64,
    /// Hash of the source.
    pub claim: u64,
}

impl Sighting {
    /// Takes it from the other one, who turns out to have asked.
    #[inline(always)]
    pub const fn turn(&mut self) {
        core::mem::swap(&mut self.source, &mut self.peer);
        core::mem::swap(&mut self.source_port, &mut self.peer_port);
    }
}

/// Of the datagrams of a known contact, one in so many is counted, for all of them.
pub const SAMPLE: u32 = 32;

/// Whether datagram number `ticks` is the one. Not every 32nd: where a question and its answer alternate, only
/// ever questions would be counted, or only answers. Multiples of the golden ratio fall evenly, at no fixed
/// interval (Knuth, The Art of Computer Programming, 6.4).
#[inline(always)]
#[must_use]
pub const fn is_sampled(ticks: u32) -> bool {
    ticks.wrapping_mul(0x9e37_79b9) < u32::MAX / SAMPLE
}

/// The upper 96 bits of an IPv4-mapped address.
pub const MAPPED: u64 = 0xffff_0000_0000;

/// Whether contacts of `source` with `peer` count. Broadcast and multicast are for nobody in particular.
/// From a public address, private ones (RFC 1918, RFC 6598, RFC 4193, link-local and loopback) go
/// nowhere: peer-to-peer programs try such addresses, which others gave them, all the time, and a host
/// that does is no scanner.
#[inline(always)]
#[must_use]
pub const fn counts(source: [u64; 2], peer: [u64; 2]) -> bool {
    if is_v4(peer) {
        let address = peer[1] as u32;
        if address >> 28 >= 0xe || address == 0 {
            return false;
        }
    } else if peer[0] >> 56 == 0xff || (peer[0] == 0 && peer[1] == 0) {
        return false;
    }
    is_private(source) || !is_private(peer)
}

/// Whether an address is IPv4-mapped.
#[inline(always)]
#[must_use]
pub const fn is_v4(address: [u64; 2]) -> bool {
    address[0] == 0 && address[1] >> 32 == MAPPED >> 32
}

#[inline(always)]
const fn is_private(address: [u64; 2]) -> bool {
    if is_v4(address) {
        let v4 = address[1] as u32;
        v4 >> 24 == 10
            || v4 >> 20 == 0xac1
            || v4 >> 16 == 0xc0a8
            || v4 >> 22 == 0x6440_0000 >> 22
            || v4 >> 16 == 0xa9fe
            || v4 >> 24 == 127
    } else {
        address[0] >> 57 == 0xfc >> 1 || address[0] >> 54 == 0xfe80 >> 6
    }
}

/// Ports of traceroute, whose datagrams are meant to fail.
#[inline(always)]
#[must_use]
pub const fn is_traceroute(port: u16) -> bool {
    port >= 33_434 && port <= 33_700
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fall_evenly_on_questions_and_answers() {
        for start in [0, 1, 1_000_003, u32::MAX - 5_000] {
            let (mut even, mut odd) = (0, 0);
            for ticks in (0..32_000_u32).map(|n| start.wrapping_add(n)).filter(|ticks| is_sampled(*ticks)) {
                *(if ticks % 2 == 0 { &mut even } else { &mut odd }) += 1_u32;
            }
            assert!(even.abs_diff(500) <= 2 && odd.abs_diff(500) <= 2, "{even} {odd}");
        }
    }
    use Direction::{Down, Up};
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn datagrams() {
        let signs = [(Up, true), (Up, false), (Down, true), (Down, false)]
            .map(|(direction, is_first)| Sign::of_datagram(direction, is_first));
        assert_eq!(signs, [Sign::FIRST_DATAGRAM, Sign::DATAGRAM, Sign::DATAGRAM_IN, Sign::DATAGRAM_IN]);
    }

    #[test]
    fn segments() {
        for (flags, up, down) in [
            (0x02, Sign::OPEN, Sign::NONE),
            (0xc2, Sign::OPEN, Sign::NONE),
            (0x12, Sign::ACCEPT, Sign::ACCEPT),
            (0x04, Sign::ABORT, Sign::REJECT),
            (0x14, Sign::ABORT, Sign::REJECT),
            (0x00, Sign::ODD, Sign::NONE),
            (0x01, Sign::ODD, Sign::NONE),
            (0x29, Sign::ODD, Sign::NONE),
            (0x03, Sign::ODD, Sign::NONE),
            (0x10, Sign::NONE, Sign::NONE),
            (0x11, Sign::END, Sign::NONE),
            (0x19, Sign::END, Sign::NONE),
            (0x18, Sign::NONE, Sign::NONE),
        ] {
            assert_eq!(Sign::of_segment(Up, flags), up, "{flags:#x}");
            assert_eq!(Sign::of_segment(Down, flags), down, "{flags:#x}");
        }
    }

    fn address(text: &str) -> [u64; 2] {
        let bits = match text.parse::<Ipv4Addr>() {
            Ok(v4) => v4.to_ipv6_mapped().to_bits(),
            Err(_) => text.parse::<Ipv6Addr>().unwrap().to_bits(),
        };
        [(bits >> 64) as u64, bits as u64]
    }

    #[test]
    fn private_peers_count_for_private_sources_alone() {
        let public = [address("198.51.100.1"), address("2001:db8::1")];
        let private =
            ["10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "169.254.9.9", "fd00::1", "fe80::1"];
        for peer in private.map(address) {
            assert!(!counts(public[0], peer) && !counts(public[1], peer), "{peer:x?}");
            assert!(counts(address("10.9.9.9"), peer), "{peer:x?}");
        }
        for peer in ["192.0.2.1", "172.32.0.1", "100.128.0.1", "2001:db8::2", "11.0.0.1"].map(address) {
            assert!(counts(public[0], peer), "{peer:x?}");
        }
        for peer in ["224.0.0.1", "255.255.255.255", "0.0.0.0", "ff02::1", "::"].map(address) {
            assert!(!counts(address("10.9.9.9"), peer), "{peer:x?}");
        }
    }
}
