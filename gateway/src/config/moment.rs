//! The moment at which a file is read: exemptions expire, so a file can come to read differently although
//! nobody changed it.

use std::cell::Cell;

use jiff::Timestamp;

/// A moment, and until when a file that is read at it reads the same.
pub(super) struct Moment {
    now: Timestamp,
    same_until: Cell<Timestamp>,
}

impl Moment {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, same_until: Cell::new(Timestamp::MAX) }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Says that something reads differently from `instant` on.
    pub(super) fn limit(&self, instant: Timestamp) {
        self.same_until.set(self.same_until.get().min(instant));
    }

    /// The first instant at which it may read differently.
    pub(super) fn same_until(&self) -> Timestamp {
        self.same_until.get()
    }
}
