//! How many events a tenant may cause: so many a second for each reason that its packets are dropped for, so that
//! neither another tenant's flood nor its own crowds out the packet that tells why a connection fails.
//!
//! What was sampled lately is kept in the word that counts the packets: the drops of 100,000 tenants do not
//! fit into a processor's caches, and a word elsewhere would be one more miss for each of them (see
//! docs/performance.md).

/// Events for each reason in a second, or what its user takes for one.
pub const PER_SECOND: u64 = 5;

const PACKET_BITS: u32 = 48;
const SECOND_BITS: u32 = 13;
const SECOND_MASK: u64 = (1 << SECOND_BITS) - 1;

/// Packets of one tenant and direction that were dropped for one reason, and how many of them were samples in
/// the last second that had one: 48 bits of packets (nine years at a million a second), 13 of the second, 3 of
/// samples. A second is taken for one two hours and a quarter before, which may cost its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Sampled(u64);

impl Sampled {
    /// The bits that count packets.
    pub const PACKETS: u64 = (1 << PACKET_BITS) - 1;

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

    /// Packets.
    #[inline(always)]
    #[must_use]
    pub const fn packets(self) -> u64 {
        self.0 & Self::PACKETS
    }

    /// One more sample in this second; `None` if there have been enough.
    #[inline(always)]
    #[must_use]
    pub const fn take(self, second: u64) -> Option<Self> {
        let second = second & SECOND_MASK;
        let so_far = if (self.0 >> PACKET_BITS) & SECOND_MASK == second {
            self.0 >> (PACKET_BITS + SECOND_BITS)
        } else {
            0
        };
        if so_far >= PER_SECOND {
            return None;
        }
        let samples = (so_far + 1) << SECOND_BITS | second;
        Some(Self(samples << PACKET_BITS | self.packets()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_allowance() {
        let mut sampled = Sampled::from_word(7);
        for second in [0, 7, u64::MAX, 3, 3 + (1 << SECOND_BITS) - 1] {
            for _ in 0..PER_SECOND {
                sampled = sampled.take(second).expect("within the allowance");
            }
            assert_eq!(sampled.take(second), None);
            assert_eq!(sampled.packets(), 7);
        }
    }

    #[test]
    fn packets_are_counted_by_adding_one() {
        let sampled = Sampled::from_word(41).take(1_000).expect("the first");
        assert_eq!(Sampled::from_word(sampled.word() + 1).packets(), 42);
        assert_eq!(
            Sampled::from_word(sampled.word() + 1).take(1_000),
            sampled.take(1_000).map(|s| Sampled(s.0 + 1))
        );
    }
}
