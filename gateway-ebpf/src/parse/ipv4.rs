//! IPv4 (RFC 791), options included.

use super::{Address, Fragment, Frame, Ip};
use crate::DropReason;

const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Reads an IPv4 header at `at`.
///
/// # Errors
/// [`DropReason::Malformed`] for a wrong version, a header shorter than 20 bytes, or a length that
/// reaches beyond the frame.
#[inline(always)]
pub fn ipv4(frame: &(impl Frame + ?Sized), at: usize) -> Result<Ip, DropReason> {
    let first = frame.be32(at).ok_or(DropReason::Malformed)?;
    let fragment_word = frame.be16(at + 6).ok_or(DropReason::Malformed)?;
    let hops_and_protocol = frame.be16(at + 8).ok_or(DropReason::Malformed)?;
    let source = frame.be32(at + 12).ok_or(DropReason::Malformed)?;
    let destination = frame.be32(at + 16).ok_or(DropReason::Malformed)?;
    let header_length = (first >> 22) & 0x3c;
    let total_length = first & 0xffff;
    let in_frame = frame.length() - at as u32;
    if first >> 28 != 4 || header_length < 20 || total_length < header_length || total_length > in_frame {
        return Err(DropReason::Malformed);
    }
    Ok(Ip {
        source: Address::V4(source),
        destination: Address::V4(destination),
        protocol: hops_and_protocol as u8,
        hops: (hops_and_protocol >> 8) as u8,
        fragment: Fragment::new(fragment_word & OFFSET_MASK, fragment_word & MORE_FRAGMENTS != 0),
        next: at + header_length as usize,
        remaining: total_length - header_length,
    })
}
