//! IPv4 and IPv6 down to the ports: lengths that lie, chains of headers, fragments.
//!
//! A first fragment must hold every header up to the ports whole (RFC 1858, RFC 7112); no later one may
//! begin within a TCP header. Eight extension headers are looked through. Tunnels are not: ESP and IPv4's
//! AH among them.

use std::net::IpAddr;
use std::ops::Range;

use etherparse::err::tcp::HeaderSliceError;
use etherparse::{
    IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice, UdpHeaderSlice,
};
use gateway::config::Protocol;
use gateway_ebpf::DropReason;
use gateway_ebpf::parse::Address;
use gateway_ebpf::policer::flow;

use super::Judged;

/// Extension headers that are looked through.
const MAX_EXTENSIONS: usize = 8;

/// Bytes of the shortest TCP header.
const TCP_HEADER: u16 = 20;

/// What the fixed header says.
#[derive(Clone, Debug)]
pub(super) struct Ip {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    protocol: IpNumber,
    hops: u8,
    part: Part,
    /// What follows the fixed header, as far as the packet's own length goes.
    pub(super) body: Range<usize>,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    First,
    /// From this byte of the datagram on.
    Later(u16),
}

impl Part {
    fn new(offset_bytes: u16, more: bool) -> Self {
        match (offset_bytes, more) {
            (0, false) => Self::Whole,
            (0, true) => Self::First,
            (offset_bytes, _) => Self::Later(offset_bytes),
        }
    }

    /// Why a packet is dropped whose headers go on where it ends.
    fn cut(self) -> DropReason {
        if self == Self::First { DropReason::Fragment } else { DropReason::Malformed }
    }
}

/// Ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transport {
    pub(super) protocol: Protocol,
    pub(super) source: u16,
    pub(super) destination: u16,
    /// Whether it surely opens no connection: TCP but for a SYN without ACK.
    pub(super) goes_on: bool,
}

/// Reads an IPv4 header.
pub(super) fn dissect_v4(frame: &[u8], at: usize) -> Judged<Ip> {
    let header = Ipv4HeaderSlice::from_slice(&frame[at..]).map_err(|_lie| DropReason::Malformed)?;
    let (start, end) = (at + header.slice().len(), at + usize::from(header.total_len()));
    if end < start || end > frame.len() {
        return Err(DropReason::Malformed);
    }
    Ok(Ip {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.protocol(),
        hops: header.ttl(),
        part: Part::new(header.fragments_offset().byte_offset(), header.more_fragments()),
        body: start..end,
    })
}

/// Reads an IPv6 header. A payload length of 0 means no payload: jumbograms (RFC 2675) are not known.
pub(super) fn dissect_v6(frame: &[u8], at: usize) -> Judged<Ip> {
    let header = Ipv6HeaderSlice::from_slice(&frame[at..]).map_err(|_lie| DropReason::Malformed)?;
    let start = at + header.slice().len();
    let end = start + usize::from(header.payload_length());
    if end > frame.len() {
        return Err(DropReason::Malformed);
    }
    Ok(Ip {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.next_header(),
        hops: header.hop_limit(),
        part: Part::Whole,
        body: start..end,
    })
}

/// Whether it is neighbour discovery (RFC 4861): ICMPv6 right behind the fixed header, of types 133 to
/// 137, the shortest of which has eight bytes, and a hop limit that no router has lowered.
pub(super) fn is_neighbour_discovery(frame: &[u8], readable: usize, ip: &Ip) -> bool {
    ip.source.is_ipv6()
        && ip.protocol == IpNumber::IPV6_ICMP
        && ip.hops == 255
        && ip.body.len() >= 8
        && ip.body.start < readable
        && (133..=137).contains(&frame[ip.body.start])
}

/// Whether it is part of a datagram, as far as its headers can be read.
pub(super) fn is_fragment(frame: &[u8], readable: usize, ip: &Ip) -> bool {
    behind_extensions(frame, readable, ip).is_ok_and(|ip| ip.part != Part::Whole)
}

/// The ports of a packet; none for later fragments and protocols without ports.
pub(super) fn transport(frame: &[u8], readable: usize, ip: &Ip) -> Judged<Option<Transport>> {
    let Ip { protocol, part, body, .. } = behind_extensions(frame, readable, ip)?;
    let bytes = &frame[body.clone()];
    let is_readable = |length: usize| body.start + length <= readable;
    match (protocol, part) {
        (IpNumber::TCP, Part::Later(..TCP_HEADER)) => Err(DropReason::Fragment),
        (_, Part::Later(_)) => Ok(None),
        // The ports, and the data offset in the 13th byte.
        (IpNumber::TCP, _) if !is_readable(14) => Err(part.cut()),
        (IpNumber::TCP, _) => match TcpHeaderSlice::from_slice(bytes) {
            Ok(tcp) => Ok(Some(Transport {
                protocol: Protocol::Tcp,
                source: tcp.source_port(),
                destination: tcp.destination_port(),
                goes_on: !tcp.syn() || tcp.ack(),
            })),
            // A header shorter than any is a lie, not one that goes on in the next fragment.
            Err(HeaderSliceError::Content(_)) => Err(DropReason::Malformed),
            Err(HeaderSliceError::Len(_)) => Err(part.cut()),
        },
        (IpNumber::UDP, _) if !is_readable(4) => Err(part.cut()),
        (IpNumber::UDP, _) => match UdpHeaderSlice::from_slice(bytes) {
            Ok(udp) => Ok(Some(Transport {
                protocol: Protocol::Udp,
                source: udp.source_port(),
                destination: udp.destination_port(),
                goes_on: false,
            })),
            Err(_short) => Err(part.cut()),
        },
        _ => Ok(None),
    }
}

/// The phantom queue of a packet whose [`transport`] is known: by its ports too, unless it is a fragment or has extension headers.
pub(super) fn queue(frame: &[u8], readable: usize, ip: &Ip, transport: Option<Transport>) -> u32 {
    let Ok(Ip { protocol, part, .. }) = behind_extensions(frame, readable, ip) else { return 0 };
    let ports = match transport {
        Some(Transport { source, destination, .. }) if part == Part::Whole && protocol == ip.protocol => {
            u32::from(source) << 16 | u32::from(destination)
        }
        _ => 0,
    };
    let address = |address| match address {
        IpAddr::V4(v4) => Address::V4(v4.to_bits()),
        IpAddr::V6(v6) => Address::V6((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
    };
    flow::queue(address(ip.source), address(ip.destination), protocol.0, ports)
}

/// The same packet as if it had no extension headers.
fn behind_extensions(frame: &[u8], readable: usize, ip: &Ip) -> Judged<Ip> {
    let mut ip = ip.clone();
    let mut seen = 0;
    while ip.source.is_ipv6() && is_extension(ip.protocol) && !matches!(ip.part, Part::Later(_)) {
        if seen == MAX_EXTENSIONS {
            return Err(DropReason::HeaderChain);
        }
        seen += 1;
        let bytes = &frame[ip.body.clone()];
        if bytes.len() < 8 || ip.body.start + 4 > readable {
            return Err(ip.part.cut());
        }
        let length = match ip.protocol {
            IpNumber::IPV6_FRAGMENTATION_HEADER => 8,
            // RFC 4302, 2.2: in units of four bytes, less two.
            IpNumber::AUTHENTICATION_HEADER => (usize::from(bytes[1]) + 2) * 4,
            _ => (usize::from(bytes[1]) + 1) * 8,
        };
        if length > bytes.len() {
            return Err(ip.part.cut());
        }
        if ip.protocol == IpNumber::IPV6_FRAGMENTATION_HEADER {
            let header = Ipv6FragmentHeaderSlice::from_slice(bytes).map_err(|_short| ip.part.cut())?;
            let part = Part::new(header.fragment_offset().byte_offset(), header.more_fragments());
            // An atomic fragment (RFC 6946) within a first one does not make it whole.
            ip.part = if part == Part::Whole { ip.part } else { part };
        }
        ip.protocol = IpNumber(bytes[0]);
        ip.body.start += length;
    }
    Ok(ip)
}

/// Headers that name the next one: etherparse counts ESP, which hides it, and two experimental
/// numbers, whose form is nobody's business but the experiment's.
fn is_extension(protocol: IpNumber) -> bool {
    const OPAQUE: [IpNumber; 3] = [
        IpNumber::ENCAPSULATING_SECURITY_PAYLOAD,
        IpNumber::EXPERIMENTAL_AND_TESTING_0,
        IpNumber::EXPERIMENTAL_AND_TESTING_1,
    ];
    protocol.is_ipv6_ext_header_value() && !OPAQUE.contains(&protocol)
}
