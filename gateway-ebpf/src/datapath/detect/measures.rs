//! Which tenants have a source under a measure: a mark in what every packet of theirs looks up anyway, so that
//! the others need no look at their sources.

use gateway_ebpf::abi::BANKS;
use gateway_ebpf::assignment::Assignment;
use gateway_ebpf::lookup::Slot;

use crate::datapath::atomic;
use crate::datapath::maps::{MEASURES_END, assignment};

/// A measure that holds until then is taken against a source of the tenant.
#[inline(always)]
pub fn begin(slot: u32, until_ns: u64) {
    let Some(end_ns) = MEASURES_END.get_ptr_mut(slot) else { return };
    // SAFETY: a live, aligned map value; the word is only stored whole. If two CPUs raise it at once, the
    // lower may win: then the other measure ends as early, no later.
    unsafe {
        if end_ns.read_volatile() < until_ns {
            end_ns.write_volatile(until_ns);
        }
    }
    mark(slot, true);
}

/// Whether the last measure has ended by now; then the mark goes.
#[inline(always)]
pub fn have_ended(slot: u32, now_ns: u64) -> bool {
    let Some(word) = MEASURES_END.get_ptr_mut(slot) else { return false };
    // SAFETY: a live, aligned map value; an aligned 64-bit load is atomic.
    let end_ns = unsafe { word.read_volatile() };
    if end_ns > now_ns {
        return false;
    }
    mark(slot, false);
    // SAFETY: as above.
    if unsafe { word.read_volatile() } != end_ns {
        // Another measure began meanwhile, and its mark may be the one that went.
        mark(slot, true);
    }
    true
}

/// Sets the mark, in both banks, or clears it.
#[inline(always)]
fn mark(slot: u32, is_measured: bool) {
    for bank in 0..BANKS {
        if let Some(assignment) = assignment(bank, Slot(slot)) {
            // SAFETY: a live, aligned map value, which is only changed atomically.
            unsafe {
                if is_measured {
                    atomic::set_bits(assignment.cast(), Assignment::MEASURED);
                } else {
                    atomic::clear_bits(assignment.cast(), Assignment::MEASURED);
                }
            }
        }
    }
}
