//! Ethernet frames for tests, honest and otherwise. Addresses are given as text; IPv4 or IPv6 follows
//! from them.

use std::net::IpAddr;

/// EtherTypes and protocol numbers.
pub mod number {
    /// EtherType of IPv4.
    pub const IPV4: u16 = 0x0800;
    /// EtherType of IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// EtherType of ARP.
    pub const ARP: u16 = 0x0806;
    /// EtherType of a customer VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// EtherType of a service VLAN tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// IP protocol number of TCP.
    pub const TCP: u8 = 6;
    /// IP protocol number of UDP.
    pub const UDP: u8 = 17;
    /// IP protocol number of ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 extension headers.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing header.
    pub const ROUTING: u8 = 43;
    /// Fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// Destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// A TCP header (SYN) with `payload` behind it.
#[must_use]
pub fn tcp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

/// A UDP header with `payload` behind it.
#[must_use]
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

/// An IP packet under construction.
#[derive(Clone, Debug)]
pub struct Packet {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    hops: u8,
    options: Vec<u8>,
    /// IPv4: the whole word of flags and offset. IPv6 uses [`Packet::extension`].
    fragment_word: u16,
    /// IPv6 extension headers, each with its own number, the next one's still missing.
    extensions: Vec<(u8, Vec<u8>)>,
    payload: Vec<u8>,
    length_error: i32,
    version: Option<u8>,
    tags: Vec<(u16, u16)>,
}

/// A packet from one address to another.
///
/// # Panics
/// If an address does not parse, or the two are of different families.
#[must_use]
pub fn packet(source: &str, destination: &str, protocol: u8, payload: Vec<u8>) -> Packet {
    let parse = |text: &str| text.parse::<IpAddr>().unwrap_or_else(|error| panic!("{text}: {error}"));
    between(parse(source), parse(destination), protocol, payload)
}

/// [`packet`], with addresses instead of text.
///
/// # Panics
/// If the two are of different families.
#[must_use]
pub fn between(source: IpAddr, destination: IpAddr, protocol: u8, payload: Vec<u8>) -> Packet {
    assert_eq!(source.is_ipv4(), destination.is_ipv4());
    Packet {
        source,
        destination,
        protocol,
        hops: 64,
        options: Vec::new(),
        fragment_word: 0,
        extensions: Vec::new(),
        payload,
        length_error: 0,
        version: None,
        tags: Vec::new(),
    }
}

/// A TCP SYN.
#[must_use]
pub fn syn(source: &str, destination: &str, source_port: u16, destination_port: u16) -> Packet {
    packet(source, destination, number::TCP, tcp(source_port, destination_port, &[]))
}

/// A TCP segment with these control bits (RFC 9293, 3.1).
#[must_use]
pub fn segment(source: &str, destination: &str, ports: (u16, u16), flags: u8) -> Packet {
    let mut bytes = tcp(ports.0, ports.1, &[]);
    bytes[13] = flags;
    packet(source, destination, number::TCP, bytes)
}

/// A UDP datagram with `length` bytes of payload.
#[must_use]
pub fn datagram(source: &str, destination: &str, ports: (u16, u16), length: usize) -> Packet {
    packet(source, destination, number::UDP, udp(ports.0, ports.1, &vec![0x55; length]))
}

impl Packet {
    /// Adds a VLAN tag inside those already there; `tci` is priority, DEI and VID.
    #[must_use]
    pub fn tag(mut self, ether_type: u16, tci: u16) -> Self {
        self.tags.push((ether_type, tci));
        self
    }

    /// Sets the time to live or hop limit.
    #[must_use]
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// Adds IPv4 options; a multiple of four bytes, at most 40.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options.extend(options);
        self
    }

    /// Makes it a fragment, in units of eight bytes: of IPv4 in the header, of IPv6 by an extension
    /// header after those already there.
    #[must_use]
    pub fn fragment(mut self, offset_units: u16, more: bool) -> Self {
        match self.source {
            IpAddr::V4(_) => self.fragment_word = u16::from(more) << 13 | offset_units,
            IpAddr::V6(_) => {
                let word = offset_units << 3 | u16::from(more);
                let [high, low] = word.to_be_bytes();
                self.extensions.push((number::FRAGMENT, vec![0, 0, high, low, 0, 0, 0, 7]));
            }
        }
        self
    }

    /// Adds an IPv6 extension header; its first byte (the next header) is filled in later.
    #[must_use]
    pub fn extension(mut self, number: u8, bytes: &[u8]) -> Self {
        self.extensions.push((number, bytes.to_vec()));
        self
    }

    /// Makes the length field of the IP header lie by so many bytes.
    #[must_use]
    pub fn lie_about_length(mut self, error: i32) -> Self {
        self.length_error = error;
        self
    }

    /// Sets a wrong version field.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.version = Some(version);
        self
    }

    /// The frame, with padding to Ethernet's least length.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let ether_type = if self.source.is_ipv4() { number::IPV4 } else { number::IPV6 };
        let mut frame = ethernet(&self.tags, ether_type, &self.ip());
        if frame.len() < 60 {
            frame.resize(60, 0);
        }
        frame
    }

    fn ip(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let lying = |length: usize| (length as i32 + self.length_error) as u16;
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header_length = 20 + self.options.len();
                bytes.push(self.version.unwrap_or(4) << 4 | (header_length / 4) as u8);
                bytes.push(0);
                bytes.extend(lying(header_length + self.payload.len()).to_be_bytes());
                bytes.extend([0, 7]);
                bytes.extend(self.fragment_word.to_be_bytes());
                bytes.extend([self.hops, self.protocol, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                bytes.extend(&self.options);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let chain: usize = self.extensions.iter().map(|(_, bytes)| bytes.len()).sum();
                let mut numbers = self.extensions.iter().map(|(number, _)| *number).chain([self.protocol]);
                bytes.extend([self.version.unwrap_or(6) << 4, 0, 0, 0]);
                bytes.extend(lying(chain + self.payload.len()).to_be_bytes());
                bytes.extend(numbers.next());
                bytes.push(self.hops);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                for (_, extension) in &self.extensions {
                    bytes.extend(numbers.next());
                    bytes.extend(&extension[1..]);
                }
            }
            _ => unreachable!("packet() takes one family"),
        }
        bytes.extend(&self.payload);
        bytes
    }
}

/// A frame around any payload.
#[must_use]
pub fn ethernet(tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    for (tag, tci) in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}
