//! From what was captured to the Ethernet frame that a gateway would have received.
//!
//! Packets captured without an Ethernet header get one of 14 bytes, with made-up addresses and without
//! tags: their byte counts are those of that frame. What the snapshot length cut off is filled with
//! zeros up to the length on the wire, so that lengths agree and bytes are counted in full; where ports
//! were cut off, the zeros are a malformed header.

use gateway_ebpf::parse::Frame as _;

use super::capture::Packet;
use crate::dataplane::{MAX_FRAME_BYTES, MIN_FRAME_BYTES};

/// Link types (draft-ietf-opsawg-pcaplinktype).
mod link_type {
    pub(super) const NULL: u16 = 0;
    pub(super) const ETHERNET: u16 = 1;
    /// Raw IP as some systems write it instead of [`RAW`].
    pub(super) const RAW_BSD: u16 = 12;
    pub(super) const RAW_OPENBSD: u16 = 14;
    pub(super) const RAW: u16 = 101;
    pub(super) const LOOP: u16 = 108;
    pub(super) const LINUX_COOKED: u16 = 113;
    pub(super) const IPV4: u16 = 228;
    pub(super) const IPV6: u16 = 229;
    pub(super) const LINUX_COOKED_2: u16 = 276;
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Reserved (RFC 1701): what is neither.
const ETHERTYPE_UNKNOWN: u16 = 0xffff;

/// Locally administered, of nobody.
const ADDRESSES: [u8; 12] = [0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];

/// A frame to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'f> {
    pub(super) bytes: &'f [u8],
    /// Whether it was captured with whatever VLAN tags it had.
    pub(super) shows_tags: bool,
    /// Whether some of it was not captured.
    pub(super) is_truncated: bool,
}

/// Makes frames, one at a time.
#[derive(Debug, Default)]
pub(super) struct Framer {
    buffer: Vec<u8>,
}

impl Framer {
    /// The frame of a packet; none for link types that carry something else, or that are not known.
    pub(super) fn frame<'f>(&'f mut self, packet: &'f Packet<'_>) -> Option<Frame<'f>> {
        let captured = packet.captured;
        let (header_bytes, ether_type) = match packet.link_type {
            link_type::ETHERNET => (0, None),
            link_type::RAW | link_type::RAW_BSD | link_type::RAW_OPENBSD => (0, Some(by_version(captured))),
            link_type::IPV4 => (0, Some(ETHERTYPE_IPV4)),
            link_type::IPV6 => (0, Some(ETHERTYPE_IPV6)),
            link_type::NULL | link_type::LOOP => (4, Some(by_family(captured))),
            link_type::LINUX_COOKED => (16, Some(captured.be16(14).unwrap_or(ETHERTYPE_UNKNOWN))),
            link_type::LINUX_COOKED_2 => (20, Some(captured.be16(0).unwrap_or(ETHERTYPE_UNKNOWN))),
            _ => return None,
        };
        let is_truncated = captured.len() < packet.wire_bytes;
        let wire_bytes = packet.wire_bytes.max(captured.len());
        let fits = (MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&wire_bytes);
        let Some(ether_type) = ether_type else {
            if fits && !is_truncated {
                return Some(Frame { bytes: captured, shows_tags: true, is_truncated });
            }
            self.buffer.clear();
            let bytes = self.fill(captured, wire_bytes);
            return Some(Frame { bytes, shows_tags: true, is_truncated });
        };
        self.buffer.clear();
        self.buffer.extend_from_slice(&ADDRESSES);
        self.buffer.extend_from_slice(&ether_type.to_be_bytes());
        let payload = captured.get(header_bytes..).unwrap_or_default();
        let bytes = self.fill(payload, MIN_FRAME_BYTES + wire_bytes.saturating_sub(header_bytes));
        Some(Frame { bytes, shows_tags: false, is_truncated })
    }

    /// Completes the frame in the buffer to `wire_bytes`, or as close as frames can be.
    fn fill(&mut self, payload: &[u8], wire_bytes: usize) -> &[u8] {
        self.buffer.extend_from_slice(payload);
        self.buffer.resize(wire_bytes.clamp(MIN_FRAME_BYTES, MAX_FRAME_BYTES), 0);
        &self.buffer
    }
}

fn by_version(packet: &[u8]) -> u16 {
    match packet.first().map(|first| first >> 4) {
        Some(6) => ETHERTYPE_IPV6,
        _ => ETHERTYPE_IPV4,
    }
}

/// By the address family that BSD loopback interfaces write, in the byte order of the machine that
/// captured ([`link_type::NULL`]) or of the network. IPv6 has another number in each BSD.
fn by_family(packet: &[u8]) -> u16 {
    let family = packet.be32(0).map(|family| family.min(family.swap_bytes()));
    match family {
        Some(2) => ETHERTYPE_IPV4,
        Some(10 | 24 | 28 | 30) => ETHERTYPE_IPV6,
        _ => ETHERTYPE_UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &[u8] = &[0x45, 1, 2, 3];
    const V6: &[u8] = &[0x60, 1, 2, 3];

    fn packet(link_type: u16, captured: &[u8], wire_bytes: usize) -> Packet<'_> {
        Packet { number: 1, at_ns: None, link_type, wire_bytes, captured }
    }

    /// EtherType and payload of the frame made of a whole packet.
    fn framed(link_type: u16, captured: &[u8]) -> (u16, Vec<u8>) {
        let mut framer = Framer::default();
        let packet = packet(link_type, captured, captured.len());
        let frame = framer.frame(&packet).expect("a known link type");
        assert!(!frame.shows_tags && !frame.is_truncated);
        (frame.bytes.be16(12).unwrap(), frame.bytes[14..].to_vec())
    }

    #[test]
    fn raw_ip() {
        for link_type in [12, 14, 101] {
            assert_eq!(framed(link_type, V4), (0x0800, V4.to_vec()));
            assert_eq!(framed(link_type, V6), (0x86dd, V6.to_vec()));
        }
        assert_eq!(framed(228, V6), (0x0800, V6.to_vec()));
        assert_eq!(framed(229, V4), (0x86dd, V4.to_vec()));
    }

    #[test]
    fn loopback_of_either_byte_order() {
        for (family, ether_type) in [(2, 0x0800), (24, 0x86dd), (28, 0x86dd), (30, 0x86dd), (7, 0xffff)] {
            for link_type in [0, 108] {
                let big = [&[0, 0, 0, family], V4].concat();
                let little = [&[family, 0, 0, 0], V4].concat();
                assert_eq!(framed(link_type, &big), (ether_type, V4.to_vec()));
                assert_eq!(framed(link_type, &little), (ether_type, V4.to_vec()));
            }
        }
    }

    #[test]
    fn linux_cooked() {
        let mut first = [0; 16];
        first[14..].copy_from_slice(&[0x86, 0xdd]);
        assert_eq!(framed(113, &[&first[..], V6].concat()), (0x86dd, V6.to_vec()));
        let mut second = [0; 20];
        second[..2].copy_from_slice(&[0x08, 0x00]);
        assert_eq!(framed(276, &[&second[..], V4].concat()), (0x0800, V4.to_vec()));
        // A tag that the kernel put back stands where Ethernet has it.
        let tagged = [&[0, 5, 0x08, 0x00][..], V4].concat();
        second[..2].copy_from_slice(&[0x81, 0x00]);
        assert_eq!(framed(276, &[&second[..], &tagged].concat()), (0x8100, tagged));
    }

    #[test]
    fn a_header_cut_short_is_of_no_known_type() {
        assert_eq!(framed(113, &[0; 15]), (0xffff, vec![]));
        assert_eq!(framed(276, &[0]), (0xffff, vec![]));
        assert_eq!(framed(0, &[0, 0, 2]), (0xffff, vec![]));
        assert_eq!(framed(101, &[]), (0x0800, vec![]));
    }

    #[test]
    fn others_are_not_framed() {
        for link_type in [9, 105, 239, 258, 65_535] {
            assert_eq!(Framer::default().frame(&packet(link_type, V4, 4)), None);
        }
    }

    #[test]
    fn whole_ethernet_is_judged_as_it_is() {
        let bytes = [7; 60];
        let frame = Frame { bytes: &bytes, shows_tags: true, is_truncated: false };
        assert_eq!(Framer::default().frame(&packet(1, &bytes, 60)), Some(frame));
        // Longer than it says: what is there counts.
        assert_eq!(Framer::default().frame(&packet(1, &bytes, 4)), Some(frame));
    }

    #[test]
    fn what_was_not_captured_is_zeros() {
        let mut framer = Framer::default();
        let long = packet(1, &[7; 60], 1_514);
        let frame = framer.frame(&long).unwrap();
        assert!(frame.is_truncated && frame.shows_tags);
        assert_eq!((frame.bytes.len(), &frame.bytes[..60], frame.bytes[60]), (1_514, &[7; 60][..], 0));
        let short = packet(1, &[7; 9], 9);
        let frame = framer.frame(&short).unwrap();
        assert_eq!(
            (frame.is_truncated, frame.bytes),
            (false, &[7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0, 0][..])
        );
        let raw = packet(101, V4, 40);
        assert_eq!(framer.frame(&raw).unwrap().bytes.len(), 54);
        let absurd = packet(1, &[7; 60], usize::MAX);
        assert_eq!(framer.frame(&absurd).unwrap().bytes.len(), MAX_FRAME_BYTES);
        let absurd = packet(113, &[7; 60], usize::MAX);
        assert_eq!(framer.frame(&absurd).unwrap().bytes.len(), MAX_FRAME_BYTES);
    }
}
