//! What a suspended tenant may still do (policy rule E1).
//!
//! Whatever the scope, a tenant keeps the walled garden (support portal, notices, name servers: the
//! operator lists them) and the control traffic of its link, so that it can be told why, and mend it.

use crate::Direction;
use crate::parse::Opening;

/// A tenant's standing, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing(u32);

impl Standing {
    /// Nothing is suspended.
    pub const GOOD: Self = Self(0);
    /// No mail: relay and submission ports are closed in both directions, exemptions or not.
    pub const NO_MAIL: Self = Self(1);
    /// The tenant opens no connections: of what it sends, only TCP segments that do not open one pass, so
    /// its servers still answer. Datagrams of any other protocol cannot be told to be answers and are
    /// dropped.
    pub const NO_OUTBOUND: Self = Self(2);
    /// Nothing passes in either direction.
    pub const NOTHING: Self = Self(3);

    /// The standing with this number.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// As a number: what metrics export.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Whether a packet falls under the suspension; the walled garden is up to the caller. A number that
    /// is none of the above suspends everything.
    #[inline(always)]
    #[must_use]
    pub fn forbids(self, direction: Direction, is_mail: bool, opening: Opening) -> bool {
        match self {
            Self::GOOD => false,
            Self::NO_MAIL => is_mail,
            Self::NO_OUTBOUND => direction == Direction::Up && opening != Opening::No,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_forbids_what_it_says() {
        let (up, down) = (Direction::Up, Direction::Down);
        let (web, mail) = (false, true);
        let openings = [Opening::No, Opening::Yes, Opening::Unknown];
        for direction in [up, down] {
            for opening in openings {
                assert!(!Standing::GOOD.forbids(direction, mail, opening));
                assert!(Standing::NO_MAIL.forbids(direction, mail, opening));
                assert!(!Standing::NO_MAIL.forbids(direction, web, opening));
                assert!(Standing::NOTHING.forbids(direction, web, opening));
                assert!(Standing(77).forbids(direction, web, opening));
            }
            assert!(!Standing::NO_OUTBOUND.forbids(direction, web, Opening::No));
        }
        assert!(Standing::NO_OUTBOUND.forbids(up, web, Opening::Yes));
        assert!(Standing::NO_OUTBOUND.forbids(up, web, Opening::Unknown));
        assert!(!Standing::NO_OUTBOUND.forbids(down, web, Opening::Yes));
    }
}
