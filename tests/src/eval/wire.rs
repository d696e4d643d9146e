//! Frames of scanners and of ordinary programs, made from templates: an evaluation runs millions.

use std::net::Ipv4Addr;

use fairway_tests::frames::{between, number, tcp, udp};

/// What a contact is made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// A TCP SYN.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// An echo request.
    Ping,
    /// A TCP segment with FIN alone.
    Fin,
}

/// How a host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It takes the connection, or answers.
    Accept,
    /// It refuses the connection.
    Reject,
}

/// How a source ends a connection that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its kernel knows of none and resets it, as it does with what raw sockets scan (RFC 9293, 3.10.7.1).
    Reset,
    /// It had no more to say than that it is there: a FIN after the handshake.
    Unused,
    /// A FIN after a request.
    Used,
}

/// A peer and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

/// Source port of every contact; detection does not look at it.
const SOURCE_PORT: u16 = 40_000;
const ICMP: u8 = 1;
/// Where things are in an untagged IPv4 frame without options.
mod at {
    pub(super) const SOURCE: usize = 14 + 12;
    pub(super) const DESTINATION: usize = 14 + 16;
    pub(super) const SOURCE_PORT: usize = 34;
    pub(super) const DESTINATION_PORT: usize = 36;
    pub(super) const SEQUENCE: usize = 34 + 4;
    pub(super) const AWAITED: usize = 34 + 8;
    pub(super) const FLAGS: usize = 34 + 13;
    pub(super) const ICMP_TYPE: usize = 34;
}

/// What a program says to those who answer: the length of BitTorrent's handshake.
const REQUEST_BYTES: u32 = 68;

/// The sequence number of the SYN to a peer: like none of another.
fn first_sequence(peer: Peer) -> u32 {
    (peer.address.to_bits() ^ u32::from(peer.port) << 16).wrapping_mul(0x9e37_79b9)
}

/// The templates.
pub(crate) struct Wire {
    tcp: Vec<u8>,
    udp: Vec<u8>,
    ping: Vec<u8>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let any = Ipv4Addr::UNSPECIFIED.into();
        let frame = |protocol, payload| between(any, any, protocol, payload).frame();
        Self {
            tcp: frame(number::TCP, tcp(SOURCE_PORT, 0, &[])),
            udp: frame(number::UDP, udp(SOURCE_PORT, 0, &[0; 32])),
            ping: frame(ICMP, vec![8, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]),
        }
    }

    /// The first packet of a contact.
    pub(crate) fn contact(&mut self, over: Over, source: Ipv4Addr, peer: Peer) -> &[u8] {
        let frame = self.template(over);
        frame[at::SOURCE..at::SOURCE + 4].copy_from_slice(&source.octets());
        frame[at::DESTINATION..at::DESTINATION + 4].copy_from_slice(&peer.address.octets());
        if over == Over::Ping {
            frame[at::ICMP_TYPE] = 8;
        } else {
            frame[at::SOURCE_PORT..at::SOURCE_PORT + 2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
            frame[at::DESTINATION_PORT..at::DESTINATION_PORT + 2].copy_from_slice(&peer.port.to_be_bytes());
        }
        match over {
            Over::Tcp => {
                frame[at::SEQUENCE..at::SEQUENCE + 4].copy_from_slice(&first_sequence(peer).to_be_bytes());
                frame[at::AWAITED..at::AWAITED + 4].fill(0);
                frame[at::FLAGS] = 0x02;
            }
            Over::Fin => frame[at::FLAGS] = 0x01,
            Over::Udp | Over::Ping => {}
        }
        frame
    }

    /// What comes back.
    pub(crate) fn answer(&mut self, over: Over, source: Ipv4Addr, peer: Peer, answer: Answer) -> &[u8] {
        let frame = self.template(over);
        frame[at::SOURCE..at::SOURCE + 4].copy_from_slice(&peer.address.octets());
        frame[at::DESTINATION..at::DESTINATION + 4].copy_from_slice(&source.octets());
        if over == Over::Ping {
            frame[at::ICMP_TYPE] = 0;
        } else {
            frame[at::SOURCE_PORT..at::SOURCE_PORT + 2].copy_from_slice(&peer.port.to_be_bytes());
            frame[at::DESTINATION_PORT..at::DESTINATION_PORT + 2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
        }
        if matches!(over, Over::Tcp | Over::Fin) {
            let awaited = first_sequence(peer).wrapping_add(1);
            frame[at::AWAITED..at::AWAITED + 4].copy_from_slice(&awaited.to_be_bytes());
            frame[at::FLAGS] = if answer == Answer::Accept { 0x12 } else { 0x14 };
        }
        frame
    }

    /// How a connection ends.
    pub(crate) fn end(&mut self, source: Ipv4Addr, peer: Peer, end: End) -> &[u8] {
        let sent_bytes = if end == End::Used { REQUEST_BYTES } else { 0 };
        let sequence = first_sequence(peer).wrapping_add(1 + sent_bytes);
        self.contact(Over::Tcp, source, peer);
        let frame = &mut self.tcp;
        frame[at::SEQUENCE..at::SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
        frame[at::FLAGS] = if end == End::Reset { 0x04 } else { 0x11 };
        frame
    }

    fn template(&mut self, over: Over) -> &mut Vec<u8> {
        match over {
            Over::Tcp | Over::Fin => &mut self.tcp,
            Over::Udp => &mut self.udp,
            Over::Ping => &mut self.ping,
        }
    }
}
