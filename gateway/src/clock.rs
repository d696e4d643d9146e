//! What time it is, whatever the wall clock was set to.
//!
//! Suspensions, exemptions and evidence end by the wall clock. A clock that is set wrong by years, by hand or at a boot
//! without a battery, must not end them all, nor prolong them. So time goes on by the boot clock, which nobody can set, and
//! a wall clock that leaves it by more than an hour is believed as soon as the kernel calls it synchronised: any setting
//! by hand takes that away, and only a time service gives it back (`ntp_clear` and `do_adjtimex` in kernel/time).
#![expect(unsafe_code, reason = "adjtimex(2) has no safe wrapper here")]

use std::fs;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

use crate::domain::{BootTime, Moment, to_microsecond};

/// Time services slew what is less.
const STEP: SignedDuration = SignedDuration::from_hours(1);
/// No gateway is switched off for longer, unless it is another one by then.
const LONGEST_OFF: SignedDuration = SignedDuration::from_hours(366 * 24);

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What people call it.
    pub wall: Timestamp,
    /// Since the machine started, times of suspension included (`CLOCK_BOOTTIME`).
    pub boot: Duration,
}

/// The last moment that an earlier controller knew of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// In this boot.
    ThisBoot(Reading),
    /// Before it: this much is certain to have passed, and nobody knows how much more.
    AnotherBoot(Timestamp),
}

static CLOCK: Mutex<Steady> = Mutex::new(Steady { last: None, is_held: false });

/// The time.
#[must_use]
pub fn wall() -> Timestamp {
    tell(|steady, reading| steady.at(reading, is_synchronised))
}

/// Goes on from what an earlier controller knew; once, before anything depends on the time.
pub fn resume(earlier: Earlier) {
    tell(|steady, reading| {
        steady.resume(earlier, reading);
        steady.at(reading, is_synchronised)
    });
}

fn tell(look: impl FnOnce(&mut Steady, Reading) -> (Timestamp, Option<Turn>)) -> Timestamp {
    let reading = Reading { wall: Timestamp::now(), boot: boot() };
    let (wall, turn) = look(&mut CLOCK.lock().unwrap_or_else(PoisonError::into_inner), reading);
    match turn {
        None => {}
        Some(Turn::Held { by }) => tracing::error!(
            "the wall clock shows {:.0}, which is {by:#} from what it should be: it is not believed, and nothing ends by it. \
             Set it by a time service (timedatectl set-ntp true)",
            reading.wall
        ),
        Some(Turn::Believed { by }) => {
            tracing::warn!(
                "the wall clock was set by {by:#}, to {:.0}, and is synchronised: it is believed",
                reading.wall
            );
        }
        Some(Turn::Back) => tracing::info!("the wall clock is right again"),
    }
    wall
}

/// This moment by both clocks, to the microsecond, as it is stored: read here, and handed in everywhere else.
#[must_use]
pub fn now() -> Moment {
    let boot = boot_id().map(|id| {
        let us = u64::try_from(boot().as_micros()).unwrap_or(u64::MAX);
        BootTime { id: id.to_owned(), us }
    });
    Moment { wall: to_microsecond(wall()), boot }
}

/// Which boot this is; it does not change.
fn boot_id() -> Option<&'static str> {
    static BOOT_ID: OnceLock<Option<String>> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    BOOT_ID.get_or_init(|| read().map(|id| id.trim().to_owned())).as_deref()
}

/// The boot clock.
#[must_use]
pub fn boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Whether a time service keeps the clock, as far as the kernel knows.
fn is_synchronised() -> bool {
    // SAFETY: all fields of `timex` are integers, for which zero is a value; without modes nothing is set.
    let mut asked: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `asked` is a `timex` that outlives the call, which writes no further.
    let state = unsafe { libc::adjtimex(&raw mut asked) };
    state != -1 && state != libc::TIME_ERROR && asked.status & libc::STA_UNSYNC == 0
}

/// What became of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It was set, and is not believed.
    Held { by: SignedDuration },
    /// It was set, and is believed.
    Believed { by: SignedDuration },
    /// It shows again what it should.
    Back,
}

/// Time that goes on by the boot clock.
#[derive(Debug, Default)]
struct Steady {
    /// The last moment that was believed; none: there was none yet.
    last: Option<Reading>,
    /// Whether the wall clock is not believed at present.
    is_held: bool,
}

impl Steady {
    /// The time at a reading of the clocks.
    fn at(&mut self, reading: Reading, is_synchronised: impl FnOnce() -> bool) -> (Timestamp, Option<Turn>) {
        let Some(last) = self.last else {
            self.last = Some(reading);
            return (reading.wall, None);
        };
        let passed = SignedDuration::try_from(reading.boot.saturating_sub(last.boot)).unwrap_or_default();
        let expected = last.wall.checked_add(passed).unwrap_or(last.wall);
        let by = expected.duration_until(reading.wall);
        let was_held = self.is_held;
        if by.abs() <= STEP || is_synchronised() {
            (self.last, self.is_held) = (Some(reading), false);
            let turn = match by.abs() > STEP {
                true => Some(Turn::Believed { by }),
                false => was_held.then_some(Turn::Back),
            };
            return (reading.wall, turn);
        }
        self.is_held = true;
        (expected, (!was_held).then_some(Turn::Held { by }))
    }

    /// Before the first reading.
    fn resume(&mut self, earlier: Earlier, reading: Reading) {
        self.last = match earlier {
            Earlier::ThisBoot(earlier) if earlier.boot <= reading.boot => Some(earlier),
            // Time passed while the machine was off, and nobody knows how much.
            Earlier::AnotherBoot(at) if !(-STEP..=LONGEST_OFF).contains(&at.duration_until(reading.wall)) => {
                Some(Reading { wall: at, boot: reading.boot })
            }
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_790_000_000;
    const YEAR: i64 = 365 * 86_400;

    /// Seconds after the start by the wall clock, and since boot.
    fn reading(wall: i64, boot: u64) -> Reading {
        Reading { wall: Timestamp::from_second(START + wall).unwrap(), boot: Duration::from_secs(boot) }
    }

    fn seconds(at: Timestamp) -> i64 {
        at.as_second() - START
    }

    fn at(steady: &mut Steady, wall: i64, boot: u64, is_synchronised: bool) -> (i64, Option<Turn>) {
        let (at, turn) = steady.at(reading(wall, boot), || is_synchronised);
        (seconds(at), turn)
    }

    #[test]
    fn the_boot_clock_only_runs() {
        let (earlier, later) = (now().boot.unwrap(), now().boot.unwrap());
        assert_eq!((earlier.id.len(), &earlier.id), (36, &later.id));
        assert!(0 < earlier.us && earlier.us <= later.us);
        assert_eq!(now().wall.as_nanosecond() % 1_000, 0);
    }

    #[test]
    fn a_clock_that_is_set_by_years_is_not_believed_until_it_is_synchronised() {
        for by in [YEAR, -3 * YEAR] {
            let mut steady = Steady::default();
            let span = SignedDuration::from_secs(by);
            assert_eq!(at(&mut steady, 0, 100, false), (0, None));
            assert_eq!(at(&mut steady, by + 10, 110, false), (10, Some(Turn::Held { by: span })));
            assert_eq!(at(&mut steady, by + 20, 120, false), (20, None), "it is reported once");
            assert_eq!(at(&mut steady, 30, 130, false), (30, Some(Turn::Back)));
            assert_eq!(at(&mut steady, by + 40, 140, true), (by + 40, Some(Turn::Believed { by: span })));
            assert_eq!(at(&mut steady, by + 50, 150, false), (by + 50, None));
        }
    }

    #[test]
    fn small_steps_and_slewing_are_followed() {
        let mut steady = Steady::default();
        at(&mut steady, 0, 100, false);
        assert_eq!(at(&mut steady, 3_500, 110, false), (3_500, None));
        assert_eq!(at(&mut steady, 200, 120, false), (200, None));
        // Many of them do not add up against what was long ago.
        for step in 1..100 {
            assert_eq!(at(&mut steady, 200 + step * 3_000, 120, false).0, 200 + step * 3_000);
        }
    }

    #[test]
    fn a_start_goes_on_from_the_last_entry() {
        let start = |earlier, wall, boot, is_synchronised| {
            let mut steady = Steady::default();
            steady.resume(earlier, reading(wall, boot));
            at(&mut steady, wall, boot, is_synchronised).0
        };
        let this_boot = Earlier::ThisBoot(reading(0, 100));
        assert_eq!(start(this_boot, 50, 150, false), 50);
        assert_eq!(start(this_boot, YEAR, 150, false), 50);
        assert_eq!(start(this_boot, -YEAR, 150, false), 50);
        assert_eq!(start(this_boot, YEAR, 150, true), YEAR);
        let before = Earlier::AnotherBoot(reading(0, 0).wall);
        assert_eq!(start(before, 90 * 86_400, 5, false), 90 * 86_400, "it was off for a quarter");
        assert_eq!(start(before, -60, 5, false), -60, "it was slewed");
        for wrong in [-YEAR, 2 * YEAR, -START] {
            assert_eq!(start(before, wrong, 5, false), 0);
            assert_eq!(start(before, wrong, 5, true), wrong);
        }
    }

    #[test]
    fn the_kernel_can_be_asked() {
        // Either answer is right; it must not fail, and both clocks go forward.
        is_synchronised();
        let (earlier, later) = (boot(), boot());
        assert!(Duration::ZERO < earlier && earlier <= later);
    }
}
