//! Refusal instead of silence (policy rule M3): what a tenant is told when its packet meets a closed
//! port, so that its programs fail at once and say why. TCP is reset (RFC 9293, 3.10.7.1); UDP gets
//! "communication administratively prohibited" (RFC 1812, 5.2.7.1; RFC 4443, 3.1).
//!
//! Packets are built as 32-bit words of the network layer and what it carries, whole and with their
//! checksums, and written over the packet that is refused.

use crate::parse::Address;

/// Flags of a TCP header.
pub mod flag {
    /// The sender is finished.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Ends a connection at once.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
}

const TCP: u32 = 6;
const ICMP: u32 = 1;
const ICMPV6: u32 = 58;
/// As Linux sends.
const HOPS: u32 = 64;

/// Words of an IPv4 header without options, of an IPv6 header, of a TCP header without options.
const V4: usize = 5;
const V6: usize = 10;
const TCP_WORDS: usize = 5;

/// Length of the reset to a TCP segment over IPv4, in words.
pub const RESET_V4: usize = V4 + TCP_WORDS;
/// The same over IPv6.
pub const RESET_V6: usize = V6 + TCP_WORDS;
/// Words of a refused IPv4 packet that are quoted: its header without options and eight bytes more.
pub const QUOTE_V4: usize = V4 + 2;
/// The same for IPv6.
pub const QUOTE_V6: usize = V6 + 2;
/// Length of the ICMP message over IPv4, in words.
pub const PROHIBITED_V4: usize = V4 + 2 + QUOTE_V4;
/// The same over IPv6.
pub const PROHIBITED_V6: usize = V6 + 2 + QUOTE_V6;

/// A TCP segment that is refused.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Source port in the upper half, destination port in the lower.
    pub ports: u32,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// [`flag`]s.
    pub flags: u8,
    /// Bytes of data in it.
    pub data_length: u32,
}

impl Segment {
    /// The TCP header that resets the connection, its checksum still 0.
    #[inline(always)]
    fn reset(&self) -> [u32; TCP_WORDS] {
        let (sequence, acknowledgement, flags) = if self.flags & flag::ACK != 0 {
            (self.acknowledgement, 0, flag::RST)
        } else {
            // SYN and FIN take a sequence number each.
            let phantom = (self.flags >> 1 & 1) + (self.flags & 1);
            let next = self.sequence.wrapping_add(self.data_length).wrapping_add(phantom as u32);
            (0, next, flag::RST | flag::ACK)
        };
        [self.ports.rotate_left(16), sequence, acknowledgement, 5 << 28 | (flags as u32) << 16, 0]
    }
}

/// Ones' complement sum of 16-bit words (RFC 1071), not yet folded.
#[inline(always)]
pub(crate) fn sum(words: &[u32]) -> u64 {
    let mut total = 0_u64;
    for word in words {
        total += u64::from(word >> 16) + u64::from(word & 0xffff);
    }
    total
}

/// The checksum of what was summed.
#[inline(always)]
pub(crate) const fn checksum(mut total: u64) -> u32 {
    // 40 words of two halves each stay far below 2^32: two folds leave no carry.
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    !(total as u32) & 0xffff
}

/// The IPv4 header of an answer.
#[inline(always)]
fn header_v4(source: u32, destination: u32, protocol: u32, total_words: usize) -> [u32; V4] {
    let length = total_words as u32 * 4;
    // Version 4, no options; don't fragment, as Linux sets it with identification 0.
    let mut header = [0x4500_0000 | length, 0x4000, HOPS << 24 | protocol << 16, source, destination];
    header[2] |= checksum(sum(&header));
    header
}

/// The IPv6 header of an answer.
#[inline(always)]
fn header_v6(source: (u64, u64), destination: (u64, u64), protocol: u32, total_words: usize) -> [u32; V6] {
    let length = (total_words - V6) as u32 * 4;
    let [s, d] =
        [source, destination].map(|(high, low)| [high >> 32, high, low >> 32, low].map(|word| word as u32));
    [0x6000_0000, length << 16 | protocol << 8 | HOPS, s[0], s[1], s[2], s[3], d[0], d[1], d[2], d[3]]
}

/// What the pseudo header adds to a checksum (RFC 9293, 3.1; RFC 8200, 8.1).
#[inline(always)]
fn pseudo(addresses: &[u32], protocol: u32, length: usize) -> u64 {
    sum(addresses) + u64::from(protocol) + length as u64
}

/// Joins the parts of a packet.
#[inline(always)]
fn join<const A: usize, const B: usize, const N: usize>(first: [u32; A], second: [u32; B]) -> [u32; N] {
    let mut words = [0; N];
    words[..A].copy_from_slice(&first);
    words[A..A + B].copy_from_slice(&second);
    words
}

/// The reset for a segment from `source` to `destination`, over IPv4.
#[inline(always)]
#[must_use]
pub fn reset_v4(source: u32, destination: u32, segment: &Segment) -> [u32; RESET_V4] {
    let header = header_v4(destination, source, TCP, RESET_V4);
    let mut tcp = segment.reset();
    tcp[4] = checksum(sum(&tcp) + pseudo(&[source, destination], TCP, TCP_WORDS * 4)) << 16;
    join(header, tcp)
}

/// The same over IPv6.
#[inline(always)]
#[must_use]
pub fn reset_v6(source: (u64, u64), destination: (u64, u64), segment: &Segment) -> [u32; RESET_V6] {
    let header = header_v6(destination, source, TCP, RESET_V6);
    let mut tcp = segment.reset();
    tcp[4] = checksum(sum(&tcp) + pseudo(&header[2..], TCP, TCP_WORDS * 4)) << 16;
    join(header, tcp)
}

/// The ICMP message for a packet that begins with the words `quote`, over IPv4: type 3, code 13.
#[inline(always)]
#[must_use]
pub fn prohibited_v4(source: u32, destination: u32, quote: [u32; QUOTE_V4]) -> [u32; PROHIBITED_V4] {
    let header = header_v4(destination, source, ICMP, PROHIBITED_V4);
    let mut head = [3 << 24 | 13 << 16, 0];
    head[0] |= checksum(sum(&head) + sum(&quote));
    let message: [u32; 2 + QUOTE_V4] = join(head, quote);
    join(header, message)
}

/// The same over IPv6: type 1, code 1.
#[inline(always)]
#[must_use]
pub fn prohibited_v6(
    source: (u64, u64),
    destination: (u64, u64),
    quote: [u32; QUOTE_V6],
) -> [u32; PROHIBITED_V6] {
    let header = header_v6(destination, source, ICMPV6, PROHIBITED_V6);
    let mut head = [1 << 24 | 1 << 16, 0];
    let length = (2 + QUOTE_V6) * 4;
    head[0] |= checksum(sum(&head) + sum(&quote) + pseudo(&header[2..], ICMPV6, length));
    let message: [u32; 2 + QUOTE_V6] = join(head, quote);
    join(header, message)
}

/// Whether a destination is one host's: nothing that was sent to many is answered (RFC 1122, 3.2.2).
#[inline(always)]
#[must_use]
pub const fn is_unicast(address: Address) -> bool {
    match address {
        Address::V4(address) => address >> 28 < 0xe,
        Address::V6(high, _) => high >> 56 != 0xff,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn segment() -> impl Strategy<Value = Segment> {
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<u8>(), 0_u32..65_000).prop_map(
            |(ports, sequence, acknowledgement, flags, data_length)| Segment {
                ports,
                sequence,
                acknowledgement,
                flags,
                data_length,
            },
        )
    }

    fn check_reset(packet: &[u8], segment: &Segment) {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
        let expected = match &sliced.net {
            Some(NetSlice::Ipv4(ip)) => {
                assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
                tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination())
            }
            Some(NetSlice::Ipv6(ip)) => {
                tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(Ok(tcp.checksum()), expected.map_err(|_| ()));
        assert!(tcp.rst() && !tcp.syn() && !tcp.fin());
        assert_eq!(
            (u32::from(tcp.destination_port()), u32::from(tcp.source_port())),
            (segment.ports >> 16, segment.ports & 0xffff)
        );
        if segment.flags & flag::ACK != 0 {
            assert_eq!((tcp.sequence_number(), tcp.ack()), (segment.acknowledgement, false));
        } else {
            let taken = u32::from(segment.flags & flag::SYN != 0) + u32::from(segment.flags & flag::FIN != 0);
            let next = segment.sequence.wrapping_add(segment.data_length + taken);
            assert_eq!((tcp.sequence_number(), tcp.ack(), tcp.acknowledgment_number()), (0, true, next));
        }
    }

    proptest! {
        #[test]
        fn resets_are_what_tcp_expects(
            v4 in any::<[u32; 2]>(), v6 in any::<[(u64, u64); 2]>(), segment in segment(),
        ) {
            let packet = bytes(&reset_v4(v4[0], v4[1], &segment));
            check_reset(&packet, &segment);
            prop_assert_eq!(&packet[12..16], v4[1].to_be_bytes());
            prop_assert_eq!(&packet[16..20], v4[0].to_be_bytes());
            check_reset(&bytes(&reset_v6(v6[0], v6[1], &segment)), &segment);
        }

        #[test]
        fn icmp_messages_are_sound(
            v4 in any::<[u32; 2]>(), v6 in any::<[(u64, u64); 2]>(),
            quote4 in any::<[u32; QUOTE_V4]>(), quote6 in any::<[u32; QUOTE_V6]>(),
        ) {
            let packet = bytes(&prohibited_v4(v4[0], v4[1], quote4));
            let sliced = SlicedPacket::from_ip(&packet).unwrap();
            let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("no ICMP") };
            prop_assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 13));
            prop_assert_eq!(icmp.payload(), bytes(&quote4));
            // The sum over the whole message, its checksum included, has all bits set.
            let message: Vec<u32> = prohibited_v4(v4[0], v4[1], quote4)[V4..].to_vec();
            prop_assert_eq!(checksum(sum(&message)), 0);

            let packet = bytes(&prohibited_v6(v6[0], v6[1], quote6));
            let sliced = SlicedPacket::from_ip(&packet).unwrap();
            let Some(NetSlice::Ipv6(ip)) = &sliced.net else { panic!("no IPv6") };
            let Some(TransportSlice::Icmpv6(icmp)) = &sliced.transport else { panic!("no ICMPv6") };
            prop_assert_eq!((icmp.type_u8(), icmp.code_u8()), (1, 1));
            prop_assert_eq!(icmp.payload(), bytes(&quote6));
            prop_assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
        }
    }
}
