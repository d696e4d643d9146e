//! Forwarding without the router's stack: which packets are plain enough for it, and what a hop changes in them
//! (RFC 1812, 5.2 and 5.3; RFC 8200, 3).
//!
//! What is not plain is not refused: the stack has the rules for it, and is handed it as it came.

use crate::parse::{Address, Ip};
use crate::refusal::{checksum, sum};

/// IPv6 next header of options that every router on the way has to look at (RFC 8200, 4.3).
const HOP_BY_HOP: u8 = 0;

/// Length of an Ethernet frame without FCS, at least; a packet shorter than that is padded.
const LEAST_FRAME: u32 = 60;

/// Whether a packet may be forwarded by whoever does no more than look its route up: it has a hop left, no options
/// for routers, and two addresses that packets are routed by. `network` is where its header starts.
#[inline(always)]
#[must_use]
pub const fn is_plain(ip: &Ip, network: usize) -> bool {
    let has_options = match ip.destination {
        Address::V4(_) => ip.next != network + 20,
        Address::V6(..) => ip.protocol == HOP_BY_HOP,
    };
    !has_options && ip.hops > 1 && is_routed(ip.source) && is_routed(ip.destination)
}

/// Whether nothing but the packet and Ethernet's padding is in a frame of `frame_bytes`, and all of the packet, which
/// ends at `end`, in the `linear_bytes` of the first buffer. The stack cuts off what is beyond.
#[inline(always)]
#[must_use]
pub const fn is_snug(end: u32, linear_bytes: u32, frame_bytes: u32) -> bool {
    end <= linear_bytes && (frame_bytes == end || frame_bytes <= LEAST_FRAME)
}

/// Whether a router passes on what comes from, or goes to, an address: not multicast, broadcast, loopback,
/// link-local, reserved or unspecified (RFC 6890; RFC 4291, 2.5: what begins with 64 zero bits is no host's).
#[inline(always)]
const fn is_routed(address: Address) -> bool {
    match address {
        Address::V4(address) => {
            let first = address >> 24;
            first != 0 && first != 127 && first < 0xe0 && address >> 16 != 0xa9fe
        }
        Address::V6(high, _) => high != 0 && high >> 56 != 0xff && high >> 54 != 0xfe80 >> 6,
    }
}

/// Whether the checksum of an IPv4 header without options is right, which a router has to see to (RFC 1812, 5.2.2).
#[inline(always)]
#[must_use]
pub fn is_sound_v4(header: &[u32; 5]) -> bool {
    checksum(sum(header)) == 0
}

/// The third word of an IPv4 header (time to live, protocol, checksum) one hop on, its checksum right if it was
/// (RFC 1624, equation 3).
#[inline(always)]
#[must_use]
pub const fn next_hop_v4(word: u32) -> u32 {
    let (old, checksum) = (word >> 16, word & 0xffff);
    let new = old.wrapping_sub(0x0100) & 0xffff;
    let sum = (!checksum & 0xffff) + (!old & 0xffff) + new;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    new << 16 | (!sum & 0xffff)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::parse::{ipv4, ipv6};
    use etherparse::{Ipv4Header, Ipv6Header};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn v4(source: [u8; 4], destination: [u8; 4]) -> Ipv4Header {
        Ipv4Header::new(0, 64, etherparse::IpNumber::UDP, source, destination).unwrap()
    }

    fn written(header: &Ipv4Header) -> Vec<u8> {
        let mut bytes = Vec::new();
        header.write(&mut bytes).unwrap();
        bytes
    }

    fn is_plain_v4(header: &Ipv4Header) -> bool {
        is_plain(&ipv4(written(header).as_slice(), 0).unwrap(), 0)
    }

    fn is_plain_v6(source: &str, destination: &str, hops: u8, next_header: u8) -> bool {
        let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let (source, destination) = (address(source), address(destination));
        let header = Ipv6Header {
            hop_limit: hops,
            next_header: next_header.into(),
            source,
            destination,
            ..Ipv6Header::default()
        };
        is_plain(&ipv6(header.to_bytes().as_slice(), 0).unwrap(), 0)
    }

    #[test]
    fn plain_packets_have_hops_left_and_no_options() {
        let plain = v4([203, 0, 113, 1], [198, 51, 100, 1]);
        assert!(is_plain_v4(&plain));
        assert!(is_plain_v4(&Ipv4Header { time_to_live: 2, ..plain.clone() }));
        assert!(!is_plain_v4(&Ipv4Header { time_to_live: 1, ..plain.clone() }));
        assert!(!is_plain_v4(&Ipv4Header { time_to_live: 0, ..plain.clone() }));
        // Router alert (RFC 2113).
        let alert = Ipv4Header { options: [0x94, 4, 0, 0].into(), total_len: 24, ..plain };
        assert!(!is_plain_v4(&alert));

        let (here, there) = ("2001:db8:10::1", "2001:db8:ffff::1");
        assert!(is_plain_v6(here, there, 64, 17) && is_plain_v6(here, there, 2, 17));
        assert!(!is_plain_v6(here, there, 1, 17) && !is_plain_v6(here, there, 0, 17));
        assert!(!is_plain_v6(here, there, 64, HOP_BY_HOP));
    }

    #[test]
    fn only_hosts_addresses_are_routed() {
        let host = [203, 0, 113, 1];
        for special in [
            [0, 0, 0, 0],
            [0, 1, 2, 3],
            [127, 0, 0, 1],
            [169, 254, 1, 1],
            [224, 0, 0, 5],
            [239, 1, 1, 1],
            [255, 255, 255, 255],
        ] {
            assert!(!is_plain_v4(&v4(host, special)) && !is_plain_v4(&v4(special, host)), "{special:?}");
        }
        for hosts in [[1, 1, 1, 1], [126, 255, 255, 255], [169, 253, 1, 1], [223, 255, 255, 254]] {
            assert!(is_plain_v4(&v4(host, hosts)) && is_plain_v4(&v4(hosts, host)), "{hosts:?}");
        }
        let host = "2001:db8::1";
        for special in ["::", "::1", "::ffff:203.0.113.1", "fe80::1", "febf::1", "ff02::1", "ff0e::1"] {
            assert!(!is_plain_v6(host, special, 64, 17) && !is_plain_v6(special, host, 64, 17), "{special}");
        }
        for hosts in ["fc00::1", "fe00::1", "2000::1"] {
            assert!(is_plain_v6(host, hosts, 64, 17), "{hosts}");
        }
    }

    #[test]
    fn a_frame_holds_its_packet_and_padding_alone() {
        assert!(is_snug(42, 42, 42) && is_snug(42, 60, 60) && is_snug(1_514, 1_514, 1_514));
        // Something follows the packet; the packet goes on in another buffer.
        assert!(!is_snug(42, 61, 61) && !is_snug(1_514, 1_515, 1_515) && !is_snug(4_000, 3_500, 4_000));
        assert!(!is_snug(59, 50, 60));
    }

    proptest! {
        #[test]
        fn checksums_stay_right(
            source in any::<[u8; 4]>(), destination in any::<[u8; 4]>(), hops in 1_u8.., protocol in any::<u8>(),
            identification in any::<u16>(), length in 0_u16..1_480,
        ) {
            let header = Ipv4Header::new(length, hops, protocol.into(), source, destination).unwrap();
            let mut header = Ipv4Header { identification, ..header };
            let words = |bytes: &[u8]| {
                core::array::from_fn(|n| u32::from_be_bytes(*bytes[n * 4..].first_chunk().unwrap()))
            };
            let before = written(&header);
            let word = u32::from_be_bytes(before[8..12].try_into().unwrap());
            header.time_to_live -= 1;
            // The new hops, the old checksum.
            prop_assert!(!is_sound_v4(&words(&[&written(&header)[..10], &before[10..]].concat())));
            prop_assert!(is_sound_v4(&words(&before)));
            prop_assert_eq!(&next_hop_v4(word).to_be_bytes(), &written(&header)[8..12]);
        }
    }

    #[test]
    fn every_checksum_is_carried_on() {
        // Against the sum itself, so that both forms of zero are met.
        for checksum in 0..=0xffff_u32 {
            let word = 0x4011 << 16 | checksum;
            let sum = |word: u32| ((word >> 16) + (word & 0xffff)) % 0xffff;
            assert_eq!(sum(word), sum(next_hop_v4(word)), "{checksum:#06x}");
        }
    }
}
