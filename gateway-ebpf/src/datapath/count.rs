//! Counters: packets in = passed + dropped, for every tenant, direction and interface.
//!
//! A tenant's are shared by the CPUs and added to atomically, packets and bytes at once ([`Counter`]): what passes is
//! counted beside the arrival time that it has just changed, and for counters of its own each CPU would need
//! cache lines of its own. What is nobody's is counted in a stripe per CPU, without atomics: an XDP program runs
//! with bottom halves off, and no two share a stripe.

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use gateway_ebpf::abi::{INTERFACE_SLOTS, InterfaceTallies, Tally, TenantState};
use gateway_ebpf::bounded::masked;
use gateway_ebpf::counter::{Carried, Counter};
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::{Direction, DropReason, REASON_SLOTS};

use super::maps::{
    CARRIES, DROPPED, DROPPED_CARRIED, INTERFACE_TALLIES, INTERFACES, PASSED_CARRIED, TENANTS, drops_index,
    state_index, tenant_capacity,
};
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

/// A tenant's packet went through; returns what its counter then says.
#[inline(always)]
pub fn passed(state: *mut TenantState, slot: Slot, direction: Direction, bytes: u32) -> Counter {
    // SAFETY: a live map value; its counter is an aligned word that programs only change by atomic operations.
    let counter = unsafe { atomic::advance((&raw mut (*state).passed).cast(), Counter::packet(bytes)) };
    let counter = Counter::from_word(counter);
    if counter.is_full() {
        carry_passed(state_index(slot, direction));
    }
    counter
}

/// A packet was dropped: counted for its tenant, or of nobody (0 in the place of its slot), and reported if
/// their allowance of samples permits.
#[inline(always)]
pub fn dropped(packet: &Packet, slot_plus_one: u32, direction: Direction, reason: DropReason) {
    let slot = if slot_plus_one == 0 { tenant_capacity() } else { slot_plus_one - 1 };
    let index = drops_index(reason.slot() as u32, direction, slot);
    let Some(counter) = DROPPED.get_ptr_mut(index) else { return };
    let word: *mut u64 = counter.cast();
    // SAFETY: a live, aligned map value that programs only change by atomic operations; an aligned 64-bit load is
    // one. Who counts for nobody does so in the interface's tallies.
    let says = unsafe {
        if slot_plus_one == 0 {
            word.read_volatile()
        } else {
            atomic::advance(word, Counter::packet(packet.length()))
        }
    };
    let counter = Counter::from_word(says);
    if counter.is_full() {
        carry_dropped(index);
    }
    events::dropped(packet.context(), slot_plus_one, direction, reason, word, counter);
}

/// Carries from the counter of what passed, which is at `index` of [`TENANTS`]. A global function (Linux 5.6), as
/// is the next: one packet in 131,072 comes here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn carry_passed(index: u32) -> u32 {
    let (Some(state), Some(carried)) = (TENANTS.get_ptr_mut(index), PASSED_CARRIED.get_ptr_mut(index)) else {
        return 0;
    };
    // SAFETY: a live map value.
    carry(unsafe { (&raw mut (*state).passed).cast() }, carried)
}

/// Carries from the counter of drops at `index` of [`DROPPED`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn carry_dropped(index: u32) -> u32 {
    let (Some(counter), Some(carried)) = (DROPPED.get_ptr_mut(index), DROPPED_CARRIED.get_ptr_mut(index))
    else {
        return 0;
    };
    carry(counter.cast(), carried)
}

#[inline(always)]
fn carry(counter: *mut u64, carried: *mut Carried) -> u32 {
    let Some(carries) = CARRIES.get_ptr_mut(0) else { return 0 };
    // SAFETY: live, aligned map values, which programs only change by atomic operations. Those with a result are full
    // barriers, so a reader that finds as many begun as ended has missed nothing.
    unsafe {
        atomic::advance(&raw mut (*carries).begun, 1);
        // None, if another CPU has been here.
        let full = atomic::take_bits(counter, Counter::FULL);
        atomic::add(carried.cast(), Carried::of(full).word());
        atomic::advance(&raw mut (*carries).ended, 1);
    }
    1
}

/// A reason's slot.
#[inline(always)]
pub fn index(reason: DropReason) -> usize {
    masked::<{ REASON_SLOTS as u32 - 1 }>(reason.slot() as u32)
}

/// A packet, for the interface that it came in by; `which` picks its tally.
#[inline(always)]
pub fn interface(packet: &Packet, which: impl FnOnce(&mut InterfaceTallies) -> &mut Tally) {
    let slot = INTERFACES.get(packet.ifindex()).map_or(0, |interface| interface.slot);
    if let Some(tallies) = INTERFACE_TALLIES.get_ptr_mut(stripe() * INTERFACE_SLOTS + slot) {
        // SAFETY: a live map value in this CPU's stripe.
        add(which(unsafe { &mut *tallies }), packet.length());
    }
}
