//! How fast a source may turn to new hosts and ports: credit-based rate limiting (Schechter, Jung,
//! Berger 2004).
//!
//! A new contact costs one credit; an answer pays back two. Whoever is answered most of the time soon
//! goes as fast as it likes; whoever is not gets a start of 64 and then what a second brings. Credit
//! beyond the start fades by a third a second, so that it cannot be saved up for a scan. It is kept as
//! time: a credit is the time that it takes to come back by itself.
//!
//! Two would let a source that half of its targets answer keep up any rate. So where more than a fifth of
//! what was tried lately went without an answer, answers pay one: on service ports and for pings always, so
//! that the start is used up when 64 have failed; on other ports beyond the rate of peer-to-peer programs. Nothing
//! at all is paid there for the answers of hosts to which nothing was said.

use bytemuck::{Pod, Zeroable};

use super::window::Window;

/// Credits that an idle source has.
pub const START: u64 = 64;

/// Credits that answers can earn: the contacts that are on their way at once at 20,000 a second and a
/// round trip of 200 ms.
pub const MOST: u64 = 4_096;

/// Share of contacts without an answer, in percent, from which on answers pay less. Crawlers, resolvers and
/// relays miss 5 to 15 % of their answers, as the evaluation has them; of 256 contacts in a scan of hosts that answer to 70 %, chance
/// leaves less than this with a probability below 10^-4.
pub(super) const FAILS_PERCENT: u32 = 20;

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

/// New peers a second, and at once, that peer-to-peer programs turn to: a client of BitTorrent opens up to
/// 30 connections a second at its start, and far fewer after that.
const PEERS_PER_SECOND: u64 = 25;
const PEERS_AT_ONCE: u64 = 128;

/// What an answer brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reward(u64);

impl Reward {
    /// To whom most answer.
    pub const FULL: Self = Self(2);
    /// To whom many do not.
    pub const HALF: Self = Self(1);
    /// To those who had nothing to say, either.
    pub const NONE: Self = Self(0);

    /// For an answer from a service port, or to a ping; `lately`: contacts of that kind.
    #[inline(always)]
    #[must_use]
    pub const fn for_service(lately: &Window) -> Self {
        if lately.fails(FAILS_PERCENT) { Self::HALF } else { Self::FULL }
    }

    /// For an answer from another port, at `second`.
    #[inline(always)]
    #[must_use]
    pub const fn for_peer(lately: &Window, second: u32) -> Self {
        let peers = PEERS_AT_ONCE + second.saturating_sub(lately.start_s) as u64 * PEERS_PER_SECOND;
        if lately.attempted as u64 > peers { Self::for_service(lately) } else { Self::FULL }
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

    /// Whether there is so much that nobody is held up.
    #[inline(always)]
    #[must_use]
    pub const fn is_ample(&self, price: Price) -> bool {
        self.balance_ns >= price.0 * (START / 2)
    }

    /// Pays for an answer.
    #[inline(always)]
    pub fn reward(&mut self, price: Price, reward: Reward) {
        let balance_ns = self.balance_ns + reward.0 * price.0;
        let most = MOST * price.0;
        self.balance_ns = if balance_ns > most { most } else { balance_ns };
    }

    /// Takes back what an answer paid.
    #[inline(always)]
    pub fn take_back(&mut self, price: Price, reward: Reward) {
        self.balance_ns = self.balance_ns.saturating_sub(reward.0 * price.0);
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
    extern crate std;

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
                credit.reward(Price::CONNECTION, Reward::FULL);
            }
        }
        // The first round trip, of 200 contacts, has to do with the start.
        assert!(held_up <= 200, "{held_up}");
    }

    #[test]
    fn earned_credit_fades() {
        let mut credit = opened();
        (0..10_000).for_each(|_| credit.reward(Price::CONNECTION, Reward::FULL));
        assert_eq!(credit.balance_ns, MOST * Price::CONNECTION.0);
        assert!(credit.take(Price::CONNECTION, START_NS + 3 * SECOND_NS));
        assert_eq!(credit.balance_ns / Price::CONNECTION.0, START - 1);
    }

    fn lately(attempted: u32, answered: u32) -> Window {
        Window { start_s: 0, attempted, answered, rejected: 0 }
    }

    /// Contacts that get through in ten seconds at 1,000 a second, `answered` of a hundred after 100 ms.
    fn through(answered: u32, reward: impl Fn(&Window, u32) -> Reward) -> u32 {
        let (mut credit, mut window) = (opened(), lately(0, 0));
        let mut due = std::collections::VecDeque::new();
        for n in 0..10_000_u64 {
            while due.pop_front_if(|at| *at <= n).is_some() {
                credit.reward(Price::CONNECTION, reward(&window, n as u32 / 1_000));
                window.answered += 1;
            }
            if credit.take(Price::CONNECTION, START_NS + n * 1_000_000) {
                if window.attempted * answered % 100 < answered {
                    due.push_back(n + 100);
                }
                window.attempted += 1;
            }
        }
        window.attempted
    }

    #[test]
    fn on_service_ports_the_start_ends_when_as_many_have_failed() {
        for answered in [0, 30, 50, 70] {
            // The start of 64 and 40 more in ten seconds.
            let expected = (64 + 40) * 100 / (100 - answered);
            let through = through(answered, |lately, _| Reward::for_service(lately));
            assert!((expected * 9 / 10..=expected).contains(&through), "{answered} %: {through}");
        }
        // A client whose hosts are there gets all through but a few at first.
        assert!(through(92, |lately, _| Reward::for_service(lately)) > 9_000);
    }

    #[test]
    fn on_other_ports_as_many_as_peer_to_peer_programs_turn_to() {
        for answered in [50, 70] {
            let through = through(answered, Reward::for_peer);
            assert!((250..550).contains(&through), "{answered} %: {through}");
        }
        assert!(through(92, Reward::for_peer) > 9_000);
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
