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
    let [first, identity, time, source, destination] = frame.be32s(at).ok_or(DropReason::Malformed)?;
    let header_length = (first >> 22) & 0x3c;
    let total_length = first & 0xffff;
    if first >> 28 != 4
        || header_length < 20
        || total_length < header_length
        || !frame.reaches(at as u32 + total_length)
    {
        return Err(DropReason::Malformed);
    }
    let fragment = identity as u16;
    Ok(Ip {
        source: Address::V4(source),
        destination: Address::V4(destination),
        protocol: (time >> 16) as u8,
        hops: (time >> 24) as u8,
        fragment: Fragment::new(fragment & OFFSET_MASK, fragment & MORE_FRAGMENTS != 0),
        next: at + header_length as usize,
        remaining: total_length - header_length,
    })
}
