//! What a tenant is forbidden as a whole (policy rule E1).
//!
//! Whatever is forbidden, a tenant keeps the walled garden (support portal, notices, name servers: the
//! operator lists them) and the control traffic of its link, so that it can read why, and fix it.

use crate::Direction;
use crate::parse::Opening;

/// A set of things that a tenant is forbidden. They add up: whoever lifts one leaves the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Restriction(u32);

impl Restriction {
    /// Nothing is forbidden.
    pub const NONE: Self = Self(0);
    /// No mail: relay and submission ports are closed in both directions, exemptions or not.
    pub const NO_MAIL: Self = Self(1);
    /// The tenant opens no connections: of what it sends, only TCP segments that do not open one pass, so
    /// its servers still answer. Datagrams of any other protocol cannot be recognised as answers and are
    /// dropped.
    pub const NO_OUTBOUND: Self = Self(2);
    /// Nothing passes in either direction.
    pub const NOTHING: Self = Self(4);

    /// Bits that a set has room for: those of [`Assignment`](crate::assignment::Assignment) that are left.
    pub const BITS: u32 = 7;

    /// Those that forbid some packets only. Every other bit forbids all, also one of a later release.
    const PARTIAL: u32 = Self::NO_MAIL.0 | Self::NO_OUTBOUND.0;

    /// The set with these bits; those beyond [`Self::BITS`] do not exist.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    /// As bits.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// What either forbids.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether a packet is forbidden; the walled garden is up to the caller.
    #[inline(always)]
    #[must_use]
    pub fn forbids(self, direction: Direction, is_mail: bool, opening: Opening) -> bool {
        let opens = direction == Direction::Up && opening != Opening::No;
        self.0 & !Self::PARTIAL != 0
            || self.0 & Self::NO_MAIL.0 != 0 && is_mail
            || self.0 & Self::NO_OUTBOUND.0 != 0 && opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENINGS: [Opening; 3] = [Opening::No, Opening::Yes, Opening::Unknown];

    #[test]
    fn each_bit_forbids_what_it_says() {
        let (up, down) = (Direction::Up, Direction::Down);
        let (web, mail) = (false, true);
        for direction in [up, down] {
            for opening in OPENINGS {
                assert!(!Restriction::NONE.forbids(direction, mail, opening));
                assert!(Restriction::NO_MAIL.forbids(direction, mail, opening));
                assert!(!Restriction::NO_MAIL.forbids(direction, web, opening));
                assert!(Restriction::NOTHING.forbids(direction, web, opening));
            }
            assert!(!Restriction::NO_OUTBOUND.forbids(direction, web, Opening::No));
        }
        assert!(Restriction::NO_OUTBOUND.forbids(up, web, Opening::Yes));
        assert!(Restriction::NO_OUTBOUND.forbids(up, web, Opening::Unknown));
        assert!(!Restriction::NO_OUTBOUND.forbids(down, web, Opening::Yes));
    }

    #[test]
    fn bits_add_up_and_unknown_ones_forbid_all() {
        for bits in 0..1 << Restriction::BITS {
            let set = Restriction::from_bits(bits);
            for direction in Direction::ALL {
                for is_mail in [false, true] {
                    for opening in OPENINGS {
                        let forbids = |one: Restriction| one.forbids(direction, is_mail, opening);
                        let each = (0..Restriction::BITS).map(|bit| Restriction::from_bits(bits & 1 << bit));
                        assert_eq!(forbids(set), each.into_iter().any(forbids), "{set:?}");
                        if bits > 3 {
                            assert!(forbids(set), "{set:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_lifted_leaves_the_rest() {
        let both = Restriction::NO_MAIL.with(Restriction::NO_OUTBOUND);
        assert!(both.contains(Restriction::NO_MAIL) && both.contains(Restriction::NO_OUTBOUND));
        assert!(!both.contains(Restriction::NOTHING) && both.contains(Restriction::NONE));
        assert_eq!(both.with(Restriction::NO_MAIL), both);
    }
}
