//! Reading headers: bounds-checked, bounded in work, and suspicious.
//!
//! Each parser reads one layer at a given offset and says what comes next and where. Nothing is
//! trusted: lengths that lie are [`DropReason::Malformed`], chains that
//! never end are [`DropReason::HeaderChain`], fragments that could
//! smuggle a port past the rules are [`DropReason::Fragment`]. Tunnels
//! (GRE, IP in IP, VXLAN, ESP...) are not looked into: only their outer addresses and ports count.

mod ethernet;
mod ip;
mod ipv4;
mod ipv6;
mod transport;

pub use ethernet::{Ethernet, Network, Tags, ethernet};
pub use ip::{Address, Fragment, Ip, Payload, number, payload};
pub use ipv4::ipv4;
pub use ipv6::{MAX_EXTENSION_HEADERS, extension_headers, ipv6, is_neighbour_discovery};
pub use transport::{Opening, Protocol, Transport, sequence, transport};

use crate::DropReason;

/// A frame that can be read anywhere, with a bounds check each time. Multi-byte reads convert from
/// network to host byte order.
pub trait Frame {
    /// Whether the frame, without FCS, is at least this long. Not all of it need be readable: of a packet in
    /// several buffers, only the first is.
    fn reaches(&self, end: u32) -> bool;
    /// Two bytes.
    fn be16(&self, at: usize) -> Option<u16>;
    /// Four bytes.
    fn be32(&self, at: usize) -> Option<u32>;
    /// Eight bytes.
    fn be64(&self, at: usize) -> Option<u64>;

    /// Several times four bytes in a row.
    #[inline(always)]
    fn be32s<const N: usize>(&self, at: usize) -> Option<[u32; N]> {
        row(|n| self.be32(at + 4 * n))
    }

    /// Several times eight bytes in a row.
    #[inline(always)]
    fn be64s<const N: usize>(&self, at: usize) -> Option<[u64; N]> {
        row(|n| self.be64(at + 8 * n))
    }

    /// Walks IPv6 extension headers: [`extension_headers`], unless the frame has a better way to call it.
    ///
    /// # Errors
    /// Those of [`extension_headers`].
    #[inline(always)]
    fn walk(&self, start: Payload) -> Result<Payload, DropReason> {
        extension_headers(self, start)
    }
}

impl Frame for [u8] {
    fn reaches(&self, end: u32) -> bool {
        end as usize <= self.len()
    }

    fn be16(&self, at: usize) -> Option<u16> {
        array(self, at).map(u16::from_be_bytes)
    }

    fn be32(&self, at: usize) -> Option<u32> {
        array(self, at).map(u32::from_be_bytes)
    }

    fn be64(&self, at: usize) -> Option<u64> {
        array(self, at).map(u64::from_be_bytes)
    }
}

fn row<T: Copy + Default, const N: usize>(item: impl Fn(usize) -> Option<T>) -> Option<[T; N]> {
    let mut row = [T::default(); N];
    for (n, place) in row.iter_mut().enumerate() {
        *place = item(n)?;
    }
    Some(row)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
