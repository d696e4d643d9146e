//! The keyed hash of sources and contacts: NH, the inner hash of UMAC (RFC 4418, 5.2.2), then mixed.
//!
//! An attacker chooses peers and ports freely. NH is universal: without the keys, which are drawn when
//! the tables are made and never leave the machine, any two inputs collide with a probability of 2^-32
//! whatever they are. It costs one multiplication per 64 bits, a fifth of SipHash in BPF instructions.

use bytemuck::{Pod, Zeroable};

/// Words that are hashed at most.
pub const WORDS: usize = 5;

/// The keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Keys(pub [u64; WORDS]);

impl Keys {
    /// The hash of five words.
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self, words: [u64; WORDS]) -> u64 {
        let keys = &self.0;
        let sum = product(words[0], keys[0])
            .wrapping_add(product(words[1], keys[1]))
            .wrapping_add(product(words[2], keys[2]))
            .wrapping_add(product(words[3], keys[3]))
            .wrapping_add(product(words[4], keys[4]));
        mix(sum)
    }
}

/// One term of NH: both halves keyed, then multiplied.
#[inline(always)]
const fn product(word: u64, key: u64) -> u64 {
    let low = (word as u32).wrapping_add(key as u32) as u64;
    let high = ((word >> 32) as u32).wrapping_add((key >> 32) as u32) as u64;
    low.wrapping_mul(high)
}

/// A bijection that spreads what NH left in a few bits over all of them (the finaliser of SplitMix64;
/// Steele, Lea, Flood 2014).
#[inline(always)]
const fn mix(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::collections::HashSet;

    const KEYS: Keys = Keys([
        0x243f_6a88_85a3_08d3,
        0x1319_8a2e_0370_7344,
        0xa409_3822_299f_31d0,
        0x082e_fa98_ec4e_6c89,
        0x4528_21e6_38d0_1377,
    ]);

    #[test]
    fn neighbours_do_not_collide() {
        let hosts =
            (0..100_000_u64).map(|host| KEYS.hash([0, 0xffff_c000_0201, 0, 0xffff_0000_0000 | host, 443]));
        assert_eq!(hosts.collect::<HashSet<_>>().len(), 100_000);
        let ports = (0..65_536_u64).map(|port| KEYS.hash([1, 2, 3, 4, port]));
        assert_eq!(ports.collect::<HashSet<_>>().len(), 65_536);
    }

    #[test]
    fn low_bits_are_spread() {
        // 65,536 hosts of one network over 1,024 sets: none may have far more than its share of 64.
        let mut sets = [0_u32; 1_024];
        for host in 0..65_536_u64 {
            sets[(KEYS.hash([0, 7, 0, 0xffff_0a00_0000 | host, 23]) & 1_023) as usize] += 1;
        }
        assert!(sets.iter().all(|load| (20..120).contains(load)), "{:?}", sets.iter().max());
    }

    #[test]
    fn the_keys_matter() {
        let mut other = KEYS;
        other.0[3] ^= 1;
        let input = [1, 2, 3, 4 << 32 | 4, 5];
        assert_ne!(KEYS.hash(input), other.hash(input));
    }
}
