//! A tenant's cap in one direction, as time at its rate.

/// Binary digits after the point of the time that a byte takes.
pub const NS_PER_BYTE_FRACTION_BITS: u32 = 20;

/// One direction's cap as the data plane keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Cap {
    /// Time that one byte takes, in 2^-20 ns.
    ns_per_byte: u64,
    /// How far the theoretical arrival time may run ahead of the clock.
    burst_ns: u64,
}

impl Cap {
    /// A cap of `bits_per_sec`, which must not be 0, with a burst of `burst_ns` at that rate.
    #[must_use]
    pub const fn new(bits_per_sec: u64, burst_ns: u64) -> Self {
        Self { ns_per_byte: (8_000_000_000 << NS_PER_BYTE_FRACTION_BITS) / bits_per_sec, burst_ns }
    }

    /// The rate in bits per second, rounded.
    #[must_use]
    pub const fn bits_per_sec(self) -> u64 {
        if self.ns_per_byte == 0 {
            return 0;
        }
        ((8_000_000_000 << NS_PER_BYTE_FRACTION_BITS) + self.ns_per_byte / 2) / self.ns_per_byte
    }

    /// The burst in nanoseconds at the cap's rate.
    #[must_use]
    pub const fn burst_ns(self) -> u64 {
        self.burst_ns
    }

    /// Time that `bytes` take at the cap's rate, to the nearest nanosecond.
    ///
    /// No overflow: frames have at most 2^17 bytes, and at 8 kbit/s a byte takes 2^40 units.
    #[inline(always)]
    #[must_use]
    pub const fn cost_ns(self, bytes: u32) -> u64 {
        (bytes as u64 * self.ns_per_byte + (1 << (NS_PER_BYTE_FRACTION_BITS - 1)))
            >> NS_PER_BYTE_FRACTION_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gcra::admit;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn ten_megabit_takes_800_ns_a_byte() {
        let cap = Cap::new(10_000_000, 250 * MS);
        assert_eq!(cap.cost_ns(1), 800);
        assert_eq!(cap.cost_ns(1_514), 1_211_200);
        assert_eq!(cap.bits_per_sec(), 10_000_000);
    }

    #[test]
    fn a_frame_longer_than_the_burst_passes_when_idle() {
        let cap = Cap::new(8_000, MS);
        let after = admit(0, 5_000 * MS, cap.cost_ns(1_514), cap.burst_ns()).expect("idle");
        assert_eq!(after, 5_000 * MS + 1_514 * MS);
        assert_eq!(admit(after, 5_001 * MS, cap.cost_ns(64), cap.burst_ns()), None);
    }

    #[test]
    fn the_burst_ends_where_it_should() {
        let cap = Cap::new(10_000_000, 250 * MS);
        let (mut arrival_ns, mut passed) = (0, 0_u64);
        while let Some(next) = admit(arrival_ns, 1_000 * MS, cap.cost_ns(1_000), cap.burst_ns()) {
            arrival_ns = next;
            passed += 1_000;
        }
        // 250 ms of 10 Mbit/s are 312,500 bytes; the packet that crosses the line still passes.
        assert_eq!(passed, 313_000);
    }

    proptest! {
        /// Whatever the packets, the clock's grain and the rate: what passes in a time never exceeds
        /// rate x time + burst + one frame, and a greedy sender gets at least rate x time.
        #[test]
        fn the_long_run_rate_is_exact(
            bits_per_sec in 8_000_u64..10_000_000_000,
            burst_ms in 10_u64..2_000,
            bytes in 60_u32..9_018,
            grain_ns in prop_oneof![Just(1_u64), Just(MS), Just(4 * MS), Just(10 * MS)],
        ) {
            let cap = Cap::new(bits_per_sec, burst_ms * MS);
            let frame_ns = (u64::from(bytes) * 8_000_000_000 / bits_per_sec).max(1);
            // A sender at four times the cap.
            let gap_ns = (frame_ns / 4).max(1);
            let (mut arrival_ns, mut passed_bytes) = (0_u64, 0_u64);
            let start_ns = 1_u64 << 40;
            let frames = 4_000;
            for i in 0..frames {
                let now_ns = (start_ns + i * gap_ns) / grain_ns * grain_ns;
                if let Some(next) = admit(arrival_ns, now_ns, cap.cost_ns(bytes), cap.burst_ns()) {
                    arrival_ns = next;
                    passed_bytes += u64::from(bytes);
                }
            }
            let duration_ns = frames * gap_ns + grain_ns;
            let rate = |ns: u64| (u128::from(ns) * u128::from(bits_per_sec) / 8_000_000_000) as u64;
            // Whole nanoseconds: at most 1 % at the fastest rate and the smallest frame.
            let most = (rate(duration_ns + cap.burst_ns()) + 2 * u64::from(bytes)) * 101 / 100;
            prop_assert!(passed_bytes <= most, "{passed_bytes} > {most}");
            let sent = frames * u64::from(bytes);
            let least = rate(duration_ns.saturating_sub(2 * grain_ns)).min(sent) * 99 / 100;
            prop_assert!(passed_bytes + u64::from(bytes) >= least.min(sent), "{passed_bytes} < {least}");
        }
    }
}
