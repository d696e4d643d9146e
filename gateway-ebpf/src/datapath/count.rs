//! Counters: packets in = passed + dropped, for every tenant, direction and interface.
//!
//! What passes is counted in a stripe per CPU, without atomics: an XDP program runs with bottom halves
//! off, and no two share a stripe. Drops of a tenant are shared by the CPUs and added to atomically:
//! sixteen reasons per CPU would cost 50 MB a CPU for 100,000 tenants, and a drop already ends the
//! packet's cost.

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use gateway_ebpf::abi::{INTERFACE_SLOTS, InterfaceTallies, Tally};
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::{Direction, DropReason, REASON_SLOTS};

use super::maps::{INTERFACE_TALLIES, INTERFACES, PASSED, drops, tenant_capacity};
use super::packet::Packet;
use super::{atomic, events};

/// This CPU's stripe; stripe 0 is the controller's.
#[inline(always)]
pub fn stripe() -> u32 {
    // SAFETY: no arguments, no preconditions.
    unsafe { bpf_get_smp_processor_id() as u32 + 1 }
}

#[inline(always)]
fn add(tally: &mut Tally, bytes: u32) {
    tally.packets += 1;
    tally.bytes += u64::from(bytes);
}

/// A tenant's packet went through.
#[inline(always)]
pub fn passed(slot: Slot, direction: Direction, bytes: u32) {
    let index = (stripe() * 2 + direction.index() as u32) * tenant_capacity() + slot.0;
    if let Some(tally) = PASSED.get_ptr_mut(index) {
        // SAFETY: a live map value in this CPU's stripe; see the module's docs.
        add(unsafe { &mut *tally }, bytes);
    }
}

/// A packet was dropped: counted for its tenant, or of nobody (0 in the place of its slot), and reported if
/// their allowance of samples permits.
#[inline(always)]
pub fn dropped(packet: &Packet, slot_plus_one: u32, direction: Direction, reason: DropReason) {
    let slot = if slot_plus_one == 0 { tenant_capacity() } else { slot_plus_one - 1 };
    let Some(drops) = drops(reason.slot() as u32, direction, slot) else { return };
    // SAFETY: a live map value, eight-byte aligned, that programs only change by atomic operations; an aligned
    // 64-bit load is one. Who counts for nobody does so in the interface's tallies.
    let (word, says) = unsafe {
        let word: *mut u64 = (&raw mut (*drops).packets).cast();
        if slot_plus_one == 0 {
            (word, word.read_volatile())
        } else {
            atomic::add(&raw mut (*drops).bytes, u64::from(packet.length()));
            (word, atomic::next(word))
        }
    };
    events::dropped(packet.context(), slot_plus_one, direction, reason, word, says);
}

/// A reason's slot, in a form that the verifier can follow: what the compiler knows of the enum's range
/// it does not know, so the mask must not be optimised away.
#[inline(always)]
pub fn index(reason: DropReason) -> usize {
    core::hint::black_box(reason.slot()) & (REASON_SLOTS - 1)
}

/// A packet that belongs to no tenant, for the interface that it came in by; `which` picks its tally.
#[inline(always)]
pub fn interface(packet: &Packet, which: impl FnOnce(&mut InterfaceTallies) -> &mut Tally) {
    let slot = INTERFACES.get(packet.ifindex()).map_or(0, |interface| interface.slot);
    if let Some(tallies) = INTERFACE_TALLIES.get_ptr_mut(stripe() * INTERFACE_SLOTS + slot) {
        // SAFETY: a live map value in this CPU's stripe.
        add(which(unsafe { &mut *tallies }), packet.length());
    }
}
