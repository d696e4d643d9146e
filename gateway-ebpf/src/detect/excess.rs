//! How far a flood goes beyond what is fine.

use bytemuck::{Pod, Zeroable};

const SECOND_NS: u64 = 1_000_000_000;

/// How far a rate has been above a limit, one-sided: CUSUM (Page 1954).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Excess {
    /// Packets above the limit, in halves.
    pub halves: u64,
    drained_ns: u64,
}

impl Excess {
    /// `halves` of packets were sent, `per_second` are fine.
    #[inline(always)]
    pub fn add(&mut self, halves: u64, per_second: u32, now_ns: u64) {
        // Within a jiffy nothing drains, and a flood pays for no division.
        if now_ns > self.drained_ns {
            self.drain(per_second, now_ns);
        }
        self.halves += halves;
    }

    #[inline(always)]
    fn drain(&mut self, per_second: u32, now_ns: u64) {
        let elapsed_ns = now_ns - self.drained_ns;
        let (elapsed_ms, rest_ns) = if elapsed_ns > 60 * SECOND_NS {
            (60_000, 0)
        } else {
            (elapsed_ns / 1_000_000, elapsed_ns % 1_000_000)
        };
        // The rest of a millisecond is not lost: it is counted from where it began.
        self.drained_ns = now_ns - rest_ns;
        let fine = elapsed_ms * per_second as u64 * 2 / 1_000;
        self.halves = self.halves.saturating_sub(fine);
    }

    /// Answers speak for the sender.
    #[inline(always)]
    pub fn relieve(&mut self, halves: u64) {
        self.halves = self.halves.saturating_sub(halves);
    }
}
