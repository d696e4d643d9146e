//! Events: packets that are worth a record, sampled, for the controller to read from a ring buffer.
//!
//! A packet that passes costs nothing here, unless it is a suspect's contact. Each tenant and direction has an allowance of samples, and one
//! of its own for drops over the cap: neither another tenant's flood nor its own crowds out the packet
//! that tells why a connection fails. Packets of no tenant share the allowances of one slot. What is
//! beyond an allowance is counted as suppressed, what the ring has no room for as lost.

use aya_ebpf::bindings::{BPF_RB_NO_WAKEUP, xdp_md};
use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use gateway_ebpf::abi::{Allowance, EVENT_TAIL_BYTES, Event, EventTallies};
use gateway_ebpf::samples::{Samples, Sort};
use gateway_ebpf::{Direction, DropReason};

use super::maps::{EVENT_TALLIES, EVENTS, allowance, tenant_capacity};
use super::{atomic, clock, count};

const SECOND_NS: u64 = 1_000_000_000;

/// Reports a packet, with the beginning of its frame, if the allowance of its tenant permits; 0 in the place
/// of a slot: it is nobody's.
///
/// The allowance is looked at before anything is called: of a flood all but a few packets end there, and a
/// call costs some 7 ns where the kernel returns by a thunk (Safe RET).
#[inline(always)]
pub fn sample(context: *mut xdp_md, kind: u16, slot_plus_one: u32, direction: Direction, reason: DropReason) {
    ask(context, kind, slot_plus_one, direction, reason as u8);
}

/// Reports a packet of a suspect that passes, for the evidence of what may come, if the allowance permits.
#[inline(always)]
pub fn suspect(context: *mut xdp_md, slot: u32, direction: Direction) {
    ask(context, Event::SUSPECT, slot + 1, direction, 0);
}

#[inline(always)]
fn ask(context: *mut xdp_md, kind: u16, slot_plus_one: u32, direction: Direction, reason: u8) {
    let slot = if slot_plus_one == 0 { tenant_capacity() } else { slot_plus_one - 1 };
    let Some(allowance) = allowance(slot, direction as u32) else { return };
    if is_allowed(allowance, kind, reason) {
        report(context, u32::from(kind) << 16 | (direction as u32) << 8 | u32::from(reason), slot_plus_one);
    } else {
        tally(|tallies| &mut tallies.suppressed);
    }
}

/// Reports a packet that has been allowed for. A global function (Linux 5.6), verified once: kind, direction
/// and reason in `what`. Returns 1 if the event is on its way.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn report(context: *mut xdp_md, what: u32, slot_plus_one: u32) -> u32 {
    let (kind, direction, reason) = ((what >> 16) as u16, (what >> 8) as u8 & 1, what as u8);
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        tally(|tallies| &mut tallies.lost);
        return 0;
    };
    // SAFETY: the kernel passed this context in; the helper only reads it.
    let (frame_bytes, ifindex) =
        unsafe { (bpf_xdp_get_buff_len(context) as u32, (*context).ingress_ifindex) };
    let event = entry.as_mut_ptr();
    // SAFETY: the entry is this program's alone until it is submitted, aligned to eight bytes, and as long
    // as an event; written field by field, for it would take up a third of the stack.
    unsafe {
        (&raw mut (*event).time_ns).write(clock::boot_ns());
        (&raw mut (*event).kind).write(kind);
        (&raw mut (*event).direction).write(direction);
        (&raw mut (*event).reason).write(reason);
        (&raw mut (*event).slot_plus_one).write(slot_plus_one);
        (&raw mut (*event).ifindex).write(ifindex);
        (&raw mut (*event).frame_bytes).write(frame_bytes);
        (&raw mut (*event).reserved).write(0);
        (&raw mut (*event).tail).write([0; EVENT_TAIL_BYTES]);
        let tail = (&raw mut (*event).tail).cast();
        (&raw mut (*event).tail_bytes).write(copy_head(context, frame_bytes, tail));
    }
    // The controller looks by itself; to wake it would cost an interrupt.
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    1
}

/// Copies the beginning of the frame; returns how much of it.
///
/// # Safety
/// `to` has room for [`EVENT_TAIL_BYTES`].
#[inline(always)]
unsafe fn copy_head(context: *mut xdp_md, frame_bytes: u32, to: *mut core::ffi::c_void) -> u32 {
    let most = EVENT_TAIL_BYTES as u32;
    // The verifier must see that it is not 0: in the value itself, not in the one that it is made from,
    // which is where the compiler would look.
    let bytes = core::hint::black_box(if frame_bytes < most { frame_bytes } else { most });
    if bytes == 0 || bytes > most {
        return 0;
    }
    // SAFETY: as the caller promises. Unlike a read through the context's pointers, it takes frames in
    // several buffers (Linux 5.18).
    if unsafe { bpf_xdp_load_bytes(context, 0, to, bytes) } != 0 { 0 } else { bytes }
}

/// Takes one sample from an allowance, if there is one left.
#[inline(always)]
fn is_allowed(allowance: *mut Allowance, kind: u16, reason: u8) -> bool {
    let sort = if kind == Event::SUSPECT {
        Sort::Suspect
    } else if reason == DropReason::OverCap as u8 {
        Sort::OverCap
    } else {
        Sort::Refused
    };
    let second = (clock::coarse_ns() / SECOND_NS) as u32;
    // SAFETY: a live, aligned map value, which programs only touch through this word's atomics.
    let word = unsafe { (&raw mut (*allowance).samples).cast::<u64>() };
    // SAFETY: as above; an aligned 64-bit load is atomic.
    let samples = Samples::from_word(unsafe { word.read_volatile() });
    match samples.take(sort, second) {
        // Another CPU may win; then its packet is the sample.
        // SAFETY: as above.
        Some(next) => unsafe { atomic::replace(word, samples.word(), next.word()) },
        None => false,
    }
}

#[inline(always)]
fn tally(which: impl FnOnce(&mut EventTallies) -> &mut u64) {
    if let Some(tallies) = EVENT_TALLIES.get_ptr_mut(count::stripe()) {
        // SAFETY: a live map value in this CPU's stripe; see `count`.
        *which(unsafe { &mut *tallies }) += 1;
    }
}
