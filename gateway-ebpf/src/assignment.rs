//! Which policy a tenant has: half a 64-bit word in each bank, so that it changes between two packets, and so that a
//! processor's caches hold those of many tenants.

use crate::restriction::Restriction;

/// The assignment of one tenant in one bank: the number of a policy (24 bits) and the tenant's [`Restriction`] (7). The
/// topmost bit says, in both banks, that one of the tenant's sources is under a measure. The controller and
/// the programs both change it, each its own bits, atomically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Assignment(u32);

/// The assignments of tenants with consecutive slots: one cache line. The kernel would give each a word.
pub type Assignments = [Assignment; 1 << ASSIGNMENTS_BITS];

/// How many of them there are in one, as a power of two.
pub const ASSIGNMENTS_BITS: u32 = 4;

/// Policies that a bank can number.
pub const MOST_POLICIES: u32 = 1 << POLICY_BITS;

const POLICY_BITS: u32 = 24;

// The policy, the restriction, and the mark fill the word.
const _: () = assert!(POLICY_BITS + Restriction::BITS + 1 == u32::BITS);

impl Assignment {
    /// One of the tenant's sources is under a measure, or was a short while ago.
    pub const MEASURED: u32 = 1 << 31;

    /// The same with another policy, below [`MOST_POLICIES`], and restriction.
    #[must_use]
    pub const fn with(self, policy: u32, restriction: Restriction) -> Self {
        Self(self.0 & Self::MEASURED | policy & (MOST_POLICIES - 1) | restriction.bits() << POLICY_BITS)
    }

    /// The assignment with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// It as a number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The number of the policy.
    #[inline(always)]
    #[must_use]
    pub const fn policy(self) -> u32 {
        self.0 & (MOST_POLICIES - 1)
    }

    /// What the tenant is forbidden.
    #[inline(always)]
    #[must_use]
    pub const fn restriction(self) -> Restriction {
        Restriction::from_bits(self.0 >> POLICY_BITS)
    }

    /// Whether the programs have to look for a measure.
    #[inline(always)]
    #[must_use]
    pub const fn is_measured(self) -> bool {
        self.0 & Self::MEASURED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_keeps_to_its_bits() {
        for mark in [0, Assignment::MEASURED] {
            for policy in [0, 7, MOST_POLICIES - 1] {
                for restriction in (0..1 << Restriction::BITS).map(Restriction::from_bits) {
                    let start = Assignment::from_number(mark).with(MOST_POLICIES - 1, Restriction::NOTHING);
                    let assignment = Assignment::from_number(start.with(policy, restriction).number());
                    assert_eq!((assignment.policy(), assignment.restriction()), (policy, restriction));
                    assert_eq!(assignment.is_measured(), mark != 0);
                }
            }
        }
    }
}
