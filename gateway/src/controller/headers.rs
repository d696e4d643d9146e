//! What the headers of a sampled packet say, as far as they can be read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gateway_ebpf::parse::{self, Address, Fragment, Frame, Network, Opening};

/// Addresses and ports of a packet; what is none could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Sender.
    pub source: Option<IpAddr>,
    /// Receiver.
    pub destination: Option<IpAddr>,
    /// IP protocol number, after any extension headers.
    pub protocol: Option<u8>,
    /// The sender's and the receiver's port.
    pub ports: Option<(u16, u16)>,
    /// Whether it is a TCP segment that opens a connection.
    pub opens_connection: bool,
    /// Whether it is a fragment.
    pub is_fragment: bool,
}

impl Headers {
    /// Reads the first bytes of a frame of `frame_bytes`, as the programs do.
    #[must_use]
    pub fn read(head: &[u8], frame_bytes: u32) -> Self {
        let frame = Head { bytes: head, frame_bytes };
        let ip = match parse::ethernet(&frame).map(|link| (link.network, link.next)) {
            Ok((Network::Ipv4, next)) => parse::ipv4(&frame, next),
            Ok((Network::Ipv6, next)) => parse::ipv6(&frame, next),
            _ => return Self::default(),
        };
        let Ok(ip) = ip else { return Self::default() };
        let (source, destination) = (Some(address(ip.source)), Some(address(ip.destination)));
        let is_fragment = ip.fragment != Fragment::Whole;
        let headers = Self { source, destination, is_fragment, ..Self::default() };
        let Ok(payload) = parse::payload(&frame, &ip) else { return headers };
        let is_fragment = payload.fragment != Fragment::Whole;
        let headers = Self { protocol: Some(payload.protocol), is_fragment, ..headers };
        match parse::transport(&frame, &payload) {
            Ok(Some(transport)) => Self {
                ports: Some((transport.source, transport.destination)),
                opens_connection: transport.opening() == Opening::Yes,
                ..headers
            },
            _ => headers,
        }
    }

    /// Whether it comes from an address, or goes to it.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        [self.source, self.destination].contains(&Some(address))
    }
}

/// A frame of which only the beginning is there.
struct Head<'a> {
    bytes: &'a [u8],
    frame_bytes: u32,
}

impl Frame for Head<'_> {
    fn reaches(&self, end: u32) -> bool {
        end <= self.frame_bytes
    }

    fn be16(&self, at: usize) -> Option<u16> {
        self.bytes.be16(at)
    }

    fn be32(&self, at: usize) -> Option<u32> {
        self.bytes.be32(at)
    }

    fn be64(&self, at: usize) -> Option<u64> {
        self.bytes.be64(at)
    }
}

fn address(address: Address) -> IpAddr {
    match address {
        Address::V4(bits) => Ipv4Addr::from_bits(bits).into(),
        Address::V6(high, low) => Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 datagram with 1,000 bytes of data from 203.0.113.1:4000 to 192.0.2.25:25, in a frame.
    fn frame(protocol: u8, transport: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0x04, 0x04, 0, 0, 0, 0, 64, protocol, 0, 0]);
        frame.extend([203, 0, 113, 1, 192, 0, 2, 25]);
        frame.extend(transport);
        frame.resize(14 + 0x404, 0);
        frame
    }

    const SYN: [u8; 20] = [0x0f, 0xa0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0];

    #[test]
    fn the_beginning_of_a_frame_is_enough() {
        let frame = frame(6, &SYN);
        let expected = Headers {
            source: Some("203.0.113.1".parse().unwrap()),
            destination: Some("192.0.2.25".parse().unwrap()),
            protocol: Some(6),
            ports: Some((4_000, 25)),
            opens_connection: true,
            is_fragment: false,
        };
        assert_eq!(Headers::read(&frame[..128], frame.len() as u32), expected);
        // Cut in the middle of the ports, only these are missing.
        let no_ports = Headers { ports: None, opens_connection: false, ..expected };
        assert_eq!(Headers::read(&frame[..36], frame.len() as u32), no_ports);
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        assert_eq!(Headers::read(&[], 60), Headers::default());
        assert_eq!(Headers::read(&[0xff; 128], 1_500), Headers::default());
        // A later fragment has no ports.
        let mut later = frame(17, &[]);
        later[20..22].copy_from_slice(&100_u16.to_be_bytes());
        let headers = Headers::read(&later[..128], later.len() as u32);
        assert_eq!((headers.protocol, headers.ports, headers.is_fragment), (Some(17), None, true));
    }
}
