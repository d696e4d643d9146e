//! IPv6 (RFC 8200) with a bounded walk over extension headers.

use super::ip::number::ICMPV6;
use super::{Address, Fragment, Frame, Ip, Payload};
use crate::DropReason;

/// Extension headers that are walked; an honest sender uses at most one of each kind, and RFC 8883
/// lets a node refuse more than it wants to process.
pub const MAX_EXTENSION_HEADERS: usize = 8;

const HEADER_LENGTH: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

/// Reads an IPv6 header at `at`.
///
/// # Errors
/// [`DropReason::Malformed`] for a wrong version or a length that reaches beyond the frame.
#[inline(always)]
pub fn ipv6(frame: &(impl Frame + ?Sized), at: usize) -> Result<Ip, DropReason> {
    let [first, source_high, source_low, destination_high, destination_low] =
        frame.be64s(at).ok_or(DropReason::Malformed)?;
    let second = first as u32;
    let remaining = second >> 16;
    if first >> 60 != 6 || !frame.reaches((at + HEADER_LENGTH) as u32 + remaining) {
        return Err(DropReason::Malformed);
    }
    Ok(Ip {
        source: Address::V6(source_high, source_low),
        destination: Address::V6(destination_high, destination_low),
        protocol: (second >> 8) as u8,
        hops: second as u8,
        fragment: Fragment::Whole,
        next: at + HEADER_LENGTH,
        remaining,
    })
}

/// Whether the packet is neighbour discovery (RFC 4861): ICMPv6 types 133 to 137, of which the shortest
/// has eight bytes, and a hop limit that no router has lowered.
#[inline(always)]
pub fn is_neighbour_discovery(frame: &(impl Frame + ?Sized), ip: &Ip) -> bool {
    matches!(ip.source, Address::V6(..))
        && ip.protocol == ICMPV6
        && ip.hops == 255
        && ip.remaining >= 8
        && matches!(frame.be32(ip.next).map(|start| start >> 24), Some(133..=137))
}

#[inline(always)]
pub(super) const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT
            | AUTHENTICATION
            | DESTINATION_OPTIONS
            | MOBILITY
            | HOST_IDENTITY
            | SHIM6
    )
}

/// Walks the extension headers, from where `start` says that the first one is.
///
/// # Errors
/// See [`payload`](super::payload).
#[inline(always)]
pub fn extension_headers(frame: &(impl Frame + ?Sized), start: Payload) -> Result<Payload, DropReason> {
    let mut payload = start;
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(payload.protocol) || matches!(payload.fragment, Fragment::Later { .. }) {
            return Ok(payload);
        }
        let cut =
            if payload.fragment == Fragment::First { DropReason::Fragment } else { DropReason::Malformed };
        // Every one of them has at least eight bytes.
        let header = frame.be32(payload.at).ok_or(cut)?;
        let length = match payload.protocol {
            FRAGMENT => 8,
            // In units of four bytes, less two (RFC 4302, 2.2).
            AUTHENTICATION => (((header >> 16) & 0xff) + 2) * 4,
            _ => (((header >> 16) & 0xff) + 1) * 8,
        };
        if length > payload.length {
            return Err(cut);
        }
        if payload.protocol == FRAGMENT {
            match Fragment::new((header as u16) >> 3, header & 1 != 0) {
                Fragment::Whole => {}
                part => payload.fragment = part,
            }
        }
        payload.protocol = (header >> 24) as u8;
        payload.at += length as usize;
        payload.length -= length;
    }
    if is_extension(payload.protocol) && !matches!(payload.fragment, Fragment::Later { .. }) {
        return Err(DropReason::HeaderChain);
    }
    Ok(payload)
}
