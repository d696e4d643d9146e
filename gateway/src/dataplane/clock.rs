//! The programs' clocks, and what time it is on them.
//!
//! | clock | for | counts |
//! |---|---|---|
//! | [`Clock::boot`] | when exemptions lapse, when events were | nanoseconds since boot, suspension included |
//! | [`Clock::coarse`] | caps, and all of detection | jiffies times their length, not while suspended |
//!
//! A router does not sleep. On a machine that does, a measure holds for as much longer as it slept.

use nix::time::{ClockId, clock_getres, clock_gettime};

use super::error::DataplaneError;

/// Which clocks the programs go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramClock {
    /// The kernel's.
    Kernel,
    /// One for everything that is set by hand, for tests and replays; it counts from the Unix epoch.
    Virtual,
}

impl ProgramClock {
    /// The value of the programs' constant `NS_PER_JIFFY`.
    pub(super) fn ns_per_jiffy(self) -> Result<u64, DataplaneError> {
        match self {
            Self::Virtual => Ok(0),
            // The coarse clock advances once a jiffy; its resolution is the length of one (`TICK_NSEC`
            // in kernel/time/posix-timers.c).
            Self::Kernel => clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
                .map(|resolution| resolution.tv_sec() as u64 * 1_000_000_000 + resolution.tv_nsec() as u64)
                .map_err(|error| {
                    DataplaneError::new(
                        "asking for the length of a clock tick",
                        error,
                        "This needs Linux 2.6.32 or later",
                    )
                }),
        }
    }
}

/// A clock that the programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The virtual one.
    Virtual,
    /// One of the kernel's, of which the programs' readings are ahead by so much.
    Kernel { id: ClockId, ahead_ns: u64 },
}

impl Clock {
    /// The boot-time clock.
    pub(super) fn boot(programs: ProgramClock) -> Self {
        match programs {
            ProgramClock::Virtual => Self::Virtual,
            ProgramClock::Kernel => Self::Kernel { id: ClockId::CLOCK_BOOTTIME, ahead_ns: 0 },
        }
    }

    /// The coarse clock, which showed the programs `reading_ns` just now. No system call tells jiffies, but
    /// they advance with `CLOCK_MONOTONIC` (`tick_do_update_jiffies64`), so one reading tells all others, within a jiffy.
    pub(super) fn coarse(programs: ProgramClock, reading_ns: u64) -> Self {
        let id = ClockId::CLOCK_MONOTONIC;
        match programs {
            ProgramClock::Virtual => Self::Virtual,
            ProgramClock::Kernel => Self::Kernel { id, ahead_ns: reading_ns.saturating_sub(read_ns(id)) },
        }
    }

    /// What the clock shows now; none if it is set by hand.
    pub(super) fn now_ns(self) -> Option<u64> {
        match self {
            Self::Virtual => None,
            Self::Kernel { id, ahead_ns } => Some(read_ns(id) + ahead_ns),
        }
    }

    /// What it shows at an instant: what has passed already is over at once, and a later change of the wall
    /// clock does not move it.
    pub(super) fn ns_at(self, instant: jiff::Timestamp) -> u64 {
        let ns = instant.as_nanosecond() - self.epoch_ns();
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }

    /// The instant of a reading.
    pub(super) fn instant(self, reading_ns: u64) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(self.epoch_ns() + i128::from(reading_ns))
            .unwrap_or(jiff::Timestamp::MAX)
    }

    /// When it would have shown zero, by the wall clock as it is now: nanoseconds since the Unix epoch.
    fn epoch_ns(self) -> i128 {
        self.now_ns().map_or(0, |now_ns| crate::clock::wall().as_nanosecond() - i128::from(now_ns))
    }
}

fn read_ns(id: ClockId) -> u64 {
    clock_gettime(id).map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AHEAD_NS: u64 = 4_294_667_296_000_000;

    #[test]
    fn an_instant_is_read_back_as_it_was_written() {
        let coarse = Clock::coarse(ProgramClock::Kernel, read_ns(ClockId::CLOCK_MONOTONIC) + AHEAD_NS);
        for clock in [coarse, Clock::boot(ProgramClock::Kernel), Clock::boot(ProgramClock::Virtual)] {
            let instant = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
            let until = clock.instant(clock.ns_at(instant)).duration_until(instant);
            // The wall clock may be slewed in between, but not by this much.
            assert!(until.abs() < jiff::SignedDuration::from_secs(1), "{clock:?}: {until:?}");
        }
        assert_eq!(coarse.ns_at(jiff::Timestamp::UNIX_EPOCH), 0);
    }

    #[test]
    fn the_coarse_clock_goes_on_from_what_the_programs_read() {
        let reading_ns = read_ns(ClockId::CLOCK_MONOTONIC) + AHEAD_NS;
        let clock = Clock::coarse(ProgramClock::Kernel, reading_ns);
        let (earlier, later) = (clock.now_ns(), clock.now_ns());
        assert!(Some(reading_ns) <= earlier && earlier <= later, "{reading_ns} {earlier:?} {later:?}");
        assert_eq!(Clock::coarse(ProgramClock::Virtual, reading_ns), Clock::Virtual);
        assert_eq!(Clock::Virtual.now_ns(), None);
    }
}
