//! Caps (policy rule B1) as a leaky bucket in continuous state (ITU-T I.371, annex A): the twin of the
//! programs' virtual scheduling, in exact arithmetic.

use std::time::Duration;

use gateway::config::BitRate;
use gateway_ebpf::DropReason;

use super::Judged;

/// What a tenant has used in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// Content after the last packet that passed, in billionths of a bit: a bucket of R bit/s leaks R of
    /// them in a nanosecond.
    level: i128,
    /// When that was.
    at_ns: i128,
}

impl Bucket {
    /// Lets a packet pass if the bucket holds no more than the burst, and then pours it in.
    ///
    /// Exact; the programs round the time of a packet to whole nanoseconds. The two agree where a byte
    /// takes a whole number of nanoseconds: at rates that divide 8 Gbit/s.
    pub(super) fn charge(&mut self, rate: BitRate, burst: Duration, now_ns: u64, bytes: usize) -> Judged<()> {
        let rate = i128::from(rate.bits_per_sec());
        let leaked = (i128::from(now_ns) - self.at_ns) * rate;
        let level = (self.level - leaked).max(0);
        if level > burst.as_nanos() as i128 * rate {
            return Err(DropReason::OverCap);
        }
        self.level = level + bytes as i128 * 8 * 1_000_000_000;
        self.at_ns = i128::from(now_ns);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_that_crosses_the_burst_is_the_last() {
        let (rate, burst) = (BitRate::from_bits_per_sec(8_000_000).unwrap(), Duration::from_millis(100));
        let mut bucket = Bucket::default();
        let start_ns = 1_000_000_000;
        let passed = (0..200).filter(|_| bucket.charge(rate, burst, start_ns, 1_000).is_ok()).count();
        // 100 ms hold 100 packets; the bucket is not over its rim before the 101st is in it.
        assert_eq!(passed, 101);
        // A packet takes a millisecond. One nanosecond before it has leaked, nothing passes.
        assert_eq!(bucket.charge(rate, burst, start_ns + 999_999, 60), Err(DropReason::OverCap));
        assert_eq!(bucket.charge(rate, burst, start_ns + 1_000_000, 60), Ok(()));
    }
}
