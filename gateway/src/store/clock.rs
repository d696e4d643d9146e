//! What time it is, by both clocks. Read at the edges and handed in everywhere else.

use std::fs;
use std::sync::OnceLock;

use jiff::Timestamp;

use super::fact::{BootTime, Moment};
use crate::clock;

/// This moment, to the microsecond, as it is stored.
#[must_use]
pub fn now() -> Moment {
    let boot = boot_id().map(|id| {
        let us = u64::try_from(clock::boot().as_micros()).unwrap_or(u64::MAX);
        BootTime { id: id.to_owned(), us }
    });
    Moment { wall: to_microsecond(clock::wall()), boot }
}

/// A time as it is stored.
#[must_use]
pub fn to_microsecond(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// Which boot this is; it does not change.
fn boot_id() -> Option<&'static str> {
    static BOOT_ID: OnceLock<Option<String>> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    BOOT_ID.get_or_init(|| read().map(|id| id.trim().to_owned())).as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_only_runs() {
        let (earlier, later) = (now().boot.unwrap(), now().boot.unwrap());
        assert_eq!((earlier.id.len(), &earlier.id), (36, &later.id));
        assert!(0 < earlier.us && earlier.us <= later.us);
        assert_eq!(now().wall.as_nanosecond() % 1_000, 0);
    }
}
