//! Sends refusals: the packet that met a closed port is made into its answer and goes back out of the
//! interface that it came in by.
//!
//! Nothing is answered that was sent to many, that is a reset or a fragment, or that comes faster than
//! the tenant's allowance; that is dropped in silence. ICMP is never refused for its port, so no error
//! answers an error.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::bpf_xdp_adjust_tail;
use gateway_ebpf::gcra;
use gateway_ebpf::parse::{self, Address, Fragment, Frame as _, Ip, Protocol};
use gateway_ebpf::refusal::{self, QUOTE_V4, QUOTE_V6, Segment, flag};

use super::packet::{self, Packet};
use super::{atomic, clock, maps};

/// IP protocol number.
const UDP: u8 = 17;

/// Ten answers a second to each tenant...
const INTERVAL_NS: u64 = 100_000_000;
/// ...and twenty at once.
const BURST_NS: u64 = 2_000_000_000;

/// Length of an Ethernet frame without FCS, at least; what is beyond the answer is padding.
const LEAST_FRAME: u32 = 60;

/// Makes a packet of the tenant in slot `slot_plus_one - 1`, whose network layer starts at `network`, into
/// its refusal; false if there is to be none, and the packet, perhaps changed, must be dropped.
#[inline(always)]
pub fn refuse(context: *mut xdp_md, network: u32, slot_plus_one: u32) -> bool {
    // Only what a tenant sends is refused.
    let slot = slot_plus_one.wrapping_sub(1);
    refuse_segment(context, network, slot) != 0 || refuse_datagram(context, network, slot) != 0
}

/// Makes a TCP segment into a reset: 1, else 0. A global function (Linux 5.6), verified once; two of
/// them, as one would take more of the stack than is left (512 bytes for a chain of calls).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refuse_segment(context: *mut xdp_md, network: u32, slot: u32) -> u32 {
    // At most Ethernet and two tags; unknown here, so bounded for the verifier.
    reset(context, (network & 0x1f) as usize, slot).is_some() as u32
}

/// Makes a UDP datagram into an ICMP error: 1, else 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refuse_datagram(context: *mut xdp_md, network: u32, slot: u32) -> u32 {
    prohibit(context, (network & 0x1f) as usize, slot).is_some() as u32
}

/// The header of a packet that may be answered at all.
#[inline(always)]
fn answerable(packet: &Packet, network: usize) -> Option<Ip> {
    // The lowest bit of the first byte: sent to a group.
    if packet.be16(0)? & 0x0100 != 0 {
        return None;
    }
    let ip = packet::ip_header(packet, network as u32)?;
    let is_answerable = ip.fragment == Fragment::Whole
        && refusal::is_unicast(ip.source)
        && refusal::is_unicast(ip.destination);
    is_answerable.then_some(ip)
}

#[inline(always)]
fn reset(context: *mut xdp_md, network: usize, slot: u32) -> Option<()> {
    let packet = Packet::new(context);
    let ip = answerable(&packet, network)?;
    let payload = parse::payload(&packet, &ip).ok()?;
    let transport = parse::transport(&packet, &payload).ok()??;
    if payload.fragment != Fragment::Whole || transport.protocol != Protocol::Tcp {
        return None;
    }
    let [ports, sequence, acknowledgement, offset_and_flags] = packet.be32s(payload.at)?;
    let flags = (offset_and_flags >> 16) as u8;
    if flags & flag::RST != 0 {
        return None;
    }
    let data_length = payload.length - (offset_and_flags >> 28) * 4;
    let segment = Segment { ports, sequence, acknowledgement, flags, data_length };
    allowance(slot)?;
    match (ip.source, ip.destination) {
        (Address::V4(source), Address::V4(destination)) => {
            send(context, &packet, network, &refusal::reset_v4(source, destination, &segment))
        }
        (Address::V6(source_high, source_low), Address::V6(high, low)) => {
            let words = refusal::reset_v6((source_high, source_low), (high, low), &segment);
            send(context, &packet, network, &words)
        }
        _ => None,
    }
}

#[inline(always)]
fn prohibit(context: *mut xdp_md, network: usize, slot: u32) -> Option<()> {
    let packet = Packet::new(context);
    let ip = answerable(&packet, network)?;
    // Behind options or extension headers, more than the fixed header would have to be quoted.
    if ip.protocol != UDP || ip.remaining < 8 {
        return None;
    }
    match (ip.source, ip.destination) {
        (Address::V4(source), Address::V4(destination)) if ip.next == network + 20 => {
            let quote = packet.be32s::<QUOTE_V4>(network)?;
            allowance(slot)?;
            send(context, &packet, network, &refusal::prohibited_v4(source, destination, quote))
        }
        (Address::V6(source_high, source_low), Address::V6(high, low)) if ip.next == network + 40 => {
            let quote = packet.be32s::<QUOTE_V6>(network)?;
            allowance(slot)?;
            let words = refusal::prohibited_v6((source_high, source_low), (high, low), quote);
            send(context, &packet, network, &words)
        }
        _ => None,
    }
}

/// Takes one answer from the tenant's allowance, if there is one left.
#[inline(always)]
fn allowance(slot: u32) -> Option<()> {
    let word = maps::REFUSALS.get_ptr_mut(slot)?;
    // SAFETY: a live, aligned map value, which programs only touch through atomics; an aligned 64-bit load is one.
    let arrival_ns = unsafe { word.read_volatile() };
    let next_ns = gcra::admit(arrival_ns, clock::coarse_ns(), INTERVAL_NS, BURST_NS)?;
    // Another CPU may win; then this packet goes unanswered, which harms nobody.
    // SAFETY: as above.
    unsafe { atomic::replace(word, arrival_ns, next_ns) }.then_some(())
}

/// Writes the answer over the packet, and turns it round.
#[inline(always)]
fn send<const N: usize>(
    context: *mut xdp_md,
    packet: &Packet,
    network: usize,
    words: &[u32; N],
) -> Option<()> {
    let needed = (network + N * 4) as u32;
    let length = if needed < LEAST_FRAME { LEAST_FRAME } else { needed };
    let delta = length as i32 - packet.measure() as i32;
    // SAFETY: the kernel passed this context in; it checks the length itself. All packet pointers of
    // before are void from here on.
    if unsafe { bpf_xdp_adjust_tail(context, delta) } != 0 {
        return None;
    }
    // SAFETY: as above.
    let (data, end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
    // SAFETY: as they were just read. First, and before the check below: that one implies this one's, and
    // the compiler would keep only the stronger, from which the verifier does not conclude the weaker.
    unsafe { swap_addresses(data, end)? };
    let start = data + network;
    if start + N * 4 > end {
        return None;
    }
    for (index, word) in words.iter().enumerate() {
        // SAFETY: within the packet, as just checked; packet memory admits unaligned access (see
        // `Packet::read`).
        unsafe { ((start + index * 4) as *mut u32).write_volatile(word.to_be()) };
    }
    Some(())
}

/// Swaps the sender's and the receiver's MAC address.
///
/// # Safety
/// `data` and `end` delimit packet memory.
#[inline(always)]
unsafe fn swap_addresses(data: usize, end: usize) -> Option<()> {
    if data + 14 > end {
        return None;
    }
    // SAFETY: within the packet, as just checked.
    unsafe {
        let (to, from) = (data as *mut u16, (data + 6) as *mut u16);
        for half in 0..3 {
            let (receiver, sender) = (to.add(half).read_volatile(), from.add(half).read_volatile());
            to.add(half).write_volatile(sender);
            from.add(half).write_volatile(receiver);
        }
    }
    Some(())
}
