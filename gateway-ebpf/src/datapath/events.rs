//! Events: packets that are worth a record, sampled, for the controller to read from a ring buffer.
//!
//! A packet that passes costs nothing here, unless it is a suspect's contact. Each tenant has an allowance of
//! samples in each direction for each reason: neither another tenant's flood nor its own crowds out the packet
//! that tells why a connection fails. Packets of no tenant share one slot's. What is beyond an allowance is
//! counted as suppressed, what the ring has no room for as lost; a CPU that found none does not try again before the
//! next jiffy.

use aya_ebpf::bindings::{BPF_RB_NO_WAKEUP, xdp_md};
use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use gateway_ebpf::abi::{EVENT_TAIL_BYTES, Event, EventTallies};
use gateway_ebpf::bounded::masked;
use gateway_ebpf::counter::Counter;
use gateway_ebpf::{Direction, DropReason};

use super::maps::{DROPPED, EVENT_TALLIES, EVENTS, drops_index};
use super::{atomic, clock, count};

/// Nanoseconds of a second, nearly, as a power of two: a division takes longer than all else here.
const SECOND_BITS: u32 = 30;

/// Reports a packet that was dropped, with the beginning of its frame, if the allowance permits that `word` keeps;
/// 0 in the place of a slot: it is nobody's.
///
/// The allowance is looked at before anything is called: of a flood all but a few packets end there, and a
/// call costs some 7 ns where the kernel returns by a thunk (Safe RET).
#[inline(always)]
pub fn dropped(
    context: *mut xdp_md,
    slot_plus_one: u32,
    direction: Direction,
    reason: DropReason,
    word: *mut u64,
    says: Counter,
) {
    let what = u32::from(Event::DROP) << 16 | (direction as u32) << 8 | reason as u32;
    offer(context, what, slot_plus_one, word, says);
}

/// Reports a packet of a suspect that passes, for the evidence of what may come, if the allowance permits.
#[inline(always)]
pub fn suspect(context: *mut xdp_md, slot: u32, direction: Direction) {
    let Some(counter) = DROPPED.get_ptr_mut(drops_index(0, direction, slot)) else { return };
    // SAFETY: a live, aligned map value, which programs only change by atomic operations; an aligned 64-bit
    // load is one.
    let says = unsafe { counter.read_volatile() };
    let word = counter.cast();
    offer(context, u32::from(Event::SUSPECT) << 16 | (direction as u32) << 8, slot + 1, word, says);
}

#[inline(always)]
fn offer(context: *mut xdp_md, what: u32, slot_plus_one: u32, word: *mut u64, says: Counter) {
    let Some(tallies) = tallies() else { return };
    let now_ns = clock::coarse_ns();
    let Some(next) = says.take(now_ns >> SECOND_BITS) else {
        tallies.suppressed += 1;
        return;
    };
    // To find that out takes a call or two, and a flood from many tenants would find it out for each packet.
    if tallies.full_at_ns == now_ns {
        tallies.lost += 1;
        return;
    }
    // Another CPU may have changed it meanwhile, counting; then a later packet is the sample.
    // SAFETY: a live, aligned map value, which programs only change by atomic operations.
    if unsafe { atomic::replace(word, says.word(), next.word()) } {
        report(context, what, slot_plus_one);
    } else {
        tallies.suppressed += 1;
    }
}

/// Reports a packet that has been allowed for. A global function (Linux 5.6), verified once: kind, direction
/// and reason in `what`. Returns 1 if the event is on its way.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn report(context: *mut xdp_md, what: u32, slot_plus_one: u32) -> u32 {
    let (kind, direction, reason) = ((what >> 16) as u16, (what >> 8) as u8 & 1, what as u8);
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        if let Some(tallies) = tallies() {
            tallies.lost += 1;
            tallies.full_at_ns = clock::coarse_ns();
        }
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
    const LAST: u32 = EVENT_TAIL_BYTES as u32 - 1;
    // Of one byte at least and of all at most: by a sum, for no verifier before Linux 6.8 learns a least value from a
    // comparison with 0.
    let bytes = masked::<LAST>(frame_bytes.clamp(1, LAST + 1) - 1) as u32 + 1;
    // SAFETY: as the caller promises. Unlike a read through the context's pointers, it takes frames in
    // several buffers (Linux 5.18).
    if unsafe { bpf_xdp_load_bytes(context, 0, to, bytes) } != 0 { 0 } else { bytes }
}

/// This CPU's tallies.
#[inline(always)]
fn tallies() -> Option<&'static mut EventTallies> {
    // SAFETY: a live map value in this CPU's stripe; see `count`.
    EVENT_TALLIES.get_ptr_mut(count::stripe()).map(|tallies| unsafe { &mut *tallies })
}
