//! Which of a tenant's phantom queues a packet belongs to.
//!
//! A flow is what shares addresses, protocol and ports. Fragments have no ports, so all of one protocol between two
//! addresses are one flow; so is what has no ports at all, ICMP and tunnels among it (only the outer headers count), and
//! what has its ports behind IPv6 extension headers.
//!
//! The hash has no key. To find flows that share a queue helps nobody: a tenant's own senders gain nothing by
//! it, and a flood from outside fills every queue by changing its ports.

use crate::parse::Address;

/// Queues of a tenant in one direction. Any two flows share one with a probability of 1/32.
pub const QUEUES: u32 = 1 << QUEUE_BITS;

const QUEUE_BITS: u32 = 5;

/// Odd numbers with about as many ones as zeros: digits of pi and the golden ratio.
const FACTORS: [u64; 6] = [
    0x9e37_79b9_7f4a_7c15,
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
];

/// The queue of a packet, below [`QUEUES`]; `ports` has the sender's in its upper half.
#[inline(always)]
#[must_use]
pub const fn queue(source: Address, destination: Address, protocol: u8, ports: u32) -> u32 {
    let addresses = match (source, destination) {
        (Address::V4(source), Address::V4(destination)) => {
            term((source as u64) << 32 | destination as u64, 0)
        }
        (Address::V6(source_high, source_low), Address::V6(high, low)) => term(source_high, 0)
            .wrapping_add(term(source_low, 1))
            .wrapping_add(term(high, 2))
            .wrapping_add(term(low, 3)),
        // No packet has both.
        _ => 0,
    };
    let sum = addresses.wrapping_add(term((ports as u64) << 8 | protocol as u64, 4));
    // A product's upper bits depend on all below them, its lower ones do not: brought down, and multiplied again.
    (term(sum ^ sum >> 32, 5) >> (64 - QUEUE_BITS)) as u32
}

#[inline(always)]
const fn term(word: u64, index: usize) -> u64 {
    word.wrapping_mul(FACTORS[index])
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    const SERVER: Address = Address::V4(0xc000_0201);
    const TENANT: Address = Address::V4(0xcb00_7101);

    /// 32,768 flows over 32 queues: each has 1,024 of them, with a standard deviation of 32.
    #[track_caller]
    fn assert_even(queues: impl Iterator<Item = u32>) {
        let mut flows = [0; QUEUES as usize];
        queues.take(32_768).for_each(|queue| flows[queue as usize] += 1);
        assert_eq!(flows.iter().sum::<u32>(), 32_768);
        assert!(flows.iter().all(|flows| (850..1_200).contains(flows)), "{flows:?}");
    }

    #[test]
    fn flows_are_spread_over_the_queues() {
        assert_even((0..).map(|port| queue(TENANT, SERVER, 6, port << 16 | 443)));
        assert_even((0..).map(|port| queue(TENANT, SERVER, 6, 443 << 16 | port)));
        assert_even((0..).map(|host| queue(TENANT, Address::V4(0xc633_0000 + host), 17, 53)));
        assert_even((0..).map(|host| queue(Address::V4(0x0a00_0000 + host), SERVER, 1, 0)));
        let network = 0x2001_0db8_0000_0000_u64;
        assert_even((0..).map(|host| queue(Address::V6(network, host), Address::V6(network, 1), 6, 443)));
        assert_even(
            (0..)
                .map(|prefix| queue(Address::V6(network, 1), Address::V6(network | prefix << 16, 1), 6, 443)),
        );
    }

    #[test]
    fn all_of_a_flow_counts() {
        let flows: Vec<_> = [
            (TENANT, SERVER, 6, 1 << 16 | 443),
            (SERVER, TENANT, 6, 1 << 16 | 443),
            (TENANT, SERVER, 17, 1 << 16 | 443),
            (TENANT, SERVER, 6, 443 << 16 | 1),
            (TENANT, SERVER, 6, 0),
        ]
        .into_iter()
        .map(|(source, destination, protocol, ports)| queue(source, destination, protocol, ports))
        .collect();
        // Five flows in one queue would be a coincidence of one in a million.
        assert!(flows.iter().any(|queue| *queue != flows[0]), "{flows:?}");
    }
}
