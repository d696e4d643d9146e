//! The circuit breaker: while the network upstream is out, nobody is punished for getting no answers.
//!
//! Most detectors go by contacts that fail. In an outage everybody's do, and every busy server would look
//! like a scanner. What tells an outage from a scan is that answers vanish: a scanner adds failures and
//! leaves other tenants' answers as they were. So measures are held back while, over all tenants
//! together,
//! - less than two thirds of the answers come that came in the last minutes, by more than chance, and
//! - less than two thirds of the contacts succeed that succeeded then.
//!
//! Either alone is no outage: the first is a quiet hour, the second a scan. The usual is learned as a
//! moving average, and not during an outage. One that does not end is the new usual after half an hour.
//!
//! What the breaker cannot see: an outage on a gateway with less than one answer a second, where chance
//! explains anything; and an attacker whose answered contacts are more than a third of everybody's can
//! stop making them to hold measures back for half an hour. Offences are reported all the same.

use std::time::Duration;

/// How often totals are to be looked at.
pub const BREAKER_EVERY: Duration = Duration::from_secs(10);

/// Weight of one look in the moving averages: they follow within five minutes, faster than the day's
/// tides, slower than an outage.
const WEIGHT: f64 = 1.0 / 30.0;
/// Looks before an outage can be told.
const LEARNING: u32 = 30;
/// What is less than this share of the usual has collapsed.
const COLLAPSE: f64 = 2.0 / 3.0;
/// How many standard deviations of a Poisson process are more than chance; one look in 700 is
/// below by chance alone, and both conditions must hold.
const DEVIATIONS: f64 = 3.0;
/// Looks in a row that must be as usual again before measures are taken again: answers come back in bursts.
const RECOVERY: u32 = 3;
/// Looks after which an outage is the new usual.
const LONGEST: u32 = 180;

/// Contacts of all sources since the tables were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContactTotals {
    /// New contacts.
    pub attempted: u64,
    /// Of these, answered.
    pub answered: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// An outage began: take no measures from now on.
    Freeze,
    /// It is over, or the new usual: take measures again, once the failures that were counted
    /// meanwhile are forgotten.
    Thaw,
}

/// Tells outages from what is usual.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    last: Option<ContactTotals>,
    usual: Usual,
    outage: Option<Outage>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    answered_per_sec: f64,
    success: f64,
    looks: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Outage {
    looks: u32,
    recovered: u32,
}

impl Breaker {
    /// Whether measures are held back.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.outage.is_some()
    }

    /// Looks at totals `elapsed` after the last ones.
    pub fn sample(&mut self, totals: ContactTotals, elapsed: Duration) -> Option<Turn> {
        let last = self.last.replace(totals)?;
        // Totals that fell are those of new tables.
        let attempted = totals.attempted.checked_sub(last.attempted)? as f64;
        let answered = totals.answered.checked_sub(last.answered)? as f64;
        let seconds = elapsed.as_secs_f64().max(1.0);
        let has_collapsed = self.usual.has_collapsed(attempted, answered, seconds);
        let Some(mut outage) = self.outage else {
            if has_collapsed {
                self.outage = Some(Outage::default());
                return Some(Turn::Freeze);
            }
            self.usual.learn(attempted, answered, seconds);
            return None;
        };
        outage.looks += 1;
        outage.recovered = if has_collapsed { 0 } else { outage.recovered + 1 };
        self.outage = Some(outage);
        if outage.looks >= LONGEST {
            self.usual = Usual::default();
        } else if outage.recovered < RECOVERY {
            return None;
        }
        self.outage = None;
        Some(Turn::Thaw)
    }
}

impl Usual {
    fn has_collapsed(&self, attempted: f64, answered: f64, seconds: f64) -> bool {
        let expected = self.answered_per_sec * seconds;
        self.looks >= LEARNING
            && answered < COLLAPSE * expected
            && answered < expected - DEVIATIONS * expected.sqrt()
            && answered < COLLAPSE * self.success * attempted
    }

    fn learn(&mut self, attempted: f64, answered: f64, seconds: f64) {
        // An average of few looks follows each of them; without contacts there is no success to learn.
        let weight = WEIGHT.max(1.0 / f64::from(self.looks + 1));
        self.answered_per_sec += weight * (answered / seconds - self.answered_per_sec);
        if attempted > 0.0 {
            self.success += weight * ((answered / attempted).min(1.0) - self.success);
        }
        self.looks = self.looks.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every ten seconds at contacts of these rates, all per look.
    #[derive(Default)]
    struct Simulation {
        breaker: Breaker,
        totals: ContactTotals,
        looks: u32,
        turns: Vec<(u32, Turn)>,
    }

    impl Simulation {
        fn pass(&mut self, looks: u32, attempted: u64, answered: impl Fn(u32) -> u64) {
            for _ in 0..looks {
                self.totals.attempted += attempted;
                self.totals.answered += answered(self.looks);
                self.looks += 1;
                let turn = self.breaker.sample(self.totals, BREAKER_EVERY);
                self.turns.extend(turn.map(|turn| (self.looks, turn)));
            }
        }

        /// An hour as usual: 2,000 contacts, 1,600 of them answered, give or take.
        fn usual() -> Self {
            let mut simulation = Self::default();
            simulation.pass(360, 2_000, |look| 1_550 + u64::from(look % 11) * 10);
            assert_eq!(simulation.turns, []);
            simulation
        }
    }

    #[test]
    fn an_outage_freezes_at_once_and_its_end_thaws() {
        let mut simulation = Simulation::usual();
        let start = simulation.looks;
        simulation.pass(30, 3_000, |_| 20);
        assert_eq!(simulation.turns, [(start + 1, Turn::Freeze)]);
        assert!(simulation.breaker.is_frozen());
        let end = simulation.looks;
        simulation.pass(1, 2_500, |_| 1_600);
        simulation.pass(1, 2_500, |_| 20);
        simulation.pass(10, 2_000, |_| 1_600);
        assert_eq!(simulation.turns[1..], [(end + 5, Turn::Thaw)]);
        assert!(!simulation.breaker.is_frozen());
    }

    #[test]
    fn the_loss_of_one_of_two_uplinks_is_an_outage() {
        let mut simulation = Simulation::usual();
        simulation.pass(3, 2_200, |_| 850);
        assert!(simulation.breaker.is_frozen());
    }

    #[test]
    fn scanners_however_many_are_no_outage() {
        let mut simulation = Simulation::usual();
        simulation.pass(30, 2_000 + 1_000_000, |_| 1_600);
        assert_eq!(simulation.turns, []);
    }

    #[test]
    fn a_quiet_hour_is_no_outage() {
        let mut simulation = Simulation::usual();
        // At once, as when the largest tenant stops: fewer answers, because fewer are asked for.
        simulation.pass(60, 200, |_| 160);
        assert_eq!(simulation.turns, []);
        simulation.pass(60, 0, |_| 0);
        assert_eq!(simulation.turns, []);
    }

    #[test]
    fn where_little_happens_chance_is_not_taken_for_an_outage() {
        let mut simulation = Simulation::default();
        simulation.pass(360, 10, |look| u64::from(look % 3) * 4 + 1);
        simulation.pass(3, 10, |_| 0);
        assert_eq!(simulation.turns, []);
    }

    #[test]
    fn an_outage_that_does_not_end_is_the_new_usual() {
        let mut simulation = Simulation::usual();
        let start = simulation.looks;
        simulation.pass(1_000, 2_000, |_| 600);
        assert_eq!(simulation.turns, [(start + 1, Turn::Freeze), (start + 181, Turn::Thaw)]);
        simulation.pass(1, 2_000, |_| 10);
        assert!(simulation.breaker.is_frozen(), "what is usual now can collapse too");
    }

    #[test]
    fn nothing_is_told_before_the_usual_is_known_or_when_tables_are_new() {
        let mut simulation = Simulation::default();
        simulation.pass(30, 2_000, |_| 1_600);
        simulation.pass(1, 2_000, |_| 0);
        assert_eq!(simulation.turns, []);
        let mut simulation = Simulation::usual();
        simulation.totals = ContactTotals::default();
        simulation.pass(1, 2_000, |_| 0);
        assert_eq!(simulation.turns, []);
    }
}
