//! The time, as it is handed to whoever decides.

use std::time::Duration;

use jiff::Timestamp;

/// One moment on both clocks. Decisions never read a clock themselves: they are told the time, so that a
/// year of them is a test of milliseconds, and a capture is judged by its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What people call it. It may be set, forwards and back.
    pub wall: Timestamp,
    /// Since the machine started, times of suspension included (`CLOCK_BOOTTIME`). It only goes forward.
    pub boot: Duration,
}
