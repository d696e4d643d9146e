//! What IPv4 and IPv6 have in common, in two steps: first the fixed header, which says whose packet
//! it is, then what lies between it and the ports.

use super::{Frame, ipv6};
use crate::DropReason;

/// IP protocol numbers that something here depends on.
pub mod number {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    pub(crate) const ICMPV6: u8 = 58;
}

/// A later fragment that starts within the first 20 bytes of a TCP segment overwrites its header
/// (RFC 1858, 4; RFC 3128). In units of eight bytes.
const TCP_HEADER_UNITS: u16 = 3;

/// An address, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// IPv4.
    V4(u32),
    /// IPv6, upper and lower half.
    V6(u64, u64),
}

impl Address {
    /// Valid on one link only, so never routed: IPv6 link-local and multicast of link scope (RFC 4291,
    /// 2.5.6 and 2.7), the unspecified addresses, and IPv4 link-local, local multicast and broadcast
    /// (RFC 3927, RFC 5771, RFC 919).
    #[inline(always)]
    #[must_use]
    pub const fn is_link_scope(self) -> bool {
        match self {
            Self::V4(address) => {
                address == 0 || address == u32::MAX || address >> 16 == 0xa9fe || address >> 8 == 0x00e0_0000
            }
            Self::V6(high, low) => {
                high >> 54 == 0xfe80 >> 6 || (high >> 48) & 0xff0f == 0xff02 || (high == 0 && low == 0)
            }
        }
    }
}

/// The fixed header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// IP protocol number of what follows the fixed header: with IPv6, perhaps an extension header.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub hops: u8,
    /// Fragmentation, as far as the fixed header tells.
    pub fragment: Fragment,
    /// Where the rest starts in the frame.
    pub next: usize,
    /// Bytes of the rest that the header promises, all within the frame.
    pub remaining: u32,
}

/// Which part of a datagram a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// All of it (an IPv6 "atomic" fragment too, RFC 6946).
    Whole,
    /// The beginning: the ports are here.
    First,
    /// A part without ports. Its first fragment was judged by its ports; if that was dropped, this one
    /// can never be reassembled.
    Later {
        /// Where it belongs in the datagram, in units of eight bytes.
        offset_units: u16,
    },
}

impl Fragment {
    #[inline(always)]
    pub(super) const fn new(offset_units: u16, more: bool) -> Self {
        match (offset_units, more) {
            (0, false) => Self::Whole,
            (0, true) => Self::First,
            _ => Self::Later { offset_units },
        }
    }
}

/// What an IP packet carries, below any extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// IP protocol number.
    pub protocol: u8,
    /// Fragmentation.
    pub fragment: Fragment,
    /// Where it starts in the frame.
    pub at: usize,
    /// Its length in bytes, all within the frame.
    pub length: u32,
}

/// Finds the payload.
///
/// # Errors
/// [`DropReason::HeaderChain`] beyond [`MAX_EXTENSION_HEADERS`](super::MAX_EXTENSION_HEADERS);
/// [`DropReason::Malformed`] for an extension header that reaches beyond the packet;
/// [`DropReason::Fragment`] if that is so in a first fragment (RFC 7112), and for a fragment that
/// overlaps a TCP header.
#[inline(always)]
pub fn payload(frame: &(impl Frame + ?Sized), ip: &Ip) -> Result<Payload, DropReason> {
    let start = Payload { protocol: ip.protocol, fragment: ip.fragment, at: ip.next, length: ip.remaining };
    let payload = match ip.source {
        Address::V6(..) if ipv6::is_extension(ip.protocol) => frame.walk(start)?,
        _ => start,
    };
    match payload.fragment {
        Fragment::Later { offset_units: ..TCP_HEADER_UNITS } if payload.protocol == number::TCP => {
            Err(DropReason::Fragment)
        }
        _ => Ok(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn link_scope() {
        let v4 = |text: &str| Address::V4(text.parse::<Ipv4Addr>().unwrap().to_bits());
        let v6 = |text: &str| {
            let bits = text.parse::<Ipv6Addr>().unwrap().to_bits();
            Address::V6((bits >> 64) as u64, bits as u64)
        };
        for address in ["0.0.0.0", "255.255.255.255", "169.254.1.1", "224.0.0.22"] {
            assert!(v4(address).is_link_scope(), "{address}");
        }
        for address in ["192.0.2.1", "224.0.1.1", "169.253.255.255", "127.0.0.1"] {
            assert!(!v4(address).is_link_scope(), "{address}");
        }
        for address in ["::", "fe80::1", "febf::1", "ff02::1:2", "ff12::1"] {
            assert!(v6(address).is_link_scope(), "{address}");
        }
        for address in ["::1", "fec0::1", "2001:db8::1", "ff05::1:3", "ff01::1"] {
            assert!(!v6(address).is_link_scope(), "{address}");
        }
    }
}
