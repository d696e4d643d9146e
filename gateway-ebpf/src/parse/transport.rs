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
    /// Whether it opens a connection.
    pub opening: Opening,
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

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Reads the ports of a packet; `None` for protocols without ports and for later fragments.
///
/// # Errors
/// [`DropReason::Malformed`] for a header that the packet cannot hold; [`DropReason::Fragment`] if
/// that is so in a first fragment (tiny fragments, RFC 1858).
#[inline(always)]
pub fn transport(frame: &(impl Frame + ?Sized), payload: &Payload) -> Result<Option<Transport>, DropReason> {
    let protocol = match (payload.protocol, payload.fragment) {
        (_, Fragment::Later { .. }) => return Ok(None),
        (TCP, _) => Protocol::Tcp,
        (UDP, _) => Protocol::Udp,
        _ => return Ok(None),
    };
    let cut = if payload.fragment == Fragment::First { DropReason::Fragment } else { DropReason::Malformed };
    let least = if protocol == Protocol::Tcp { 20 } else { 8 };
    if payload.length < least {
        return Err(cut);
    }
    let (ports, opening, flags) = match protocol {
        Protocol::Udp => (frame.be32(payload.at).ok_or(cut)?, Opening::Unknown, 0),
        Protocol::Tcp => {
            let [ports, _, _, offset_and_flags] = frame.be32s(payload.at).ok_or(cut)?;
            let header_length = (offset_and_flags >> 28) * 4;
            if header_length < least {
                return Err(DropReason::Malformed);
            }
            if header_length > payload.length {
                return Err(cut);
            }
            let flags = (offset_and_flags >> 16) as u8;
            (ports, if flags & (SYN | ACK) == SYN { Opening::Yes } else { Opening::No }, flags)
        }
    };
    Ok(Some(Transport { protocol, source: (ports >> 16) as u16, destination: ports as u16, opening, flags }))
}
