//! The controller's second: what is looked at, and when, by a clock that is handed in. The running gateway goes by
//! the time since its start, a replay and the evaluation by that of their packets.

use std::time::Duration;

use gateway_ebpf::detect::rules::CONFIRM_NS;

use super::{BREAKER_EVERY, KEEP_EVERY, SAMPLE_EVERY};

/// Short enough for an operator who watches the log, long enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the store, the controller and the kernel are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// Something to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Sources that went quiet, and offences that the programs saw.
    Offences,
    /// What was learned of the tenants' use, to be kept.
    Baselines,
    /// Whether store, controller and kernel agree.
    Comparison,
    /// How many contacts of all tenants together are answered, this long after the last look.
    Outage(Duration),
    /// What each tenant takes of the uplinks, this long after the last look.
    Rises(Duration),
}

/// When each was looked at last.
#[derive(Clone, Debug)]
pub struct Second {
    offences: Every,
    baselines: Every,
    comparison: Every,
    outage: Every,
    rises: Every,
}

impl Default for Second {
    fn default() -> Self {
        Self {
            offences: Every::new(LOOK_EVERY),
            baselines: Every::new(KEEP_EVERY),
            comparison: Every::new(COMPARE_EVERY),
            outage: Every::new(BREAKER_EVERY),
            rises: Every::new(SAMPLE_EVERY),
        }
    }
}

impl Second {
    /// What is to be looked at now, in this order.
    pub fn due(&mut self, now: Duration) -> Vec<Look> {
        let looks = [
            self.offences.elapsed(now).map(|_| Look::Offences),
            self.baselines.elapsed(now).map(|_| Look::Baselines),
            self.comparison.elapsed(now).map(|_| Look::Comparison),
            self.outage.elapsed(now).map(Look::Outage),
            self.rises.elapsed(now).map(Look::Rises),
        ];
        looks.into_iter().flatten().collect()
    }

    /// When the next look is due.
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        let all = [&self.offences, &self.baselines, &self.comparison, &self.outage, &self.rises];
        all.map(Every::next).into_iter().min().unwrap_or_default()
    }

    /// When sources that went quiet are to be looked after where only they are judged, up to `now`. In a pause
    /// longer than a second the clock stood still; what was due in it was due at a look within it.
    pub fn looks_after_quiet_sources(&mut self, now: Duration) -> Vec<Duration> {
        let last = self.offences.done_at;
        if self.offences.elapsed(now).is_none() {
            return Vec::new();
        }
        let within = last.map(|last| last + Duration::from_nanos(CONFIRM_NS) + LOOK_EVERY);
        within.filter(|within| *within < now).into_iter().chain([now]).collect()
    }
}

/// Something that is to be done now and then.
#[derive(Clone, Debug)]
struct Every {
    period: Duration,
    done_at: Option<Duration>,
}

impl Every {
    fn new(period: Duration) -> Self {
        Self { period, done_at: None }
    }

    fn next(&self) -> Duration {
        self.done_at.map_or(Duration::ZERO, |at| at + self.period)
    }

    /// If it is time to do it: how long ago it was done last (the first time, one period).
    fn elapsed(&mut self, now: Duration) -> Option<Duration> {
        let elapsed = self.done_at.map_or(self.period, |at| now.saturating_sub(at));
        (elapsed >= self.period).then(|| {
            self.done_at = Some(now);
            elapsed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn everything_is_looked_at_first_and_then_in_its_time() {
        let mut second = Second::default();
        let (outage, rises) = (Look::Outage(BREAKER_EVERY), Look::Rises(SAMPLE_EVERY));
        let all = [Look::Offences, Look::Baselines, Look::Comparison, outage, rises];
        assert_eq!(second.due(seconds(100)), all);
        assert_eq!(second.due(Duration::from_millis(100_999)), []);
        assert_eq!(second.due(seconds(101)), [Look::Offences]);
        // A look that comes late says how late.
        assert_eq!(second.due(seconds(113)), [Look::Offences, Look::Outage(seconds(13))]);
        let minute = [Look::Offences, Look::Comparison, Look::Outage(seconds(47)), rises];
        assert_eq!(second.due(seconds(160)), minute);
        assert_eq!(second.due(seconds(150)), [], "a clock that goes back waits until it is there again");
    }

    #[test]
    fn a_day_has_as_many_looks_as_it_has_seconds() {
        let mut second = Second::default();
        let day = 86_400;
        let mut looks = 0;
        while second.next_deadline() < seconds(day) {
            let now = second.next_deadline();
            looks += second.due(now).len() as u64;
            assert!(second.next_deadline() > now, "a deadline that has passed");
        }
        assert_eq!(looks, day + day / 300 + day / 60 + day / 10 + day / 60);
    }

    #[test]
    fn what_a_pause_hid_is_looked_at_within_it() {
        let mut second = Second::default();
        assert_eq!(second.looks_after_quiet_sources(seconds(10)), [seconds(10)]);
        assert_eq!(second.looks_after_quiet_sources(seconds(10)), []);
        let within = seconds(10) + Duration::from_nanos(CONFIRM_NS) + LOOK_EVERY;
        assert_eq!(second.looks_after_quiet_sources(seconds(4_000)), [within, seconds(4_000)]);
        assert_eq!(second.looks_after_quiet_sources(seconds(4_001)), [seconds(4_001)]);
    }
}
