//! Caps (policy rule B1) as a leaky bucket in continuous state (ITU-T I.371, annex A): the twin of the
//! programs' virtual scheduling, in exact arithmetic. In front of it, with `algorithm = "fair"`, phantom queues:
//! plain numbers where the programs pack four into a word.

use std::time::Duration;

use gateway::config::{BitRate, CapAlgorithm, Tenant};
use gateway::dataplane::QueueDrops;
use gateway_ebpf::DropReason;

use super::Judged;

/// What a tenant has used in one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Content after the last packet that passed, in billionths of a bit: a bucket of R bit/s leaks R of
    /// them in a nanosecond.
    level: i128,
    /// When that was.
    at_ns: i128,
}

/// One direction of a tenant.
#[derive(Clone, Debug, Default)]
pub(super) struct Cap {
    bucket: Bucket,
    queues: Queues,
    pub(super) drops: QueueDrops,
}

impl Cap {
    /// Lets a packet of the flow with this queue pass, or not, and charges it if it does.
    pub(super) fn charge(
        &mut self,
        (tenant, rate): (&Tenant, BitRate),
        now_ns: u64,
        bytes: usize,
        queue: u32,
    ) -> Judged<()> {
        let burst = tenant.burst;
        if tenant.cap_algorithm == CapAlgorithm::Bucket {
            return self.bucket.charge(rate, burst, now_ns, bytes);
        }
        let ahead_ns = self.bucket.ahead_ns(rate, now_ns);
        let burst_ns = burst.as_nanos() as u64;
        let credit_ns = burst_ns * 3 / 2;
        if ahead_ns <= burst_ns / 16 {
            return self.bucket.charge(rate, burst, now_ns, bytes);
        }
        // The credit is counted by the same bucket.
        if ahead_ns > credit_ns {
            return Err(DropReason::OverCap);
        }
        // A queue holds 0x7fff units.
        let unit_ns = (14..).map(|bits| 1 << bits).find(|unit| credit_ns / unit < 0x8000).expect("a unit");
        let queue = queue as usize;
        self.queues.drain(now_ns / unit_ns);
        self.queues.admit(queue, 2 * (credit_ns - ahead_ns) / unit_ns, &mut self.drops)?;
        let before_ns = now_ns + ahead_ns;
        self.bucket.charge(rate, Duration::MAX, now_ns, bytes)?;
        let after_ns = now_ns + self.bucket.ahead_ns(rate, now_ns);
        let units = after_ns / unit_ns - before_ns / unit_ns;
        self.queues.backlogs[queue] = (self.queues.backlogs[queue] + units).min(0x7fff);
        Ok(())
    }
}

/// Backlogs of 32 flows, in units of time at the cap's rate.
#[derive(Clone, Debug, Default)]
struct Queues {
    backlogs: [u64; 32],
    /// Where the next signal is, in 128 units.
    levels: [u64; 32],
    /// When they were last drained, and what was not shared out then.
    drained: u64,
    carried: u64,
}

impl Queues {
    /// Drains every queue that is not empty by the same share.
    fn drain(&mut self, now: u64) {
        // The programs keep 48 bits, and take what looks like a little while ago for the tick of another CPU.
        let elapsed = now.wrapping_sub(self.drained) % (1 << 48);
        if elapsed == 0 || elapsed >= (1 << 48) - 0x7fff {
            return;
        }
        let due = (elapsed + self.carried).min(0x7fff);
        (self.drained, self.carried) = (now, 0);
        let waiting = self.backlogs.iter().filter(|backlog| **backlog > 0).count() as u64;
        if waiting == 0 {
            return;
        }
        let share = if due == 0x7fff { due } else { due / waiting };
        let before: u64 = self.backlogs.iter().sum();
        self.backlogs.iter_mut().for_each(|backlog| *backlog = backlog.saturating_sub(share));
        let left: u64 = self.backlogs.iter().sum();
        if left > 0 {
            self.carried = due.saturating_sub(before - left);
        }
    }

    /// Whether a packet may join a queue that has room for so much.
    fn admit(&mut self, queue: usize, limit: u64, drops: &mut QueueDrops) -> Judged<()> {
        let backlog = self.backlogs[queue];
        if backlog > limit {
            drops.full += 1;
            return Err(DropReason::OverCap);
        }
        let gap = ((limit - backlog) * 43 / 256).max(128);
        let most = backlog + gap + gap / 4;
        let kept = |units: u64| ((units + 64) / 128).min(255);
        let level = (self.levels[queue] * 128).min(most).max(limit * 36 / 256);
        if backlog > level {
            self.levels[queue] = kept(backlog + gap);
            drops.signals += 1;
            return Err(DropReason::OverCap);
        }
        if most < self.levels[queue] * 128 {
            self.levels[queue] = kept(most);
        }
        Ok(())
    }
}

impl Bucket {
    /// How long what is in it takes to leak, where that is a whole number of nanoseconds.
    fn ahead_ns(&self, rate: BitRate, now_ns: u64) -> u64 {
        let rate = i128::from(rate.bits_per_sec());
        let leaked = (i128::from(now_ns) - self.at_ns) * rate;
        u64::try_from((self.level - leaked).max(0) / rate).expect("centuries")
    }

    /// Lets a packet pass if the bucket holds no more than the burst, and then pours it in.
    ///
    /// Exact; the programs round the time of a packet to whole nanoseconds. The two agree where a byte
    /// takes a whole number of nanoseconds: at rates that divide 8 Gbit/s.
    fn charge(&mut self, rate: BitRate, burst: Duration, now_ns: u64, bytes: usize) -> Judged<()> {
        let rate = i128::from(rate.bits_per_sec());
        let leaked = (i128::from(now_ns) - self.at_ns) * rate;
        let level = (self.level - leaked).max(0);
        if level > (burst.as_nanos() as i128).saturating_mul(rate) {
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
