//! What the bench's programs send (`cargo xtask bench`): shared by them and by who sets them up.

use bytemuck::{Pod, Zeroable};

/// Packets from networks picked at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Traffic {
    /// The first bytes of every packet.
    pub header: [u64; 8],
    /// State of the pseudo-random sequence; never 0.
    pub random: u64,
    /// Address in the first network, host byte order: of IPv6, bits 16 to 47.
    pub first_address: u32,
    /// From one network's address to the next one's.
    pub address_step: u32,
    /// Networks to pick from.
    pub networks: u32,
    /// Sum over the 16-bit words of the IPv4 header without checksum and the address that is written.
    pub checksum_rest: u32,
}

impl Traffic {
    /// Bytes that are written to every packet, which must be no shorter.
    pub const HEADER_BYTES: usize = 64;

    /// Picks a network.
    #[inline(always)]
    pub const fn next_network(&mut self) -> u32 {
        // xorshift64 (Marsaglia 2003), its upper half scaled to the range (Lemire 2019).
        let mut x = self.random;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        (((x >> 32) * self.networks as u64) >> 32) as u32
    }
}

/// Classes that HTB has in the bench, as it numbers them: those of tenants from 1 on.
#[derive(Clone, Copy, Debug)]
pub struct Classes;

impl Classes {
    /// Networks that there is room for: HTB has fewer classes.
    pub const MAX_NETWORKS: u32 = 1 << 16;
    /// What goes to port 25.
    pub const PORT_25: u32 = Self::number(0xffff);

    /// The class of this number in the queueing discipline `1:`.
    #[must_use]
    pub const fn number(number: u32) -> u32 {
        1 << 16 | number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_picked_about_as_often() {
        let mut traffic = Traffic { random: 1, networks: 1_000, ..Traffic::zeroed() };
        let mut picked = [0_u32; 1_000];
        (0..1_000_000).for_each(|_| picked[traffic.next_network() as usize] += 1);
        // A thousand each, with a standard deviation of 32.
        assert!(picked.iter().all(|times| (800..1_200).contains(times)), "{picked:?}");
    }
}
