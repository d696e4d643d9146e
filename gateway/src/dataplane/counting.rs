//! A counter that programs add to, as the controller reads it and adds to it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use gateway_ebpf::abi::Tally;
use gateway_ebpf::counter::{Carried, Counter};

/// A [`Counter`] and what was [`Carried`] from it, in mapped arrays.
pub(super) struct Counting<'a> {
    pub(super) counter: &'a AtomicU64,
    pub(super) carried: &'a AtomicU64,
}

impl Counting<'_> {
    /// What both count.
    pub(super) fn total(&self) -> Tally {
        let carried = bytemuck::cast::<u64, Carried>(self.carried.load(Relaxed));
        Counter::from_word(self.counter.load(Relaxed)).total(carried)
    }

    /// Adds a tally, while programs may be counting.
    pub(super) fn add(&self, tally: Tally) {
        // Most are zero; do not dirty their cache lines.
        if tally == Tally::default() {
            return;
        }
        let (counter, carried) = Counter::of(tally);
        // Wrapping: any bytes may have been found in older tables.
        let sum = self.counter.fetch_add(counter.word(), Relaxed).wrapping_add(counter.word());
        let full = sum & Counter::FULL;
        // A program may have been here first.
        let full = if full == 0 { 0 } else { self.counter.fetch_and(!full, Relaxed) & full };
        self.carried.fetch_add(carried.word().wrapping_add(Carried::of(full).word()), Relaxed);
    }

    /// What was counted, leaving nothing; no program counts here any more.
    pub(super) fn take(&self) -> Tally {
        let total = self.total();
        if total != Tally::default() {
            self.counter.store(0, Relaxed);
            self.carried.store(0, Relaxed);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_moved_adds_up() {
        let (counter, carried) = (AtomicU64::new(0), AtomicU64::new(0));
        let counting = Counting { counter: &counter, carried: &carried };
        let part = Tally { packets: 131_071, bytes: (1 << 29) - 1 };
        for times in 1..=1_000 {
            counting.add(part);
            assert!(!Counter::from_word(counter.load(Relaxed)).is_full());
            assert_eq!(counting.total(), Tally { packets: part.packets * times, bytes: part.bytes * times });
        }
        counting.add(Tally { packets: 1 << 40, bytes: 1 << 50 });
        let all = Tally { packets: 131_071_000 + (1 << 40), bytes: part.bytes * 1_000 + (1 << 50) };
        assert_eq!(counting.take(), all);
        assert_eq!(counting.total(), Tally::default());
    }
}
