//! Which policy a tenant has: one 64-bit word, so that it changes between two packets.
//!
//! Half of the word belongs to each bank: the number of a policy (24 bits) and the tenant's
//! [`Standing`] (7). The topmost bit says that one of the tenant's sources is under a measure. The
//! controller and the programs both change the word, each its own bits, atomically.

use crate::standing::Standing;

/// The assignment of one tenant, for one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Assignment(u64);

/// Policies that a bank can number.
pub const MOST_POLICIES: u32 = 1 << POLICY_BITS;

const POLICY_BITS: u32 = 24;
const STANDING_MASK: u32 = 0x7f;

impl Assignment {
    /// One of the tenant's sources is under a measure, or was a short while ago.
    pub const MEASURED: u64 = 1 << 63;

    /// The assignment in this word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// It as a word.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The number of the policy in `bank`.
    #[inline(always)]
    #[must_use]
    pub const fn policy(self, bank: u32) -> u32 {
        self.half(bank) & (MOST_POLICIES - 1)
    }

    /// The standing in `bank`.
    #[inline(always)]
    #[must_use]
    pub const fn standing(self, bank: u32) -> Standing {
        Standing::from_number((self.half(bank) >> POLICY_BITS) & STANDING_MASK)
    }

    /// Whether the programs have to look for a measure.
    #[inline(always)]
    #[must_use]
    pub const fn is_measured(self) -> bool {
        self.0 & Self::MEASURED != 0
    }

    /// The same with another policy, below [`MOST_POLICIES`], and standing in `bank`.
    #[must_use]
    pub const fn with(self, bank: u32, policy: u32, standing: Standing) -> Self {
        let half = (policy & (MOST_POLICIES - 1)) | (standing.number() & STANDING_MASK) << POLICY_BITS;
        let shift = 32 * (bank & 1);
        Self(self.0 & !(0x7fff_ffff << shift) | (half as u64) << shift)
    }

    #[inline(always)]
    const fn half(self, bank: u32) -> u32 {
        (self.0 >> (32 * (bank & 1))) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_and_the_mark_keep_to_their_bits() {
        let none = Assignment::default();
        let marked = Assignment::from_word(Assignment::MEASURED);
        for (start, measured) in [(none, false), (marked, true)] {
            let both = start.with(0, MOST_POLICIES - 1, Standing::NOTHING).with(1, 7, Standing::NO_MAIL);
            assert_eq!((both.policy(0), both.standing(0)), (MOST_POLICIES - 1, Standing::NOTHING));
            assert_eq!((both.policy(1), both.standing(1)), (7, Standing::NO_MAIL));
            assert_eq!(both.is_measured(), measured);
            let one = both.with(1, 0, Standing::GOOD);
            assert_eq!((one.policy(0), one.standing(0)), (MOST_POLICIES - 1, Standing::NOTHING));
            assert_eq!((one.policy(1), one.standing(1)), (0, Standing::GOOD));
            assert_eq!(one.is_measured(), measured);
        }
    }
}
