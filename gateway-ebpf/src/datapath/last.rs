//! In virtual time, what became of each packet, and on whose account: a replay reads it after each run.
//! In programs on the kernel's clock the verifier finds all of this dead, and removes it.

use gateway_ebpf::DropReason;
use gateway_ebpf::abi::LastVerdict;
use gateway_ebpf::lookup::Slot;

use super::clock;
use super::maps::LAST_VERDICT;

/// A tenant's packet went through.
#[inline(always)]
pub fn passed(slot: Slot) {
    publish(LastVerdict { slot_plus_one: slot.0 + 1, reason: 0, pass: 0 });
}

/// A packet that belongs to no tenant went through, `pass` being why.
#[inline(always)]
pub fn nobodys(pass: u16) {
    publish(LastVerdict { slot_plus_one: 0, reason: 0, pass });
}

/// A packet was dropped; 0 in the place of a slot: nobody's.
#[inline(always)]
pub fn dropped(slot_plus_one: u32, reason: DropReason) {
    publish(LastVerdict { slot_plus_one, reason: reason as u16, pass: 0 });
}

#[inline(always)]
fn publish(last: LastVerdict) {
    if !clock::is_virtual() {
        return;
    }
    if let Some(place) = LAST_VERDICT.get_ptr_mut(0) {
        // SAFETY: a live, aligned map value; in virtual time packets are run one at a time.
        unsafe { place.write(last) };
    }
}
