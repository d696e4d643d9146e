//! TCP (RFC 9293) and UDP (RFC 768): ports, and whether the header is all there.

use super::ip::number::{TCP, UDP};
use super::{Fragment, Frame, Payload};
use crate::DropReason;

/// Transport protocols whose ports have rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Protocol {
    /// TCP.
    Tcp = 0,
    /// UDP.
    Udp = 1,
}

/// Ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Protocol.
    pub protocol: Protocol,
    /// Sender's port.
    pub source: u16,
    /// Receiver's port.
    pub destination: u16,
    /// TCP's control bits (RFC 9293, 3.1), CWR and ECE among them; 0 for UDP.
    pub flags: u8,
}

/// Whether a packet opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A TCP segment without SYN, or with SYN and ACK.
    No,
    /// A TCP SYN without ACK.
    Yes,
    /// Not to be told: another protocol, or a fragment without the header.
    Unknown,
}

/// Without options.
const TCP_HEADER_BYTES: u32 = 20;
const UDP_HEADER_BYTES: u32 = 8;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Reads the ports of a packet; `None` for protocols without ports and for later fragments.
///
/// # Errors
/// [`DropReason::Malformed`] for a header that the packet cannot hold; [`DropReason::Fragment`] if
/// that is so in a first fragment (tiny fragments, RFC 1858).
#[inline(always)]
pub fn transport(frame: &(impl Frame + ?Sized), payload: &Payload) -> Result<Option<Transport>, DropReason> {
    if matches!(payload.fragment, Fragment::Later { .. }) {
        return Ok(None);
    }
    match payload.protocol {
        TCP => tcp(frame, payload).map(Some),
        UDP => udp(frame, payload).map(Some),
        _ => Ok(None),
    }
}

#[inline(always)]
fn tcp(frame: &(impl Frame + ?Sized), payload: &Payload) -> Result<Transport, DropReason> {
    if payload.length < TCP_HEADER_BYTES {
        return Err(cut(payload));
    }
    let Some([ports, _, _, offset_and_flags]) = frame.be32s(payload.at) else { return Err(cut(payload)) };
    let header_bytes = (offset_and_flags >> 28) * 4;
    if header_bytes < TCP_HEADER_BYTES {
        return Err(DropReason::Malformed);
    }
    if header_bytes > payload.length {
        return Err(cut(payload));
    }
    Ok(Transport::new(Protocol::Tcp, ports, (offset_and_flags >> 16) as u8))
}

/// Where a TCP segment that [`transport`] read stands in its connection: the sequence number after its last byte of
/// data, a FIN not counted, and the one that it awaits from its receiver.
#[inline(always)]
pub fn sequence(frame: &(impl Frame + ?Sized), payload: &Payload) -> Option<(u32, u32)> {
    let [_, first, awaited, offset_and_flags] = frame.be32s(payload.at)?;
    let data_bytes = payload.length.wrapping_sub((offset_and_flags >> 28) * 4);
    Some((first.wrapping_add(data_bytes), awaited))
}

#[inline(always)]
fn udp(frame: &(impl Frame + ?Sized), payload: &Payload) -> Result<Transport, DropReason> {
    match frame.be32(payload.at) {
        Some(ports) if payload.length >= UDP_HEADER_BYTES => Ok(Transport::new(Protocol::Udp, ports, 0)),
        _ => Err(cut(payload)),
    }
}

/// Why a packet is dropped that ends within the header.
#[inline(always)]
fn cut(payload: &Payload) -> DropReason {
    if payload.fragment == Fragment::First { DropReason::Fragment } else { DropReason::Malformed }
}

impl Transport {
    #[inline(always)]
    const fn new(protocol: Protocol, ports: u32, flags: u8) -> Self {
        Self { protocol, source: (ports >> 16) as u16, destination: ports as u16, flags }
    }

    /// Whether it opens a connection.
    #[inline(always)]
    #[must_use]
    pub const fn opening(&self) -> Opening {
        match self.protocol {
            Protocol::Udp => Opening::Unknown,
            Protocol::Tcp if self.flags & (SYN | ACK) == SYN => Opening::Yes,
            Protocol::Tcp => Opening::No,
        }
    }
}
