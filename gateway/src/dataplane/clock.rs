//! The kernel's clocks.

use nix::time::{ClockId, clock_getres, clock_gettime};

use super::error::DataplaneError;

/// Which clock the programs go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramClock {
    /// The kernel's.
    Kernel,
    /// One that is set by hand, for tests and replays; it counts from the Unix epoch.
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

    /// An instant as exemptions' expiry is kept.
    pub(super) fn ns_at(self, instant: jiff::Timestamp) -> u64 {
        match self {
            Self::Virtual => u64::try_from(instant.as_nanosecond().max(0)).unwrap_or(u64::MAX),
            Self::Kernel => boot_ns_at(instant),
        }
    }

    /// The instant of a reading.
    pub(super) fn instant(self, reading_ns: u64) -> jiff::Timestamp {
        let since_epoch_ns = match self {
            Self::Virtual => i128::from(reading_ns),
            Self::Kernel => {
                jiff::Timestamp::now().as_nanosecond() + i128::from(reading_ns) - i128::from(boot_ns())
            }
        };
        jiff::Timestamp::from_nanosecond(since_epoch_ns).unwrap_or(jiff::Timestamp::MAX)
    }
}

/// Nanoseconds since boot, suspension included.
pub(super) fn boot_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// The boot-time clock's reading at an instant: what has passed already lapses at once, and a later
/// change of the wall clock does not move it.
fn boot_ns_at(instant: jiff::Timestamp) -> u64 {
    let boot_ns = i128::from(boot_ns());
    let until_ns = instant.as_nanosecond() - jiff::Timestamp::now().as_nanosecond();
    u64::try_from((boot_ns + until_ns).max(0)).unwrap_or(u64::MAX)
}
