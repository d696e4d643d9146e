//! How fast a source may turn to new hosts and ports: credit-based rate limiting (Schechter, Jung,
//! Berger 2004).
//!
//! A new contact costs one credit; an answer pays back two. Whoever is answered most of the time soon
//! goes as fast as it likes; whoever is not gets a start of 64 and then what a second brings. Credit
//! beyond the start fades by a third a second, so that it cannot be saved up for a scan. It is kept as
//! time: a credit is the time that it takes to come back by itself.

use bytemuck::{Pod, Zeroable};

/// Credits that an idle source has.
pub const START: u64 = 64;

/// Credits that answers can earn: the contacts that are on their way at once at 20,000 a second and a
/// round trip of 200 ms.
pub const MOST: u64 = 4_096;

/// Credits that an answer brings.
const REWARD: u64 = 2;

const SECOND_NS: u64 = 1_000_000_000;

/// Earned credit fades within this time; the shift keeps the product below 64 bits.
const FADE_NS: u64 = 3 * SECOND_NS;
const FADE_SHIFT: u32 = 12;

/// The credit of one source and protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Credit {
    balance_ns: u64,
    refilled_ns: u64,
}

/// How long one credit takes to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price(u64);

impl Price {
    /// Four a second: TCP connections, echo requests.
    pub const CONNECTION: Self = Self(SECOND_NS / 4);
    /// Eight a second: UDP, whose protocols more often go without an answer.
    pub const DATAGRAM: Self = Self(SECOND_NS / 8);
    /// One a second, without a start: a source that is slowed down.
    pub const SLOW: Self = Self(SECOND_NS);

    const fn start(self) -> u64 {
        if self.0 == Self::SLOW.0 { self.0 } else { self.0 * START }
    }
}

impl Credit {
    /// What a source starts with.
    #[inline(always)]
    pub fn open(&mut self, price: Price, now_ns: u64) {
        *self = Self { balance_ns: price.start(), refilled_ns: now_ns };
    }

    /// Takes one credit for a new contact, if there is one.
    #[inline(always)]
    #[must_use]
    pub fn take(&mut self, price: Price, now_ns: u64) -> bool {
        self.refill(price, now_ns);
        let enough = self.balance_ns >= price.0;
        if enough {
            self.balance_ns -= price.0;
        }
        enough
    }

    /// Pays for an answer.
    #[inline(always)]
    pub fn reward(&mut self, price: Price) {
        let balance_ns = self.balance_ns + REWARD * price.0;
        let most = MOST * price.0;
        self.balance_ns = if balance_ns > most { most } else { balance_ns };
    }

    #[inline(always)]
    fn refill(&mut self, price: Price, now_ns: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.refilled_ns);
        self.refilled_ns = now_ns;
        let start = price.start();
        if self.balance_ns > start {
            let surplus = self.balance_ns - start;
            let fading_ns = if elapsed_ns > FADE_NS { FADE_NS } else { elapsed_ns };
            let faded = (surplus >> FADE_SHIFT) * fading_ns / (FADE_NS >> FADE_SHIFT);
            self.balance_ns -= if faded > surplus { surplus } else { faded };
        } else {
            let balance_ns = self.balance_ns.saturating_add(elapsed_ns);
            self.balance_ns = if balance_ns > start { start } else { balance_ns };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_NS: u64 = 1_000 * SECOND_NS;

    fn opened() -> Credit {
        let mut credit = Credit::default();
        credit.open(Price::CONNECTION, START_NS);
        credit
    }

    #[test]
    fn without_answers_a_start_and_then_four_a_second() {
        let mut credit = opened();
        let tries = 0..100_000_u64;
        let taken = tries.filter(|n| credit.take(Price::CONNECTION, START_NS + n * 100_000)).count();
        // Ten seconds at 10,000 a second.
        assert!((100..=104).contains(&taken), "{taken}");
    }

    #[test]
    fn the_answered_are_not_held_up() {
        let mut credit = opened();
        let mut held_up = 0;
        // 2,000 a second for a minute, 90 % answered after 100 ms.
        for n in 0..120_000_u64 {
            let now_ns = START_NS + n * 500_000;
            held_up += u32::from(!credit.take(Price::CONNECTION, now_ns));
            if n >= 200 && n % 10 != 0 {
                credit.reward(Price::CONNECTION);
            }
        }
        // The first round trip, of 200 contacts, has to do with the start.
        assert!(held_up <= 200, "{held_up}");
    }

    #[test]
    fn earned_credit_fades() {
        let mut credit = opened();
        (0..10_000).for_each(|_| credit.reward(Price::CONNECTION));
        assert_eq!(credit.balance_ns, MOST * Price::CONNECTION.0);
        assert!(credit.take(Price::CONNECTION, START_NS + 3 * SECOND_NS));
        assert_eq!(credit.balance_ns / Price::CONNECTION.0, START - 1);
    }

    #[test]
    fn the_slowed_get_one_a_second() {
        let mut credit = opened();
        let taken = (0..10_000_u64).filter(|n| credit.take(Price::SLOW, START_NS + n * 1_000_000)).count();
        // What was left of the start fades first.
        let later =
            (0..10_000_u64).filter(|n| credit.take(Price::SLOW, START_NS + (20_000 + n) * 1_000_000)).count();
        assert!(taken <= 74, "{taken}");
        assert!((9..=11).contains(&later), "{later}");
    }
}
