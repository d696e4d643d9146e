//! What the bench's programs send (`cargo xtask bench`): shared by them and by who sets them up.

use bytemuck::{Pod, Zeroable};

/// Packets from networks picked at random, or in turn.
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
    /// Sum over the 16-bit words of the IPv4 header without checksum and the addresses that are written.
    pub checksum_rest: u32,
    /// New contacts made so far.
    pub contacts: u32,
    /// Address of the first contact's peer.
    pub first_peer: u32,
}

impl Traffic {
    /// Bytes that are written to every packet, which must be no shorter.
    pub const HEADER_BYTES: usize = 64;

    /// An address in a network picked at random.
    #[inline(always)]
    pub const fn next_address(&mut self) -> u32 {
        self.first_address + self.next_network() * self.address_step
    }

    /// Who makes the next contact, each network in its turn, and with whom, whom nobody met before.
    #[inline(always)]
    pub const fn next_contact(&mut self) -> (u32, u32) {
        let number = self.contacts;
        self.contacts += 1;
        let network = match number.checked_rem(self.networks) {
            Some(network) => network,
            None => 0,
        };
        (self.first_address + network * self.address_step, self.first_peer + number)
    }

    /// Picks a network.
    #[inline(always)]
    const fn next_network(&mut self) -> u32 {
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

    #[test]
    fn every_contact_is_with_somebody_else() {
        let mut traffic =
            Traffic { networks: 3, first_address: 10, address_step: 2, first_peer: 7, ..Traffic::zeroed() };
        let contacts = [(); 4].map(|()| traffic.next_contact());
        assert_eq!(contacts, [(10, 7), (12, 8), (14, 9), (10, 10)]);
    }
}
