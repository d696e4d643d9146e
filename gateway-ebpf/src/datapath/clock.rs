//! What time it is: the real clock, or a virtual one that a replay sets.
//!
//! Caps and detection run on jiffies: the verifier inlines that read (0 ns measured, against 40 ns for the
//! nanosecond clock), and a tick of 1 to 10 ms is fine for buckets that hold tens of milliseconds and for
//! windows of minutes. Jiffies began at another time than the kernel's other clocks (`INITIAL_JIFFIES`), but advance with
//! `CLOCK_MONOTONIC` (`tick_do_update_jiffies64` in kernel/time/tick-sched.c): not while the machine is suspended.
//! What a calendar says, or people are to read to the millisecond, is on the boot-time clock: when an exemption
//! lapses, and when an event was.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_boot_ns};

use super::maps::{CLOCK, ns_per_jiffy};

/// Time for caps and detection, in nanoseconds, as coarse as a jiffy.
#[inline(always)]
pub fn coarse_ns() -> u64 {
    match ns_per_jiffy() {
        0 => virtual_ns(),
        // SAFETY: no arguments, no preconditions.
        length_ns => unsafe { bpf_jiffies64() }.wrapping_mul(length_ns),
    }
}

/// Time for exemptions and events: nanoseconds since boot, suspension included.
#[inline(always)]
pub fn boot_ns() -> u64 {
    match ns_per_jiffy() {
        0 => virtual_ns(),
        // SAFETY: no arguments, no preconditions.
        _ => unsafe { bpf_ktime_get_boot_ns() },
    }
}

/// Whether a replay sets the time. The verifier knows, and drops what depends on it elsewhere.
#[inline(always)]
pub fn is_virtual() -> bool {
    ns_per_jiffy() == 0
}

/// Shows the controller what [`coarse_ns`] reads: jiffies, which no system call tells.
#[inline(always)]
pub fn read_clock() {
    let now_ns = coarse_ns();
    if let Some(clock) = CLOCK.get_ptr_mut(0) {
        // SAFETY: a live, aligned map value of one word.
        unsafe { (&raw mut (*clock).now_ns).write_volatile(now_ns) };
    }
}

#[inline(always)]
fn virtual_ns() -> u64 {
    CLOCK.get(0).map_or(0, |clock| clock.now_ns)
}
