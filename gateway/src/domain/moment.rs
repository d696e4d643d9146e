//! The time, as it is handed to whoever decides.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// One moment by both clocks. Decisions never read a clock themselves: they are told the time, so that a year of
/// them is a test of milliseconds, and a capture is judged by its own time.
///
/// The wall clock may be set, forwards and back; the boot clock only runs, times of suspension included
/// (`CLOCK_BOOTTIME`), but starts anew at a boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock.
    pub wall: Timestamp,
    /// By the boot clock; none: recorded by a release that did not say, or on a system that does not tell.
    pub boot: Option<BootTime>,
}

/// A reading of the boot clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootTime {
    /// Which boot: the kernel's `boot_id`.
    pub id: String,
    /// Microseconds since it.
    pub us: u64,
}

impl Moment {
    /// The moment at which the wall clock, as it runs now, showed or will show `wall`.
    #[must_use]
    pub fn at(&self, wall: Timestamp) -> Self {
        let later = wall.duration_since(self.wall);
        let boot = self.boot.as_ref().map(|now| BootTime { id: now.id.clone(), us: moved(now.us, later) });
        Self { wall, boot }
    }

    /// Time that has run since the boot, to tell what is due; without a boot clock, since 1970.
    #[must_use]
    pub fn running(&self) -> Duration {
        match &self.boot {
            Some(boot) => Duration::from_micros(boot.us),
            None => Duration::try_from(self.wall.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default(),
        }
    }
}

fn moved(us: u64, by: SignedDuration) -> u64 {
    let by_us = i64::try_from(by.as_micros()).unwrap_or(if by.is_negative() { i64::MIN } else { i64::MAX });
    us.saturating_add_signed(by_us)
}

/// A time to the microsecond, as it is stored.
#[must_use]
pub fn to_microsecond(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
