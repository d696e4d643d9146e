extern crate std;

use core::cell::{Cell, RefCell};
use std::vec::Vec;

use super::*;
use crate::gcra;
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const BURST_NS: u64 = 250 * MS;
const START_NS: u64 = 1 << 50;
/// A full frame at 10 Mbit/s.
const FRAME_NS: u64 = 1_514 * 800;

/// What one tenant has in one direction, on one CPU.
#[derive(Default)]
struct Alone {
    arrival_ns: Cell<u64>,
    fair: RefCell<Fair>,
}

impl Shared for Alone {
    fn load(&self, word: usize) -> u64 {
        bytemuck::cast_slice::<_, u64>(core::slice::from_ref(&*self.fair.borrow()))[word]
    }

    fn exchange(&self, word: usize, old: u64, new: u64) -> u64 {
        let held = self.load(word);
        if held == old {
            bytemuck::cast_slice_mut::<_, u64>(core::slice::from_mut(&mut *self.fair.borrow_mut()))[word] =
                new;
        }
        held
    }

    fn add(&self, word: usize, value: u64) {
        let sum = self.load(word).checked_add(value).expect("no lane overflows into the next");
        self.exchange(word, self.load(word), sum);
    }

    fn level(&self, queue: u32) -> u8 {
        self.fair.borrow().levels[queue as usize]
    }

    fn set_level(&self, queue: u32, level: u8) {
        self.fair.borrow_mut().levels[queue as usize] = level;
    }
}

impl Alone {
    /// As the programs do it.
    fn offer(&self, now_ns: u64, cost_ns: u64, burst_ns: u64, queue: u32) -> Result<(), Refused> {
        let start_ns = self.arrival_ns.get().max(now_ns);
        let ahead_ns = start_ns - now_ns;
        if ahead_ns > near_ns(burst_ns) {
            if ahead_ns > credit_ns(burst_ns) {
                return Err(Refused::Credit);
            }
            let unit_bits = unit_bits(burst_ns);
            admit(self, now_ns, ahead_ns, burst_ns, unit_bits, queue)?;
            charge(self, start_ns, cost_ns, unit_bits, queue);
        }
        self.arrival_ns.set(gcra::admit(self.arrival_ns.get(), now_ns, cost_ns, u64::MAX).expect("no limit"));
        Ok(())
    }
}

/// A flow that sends a full frame every so many nanoseconds, whatever happens to it.
struct Blast {
    queue: u32,
    gap_ns: u64,
}

/// Runs flows side by side on a clock that ticks every 4 ms; says how much time at the cap's rate each got.
fn run(alone: &Alone, flows: &[Blast], from_ns: u64, duration_ns: u64) -> Vec<u64> {
    let mut next: Vec<u64> = flows.iter().map(|_| from_ns).collect();
    let mut passed = std::vec![0; flows.len()];
    loop {
        let (index, at_ns) =
            (0..).zip(&next).min_by_key(|(_, at_ns)| **at_ns).map(|(i, at)| (i, *at)).unwrap();
        if at_ns >= from_ns + duration_ns {
            return passed;
        }
        let flow: &Blast = &flows[index];
        if alone.offer(at_ns / (4 * MS) * (4 * MS), FRAME_NS, BURST_NS, flow.queue).is_ok() {
            passed[index] += FRAME_NS;
        }
        next[index] += flow.gap_ns;
    }
}

#[test]
fn a_flow_alone_gets_its_burst_and_then_the_rate() {
    let alone = Alone::default();
    // All at once: the burst, a third of what is not looked at before, and the packet that crosses the line.
    let at_once = (0..1_000).filter(|_| alone.offer(START_NS, FRAME_NS, BURST_NS, 7).is_ok()).count() as u64;
    let most = BURST_NS + near_ns(BURST_NS) / 3;
    assert!((BURST_NS..most + 2 * FRAME_NS).contains(&(at_once * FRAME_NS)), "{at_once} frames");
    // Then the rate, to a frame.
    let passed = run(&alone, &[Blast { queue: 7, gap_ns: FRAME_NS / 3 }], START_NS, 60_000 * MS)[0];
    assert!(passed.abs_diff(60_000 * MS) < 10 * MS, "{passed}");
}

#[test]
fn a_blast_leaves_others_their_share() {
    let alone = Alone::default();
    // Ten times the cap beside one that would like 0.6 of it.
    let flows = [Blast { queue: 1, gap_ns: FRAME_NS / 10 }, Blast { queue: 2, gap_ns: FRAME_NS * 5 / 3 }];
    run(&alone, &flows, START_NS, 2_000 * MS);
    let passed = run(&alone, &flows, START_NS + 2_000 * MS, 30_000 * MS);
    let share = |index: usize| passed[index] as f64 / (30_000 * MS) as f64;
    assert!((0.47..0.53).contains(&share(0)) && (0.47..0.53).contains(&share(1)), "{passed:?}");
    // One that wants less than its share gets all of that.
    let flows = [Blast { queue: 1, gap_ns: FRAME_NS / 10 }, Blast { queue: 2, gap_ns: FRAME_NS * 4 }];
    run(&alone, &flows, START_NS + 40_000 * MS, 2_000 * MS);
    let passed = run(&alone, &flows, START_NS + 42_000 * MS, 30_000 * MS);
    assert!(passed[1] as f64 > 0.245 * (30_000 * MS) as f64, "{passed:?}");
}

#[test]
fn a_signal_comes_long_before_the_queue_is_full() {
    let alone = Alone::default();
    let verdicts: Vec<_> = (0..250).map(|_| alone.offer(START_NS, FRAME_NS, BURST_NS, 7)).collect();
    let first = verdicts.iter().position(Result::is_err).expect("some drop");
    assert_eq!(verdicts[first], Err(Refused::Signal));
    // At 0.14 of the limit, 83 ms of backlog, and what is not looked at before.
    let ahead_ms = first as u64 * FRAME_NS / MS;
    assert!((80..105).contains(&ahead_ms), "{ahead_ms} ms");
    let signals = verdicts.iter().filter(|verdict| **verdict == Err(Refused::Signal)).count();
    assert!((3..25).contains(&signals), "{signals} signals");
    assert_eq!(verdicts.last(), Some(&Err(Refused::Queue)));
    let fair = *alone.fair.borrow();
    let full = verdicts.iter().filter(|verdict| **verdict == Err(Refused::Queue)).count();
    assert_eq!((fair.signals, fair.queue_full), (signals as u64, full as u64));
}

#[test]
fn every_burst_fits_its_unit() {
    let bits = |burst_ms: u64| unit_bits(burst_ms * MS);
    assert_eq!([10, 250, 350, 357].map(bits), [14; 4]);
    assert_eq!([358, 700, 1_000, 10_000].map(bits), [15, 15, 16, 19]);
    for burst_ms in 10..=10_000 {
        assert!(credit_ns(burst_ms * MS) >> bits(burst_ms) <= lanes::MOST, "{burst_ms}");
    }
}

#[test]
fn another_burst_is_in_force_at_once() {
    let alone = Alone::default();
    for burst_ms in [250, 1_000, 10_000, 250, 10] {
        let from_ns = alone.arrival_ns.get().max(START_NS);
        let mut now_ns = from_ns + 100 * MS;
        let mut passed_ns = 0;
        for _ in 0..20_000 {
            now_ns += FRAME_NS / 4;
            passed_ns += if alone.offer(now_ns, FRAME_NS, burst_ms * MS, 3).is_ok() { FRAME_NS } else { 0 };
        }
        let least = now_ns - from_ns - 100 * MS;
        let most = least + 100 * MS + credit_ns(burst_ms * MS) + FRAME_NS;
        assert!((least - 10 * MS..=most).contains(&passed_ns), "{burst_ms}: {passed_ns}, {least} to {most}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is sent: never more than rate x time + credit + a frame, and no queue that is not drained in time.
    #[test]
    fn the_sum_of_all_flows_never_exceeds_the_cap(
        burst_ms in prop_oneof![Just(10_u64), Just(250), Just(350), Just(5_000)],
        grain_ns in prop_oneof![Just(1_u64), Just(MS), Just(4 * MS), Just(10 * MS)],
        packets in proptest::collection::vec((0_u64..3_000_000, 1_u64..20_000_000, 0_u32..QUEUES), 1..2_000),
    ) {
        let alone = Alone::default();
        let burst_ns = burst_ms * MS;
        let (mut at_ns, mut passed_ns, mut greatest_ns) = (START_NS, 0, 0);
        for (gap_ns, cost_ns, queue) in packets {
            at_ns += gap_ns;
            let now_ns = at_ns / grain_ns * grain_ns;
            let ahead_ns = alone.arrival_ns.get().saturating_sub(now_ns);
            let verdict = alone.offer(now_ns, cost_ns, burst_ns, queue);
            let was_looked_at = ahead_ns > near_ns(burst_ns) && verdict != Err(Refused::Credit);
            match verdict {
                Ok(()) => {
                    passed_ns += cost_ns;
                    greatest_ns = greatest_ns.max(cost_ns);
                }
                // Nothing is dropped while the tenant is not near its cap.
                Err(_) => prop_assert!(ahead_ns > near_ns(burst_ns)),
            }
            prop_assert!(passed_ns <= at_ns - START_NS + grain_ns + credit_ns(burst_ns) + greatest_ns);
            // Once drained, queues hold no more than the tenant is ahead, but for what is shared out a tick later.
            if was_looked_at {
                let fair = *alone.fair.borrow();
                let carried = fair.header & 0xffff;
                let ahead_units = alone.arrival_ns.get().saturating_sub(now_ns) >> unit_bits(burst_ns);
                prop_assert!(fair.queues().sum::<u64>() <= ahead_units + carried + 2, "{fair:?}, {ahead_units}");
            }
        }
        // Once all has drained, the next flow finds nothing in its way.
        let later_ns = at_ns + 40_000 * MS;
        prop_assert_eq!(alone.offer(later_ns, near_ns(burst_ns) + 1, burst_ns, 0), Ok(()));
        prop_assert_eq!(alone.offer(later_ns, 1, burst_ns, 0), Ok(()));
        prop_assert!(alone.fair.borrow().queues().sum::<u64>() <= 1);
    }
}
