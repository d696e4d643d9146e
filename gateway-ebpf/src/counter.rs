//! What is counted of one tenant in one direction: packets, bytes, and how many of the packets were samples lately,
//! in one 64-bit word. The counters of 100,000 tenants do not fit into a processor's caches, and every other word
//! would be more misses for each packet (see docs/performance.md).
//!
//! Before the packets or the bytes overflow, they are carried to a second word, [`Carried`], which is touched once in
//! 131,072 packets or 512 MiB. Whoever reads both in the middle of that would miss them, and so looks whether
//! a carry has begun or ended meanwhile ([`Carries`]).
//!
//! Samples: a tenant may cause so many events a second for each reason that its packets are dropped for, so that
//! neither another tenant's flood nor its own crowds out the packet that tells why a connection fails.

use bytemuck::{Pod, Zeroable};

use crate::abi::Tally;

/// Events for each reason in a second, or what its user takes for one.
pub const SAMPLES_PER_SECOND: u64 = 5;

const BYTE_BITS: u32 = 30;
const PACKET_BITS: u32 = 18;
const COUNTED_BITS: u32 = BYTE_BITS + PACKET_BITS;
const SECOND_BITS: u32 = 13;
const SECOND_MASK: u64 = (1 << SECOND_BITS) - 1;

/// Bytes and packets that the topmost bit of their fields stands for, as powers of two.
const FULL_BYTES: u32 = BYTE_BITS - 1;
const FULL_PACKETS: u32 = PACKET_BITS - 1;

/// 30 bits of bytes, 18 of packets, 13 of the second that last had a sample, 3 of its samples. A second is taken
/// for one two hours and a quarter before, which may cost its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Counter(u64);

impl Counter {
    /// The topmost bits of both fields: if one is set, what they stand for is to be cleared, and carried.
    pub const FULL: u64 = 1 << FULL_BYTES | 1 << (BYTE_BITS + FULL_PACKETS);

    /// What this word says.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// It as a word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// What a packet of this length adds to the word. As no frame is longer than 2^17 bytes, thousands of them can be
    /// added before what is full is cleared.
    #[inline(always)]
    #[must_use]
    pub const fn packet(bytes: u32) -> u64 {
        1 << BYTE_BITS | bytes as u64
    }

    /// Whether so far 2^`power` packets were counted, or a multiple of that; `power` at most 17.
    #[inline(always)]
    #[must_use]
    pub const fn is_at_multiple(self, power: u32) -> bool {
        self.0 & (((1 << power) - 1) << BYTE_BITS) == 0
    }

    /// Whether something is to be carried.
    #[inline(always)]
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.0 & Self::FULL != 0
    }

    /// What this word and what was carried from it count together.
    #[must_use]
    pub const fn total(self, carried: Carried) -> Tally {
        let bytes = self.0 & ((1 << BYTE_BITS) - 1);
        let packets = (self.0 >> BYTE_BITS) & ((1 << PACKET_BITS) - 1);
        Tally {
            packets: packets.wrapping_add((carried.0 & u32::MAX as u64) << FULL_PACKETS),
            bytes: bytes.wrapping_add((carried.0 >> 32) << FULL_BYTES),
        }
    }

    /// The two words that count as much, the first not full.
    #[must_use]
    pub const fn of(tally: Tally) -> (Self, Carried) {
        let bytes = tally.bytes & ((1 << FULL_BYTES) - 1);
        let packets = tally.packets & ((1 << FULL_PACKETS) - 1);
        let carried = (tally.bytes >> FULL_BYTES) << 32 | (tally.packets >> FULL_PACKETS) & u32::MAX as u64;
        (Self(packets << BYTE_BITS | bytes), Carried(carried))
    }

    /// One more sample in this second; `None` if there have been enough.
    #[inline(always)]
    #[must_use]
    pub const fn take(self, second: u64) -> Option<Self> {
        let second = second & SECOND_MASK;
        let so_far = if (self.0 >> COUNTED_BITS) & SECOND_MASK == second {
            self.0 >> (COUNTED_BITS + SECOND_BITS)
        } else {
            0
        };
        if so_far >= SAMPLES_PER_SECOND {
            return None;
        }
        let samples = (so_far + 1) << SECOND_BITS | second;
        Some(Self(samples << COUNTED_BITS | self.0 & ((1 << COUNTED_BITS) - 1)))
    }
}

/// What was carried from a [`Counter`]: its lower half in units of 2^17 packets (17 years at a million a second), its
/// upper half in units of 2^29 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Carried(u64);

impl Carried {
    /// What the bits of a counter stand for that were set in [`Counter::FULL`]; adds up.
    #[inline(always)]
    #[must_use]
    pub const fn of(full: u64) -> Self {
        Self((full >> FULL_BYTES & 1) << 32 | full >> (BYTE_BITS + FULL_PACKETS) & 1)
    }

    /// It as a word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }
}

/// How many carries programs have begun, and ended, between two words of any tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Carries {
    /// Before the counter is cleared.
    pub begun: u64,
    /// After it has been added to what was carried.
    pub ended: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Adds a packet as the programs do.
    fn add(counter: &mut u64, carried: &mut u64, bytes: u32) {
        *counter += Counter::packet(bytes);
        if Counter::from_word(*counter).is_full() {
            *carried += Carried::of(*counter & Counter::FULL).word();
            *counter &= !Counter::FULL;
        }
    }

    #[test]
    fn nothing_is_lost_in_carrying() {
        for bytes in [60_u32, 1_514, 9_014, 1 << 17] {
            let packets = 300_000_u64;
            let first = Counter::default().take(1_000).expect("the first of its second");
            let (mut counter, mut carried) = (first.word(), 0);
            for packet in 1..=packets {
                add(&mut counter, &mut carried, bytes);
                let total = Counter::from_word(counter).total(Carried(carried));
                assert_eq!(total, Tally { packets: packet, bytes: packet * u64::from(bytes) });
            }
            assert_ne!(carried, 0);
            // The sample has been left alone.
            assert_eq!(counter >> COUNTED_BITS, first.word() >> COUNTED_BITS);
        }
    }

    #[test]
    fn each_second_has_its_allowance() {
        let mut counter = Counter::from_word(Counter::packet(60));
        for second in [0, 7, u64::MAX, 3, 3 + (1 << SECOND_BITS) - 1] {
            for _ in 0..SAMPLES_PER_SECOND {
                counter = counter.take(second).expect("within the allowance");
            }
            assert_eq!(counter.take(second), None);
            assert_eq!(counter.total(Carried::default()), Tally { packets: 1, bytes: 60 });
        }
    }

    #[test]
    fn counting_leaves_the_allowance_alone() {
        let sampled = Counter::default().take(1_000).expect("the first");
        let after = Counter::from_word(sampled.word() + Counter::packet(100));
        assert_eq!(after.total(Carried::default()), Tally { packets: 1, bytes: 100 });
        assert_eq!(
            after.take(1_000).map(|c| c.word()),
            sampled.take(1_000).map(|c| c.word() + Counter::packet(100))
        );
    }

    proptest! {
        #[test]
        fn what_is_taken_apart_counts_as_much(packets in 0_u64..1 << 49, bytes in 0_u64..1 << 61) {
            let tally = Tally { packets, bytes };
            let (counter, carried) = Counter::of(tally);
            prop_assert!(!counter.is_full());
            prop_assert_eq!(counter.total(carried), tally);
        }
    }
}
