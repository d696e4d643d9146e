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
pub use ip::{Address, Fragment, Ip, Payload, payload};
pub use ipv4::ipv4;
pub use ipv6::{MAX_EXTENSION_HEADERS, extension_headers, ipv6, is_neighbour_discovery};
pub use transport::{Opening, Protocol, Transport, transport};

use crate::DropReason;

/// A frame that can be read anywhere, with a bounds check each time. Multi-byte reads convert from
/// network to host byte order.
pub trait Frame {
    /// Length of the whole frame in bytes, without FCS. Not all of it need be readable: of a packet in
    /// several buffers, only the first is.
    fn length(&self) -> u32;
    /// Two bytes.
    fn be16(&self, at: usize) -> Option<u16>;
    /// Four bytes.
    fn be32(&self, at: usize) -> Option<u32>;
    /// Eight bytes.
    fn be64(&self, at: usize) -> Option<u64>;

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
    fn length(&self) -> u32 {
        self.len() as u32
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

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
