//! Traffic for `cargo xtask bench`: each run makes a packet anew, from a tenant picked at random or to a
//! peer that is new, and hands it to the program under test, or to one that does nothing, which is what the
//! cost is measured against.
//!
//! The kernel repeats a test run on the same buffer, and sends out recycled pages in its live-frames
//! mode. So every packet's header is written from a template first.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "the target has no stable compare-and-swap")]
#![expect(unsafe_code, reason = "maps and packet memory")]

use core::hint::black_box;
use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use aya_ebpf::bindings::{BPF_F_MMAPABLE, xdp_action};
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, ProgramArray};
use aya_ebpf::programs::XdpContext;
use gateway_ebpf::traffic::Traffic;

/// What is sent; see [`Traffic`].
#[map]
static TRAFFIC: Array<Traffic> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The program that gets the packets.
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// Something to do arithmetic on.
#[map]
static WORD: Array<u64> = Array::with_max_entries(1, 0);

/// Offsets of what is written, in untagged frames.
mod offset {
    pub(super) const IPV4_CHECKSUM: usize = 14 + 10;
    pub(super) const IPV4_SOURCE: usize = 14 + 12;
    pub(super) const IPV4_DESTINATION: usize = 14 + 16;
    /// Of bytes 2 to 5 of the source address: what follows the first 16 bits of it.
    pub(super) const IPV6_SOURCE: usize = 14 + 8 + 2;
}

/// The least that can be done.
#[xdp(frags)]
fn empty(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Drops everything unseen: no program can drop faster.
#[xdp(frags)]
fn dropping(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Sends from a network over IPv4.
#[xdp(frags)]
fn from_ipv4(context: XdpContext) -> u32 {
    send(&context, |data, traffic| {
        let address = traffic.next_address();
        write_ipv4(data, traffic, &[(offset::IPV4_SOURCE, address)]);
    })
}

/// Sends to a network over IPv4.
#[xdp(frags)]
fn to_ipv4(context: XdpContext) -> u32 {
    send(&context, |data, traffic| {
        let address = traffic.next_address();
        write_ipv4(data, traffic, &[(offset::IPV4_DESTINATION, address)]);
    })
}

/// Makes a new contact over IPv4.
#[xdp(frags)]
fn contact_ipv4(context: XdpContext) -> u32 {
    send(&context, |data, traffic| {
        let (source, peer) = traffic.next_contact();
        write_ipv4(data, traffic, &[(offset::IPV4_SOURCE, source), (offset::IPV4_DESTINATION, peer)]);
    })
}

/// Writes addresses at offsets within [`Traffic::HEADER_BYTES`], and the checksum.
#[inline(always)]
fn write_ipv4(data: usize, traffic: &Traffic, addresses: &[(usize, u32)]) {
    let mut sum = traffic.checksum_rest;
    for (offset, address) in addresses {
        sum += (address >> 16) + (address & 0xffff);
        // SAFETY: `send` has checked that the packet reaches further than this.
        unsafe { ((data + offset) as *mut u32).write_volatile(address.to_be()) };
    }
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    // SAFETY: as above.
    unsafe { ((data + offset::IPV4_CHECKSUM) as *mut u16).write_volatile((!sum as u16).to_be()) };
}

/// Sends from a network over IPv6.
#[xdp(frags)]
fn from_ipv6(context: XdpContext) -> u32 {
    send(&context, |data, traffic| {
        let source = traffic.next_address();
        // SAFETY: `send` has checked that the packet reaches further than this.
        unsafe { ((data + offset::IPV6_SOURCE) as *mut u32).write_volatile(source.to_be()) }
    })
}

#[inline(always)]
fn send(context: &XdpContext, write: impl FnOnce(usize, &mut Traffic)) -> u32 {
    let Some(traffic) = TRAFFIC.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: a live, aligned map value, which one CPU at a time uses.
    let traffic = unsafe { &mut *traffic };
    let (data, end) = (context.data(), context.data_end());
    if data + Traffic::HEADER_BYTES > end {
        return xdp_action::XDP_ABORTED;
    }
    for (index, word) in traffic.header.iter().enumerate() {
        // SAFETY: within the packet, as just checked; packet memory admits unaligned access.
        unsafe { ((data + index * 8) as *mut u64).write_volatile(*word) };
    }
    write(data, traffic);
    // SAFETY: the map holds programs of this type, or none.
    unsafe { NEXT.tail_call(context, 0) };
    xdp_action::XDP_ABORTED
}

/// [`empty`], and a look at the clock that the caps use.
#[xdp(frags)]
fn clock_jiffies(_: XdpContext) -> u32 {
    // SAFETY: no arguments, no preconditions.
    black_box(unsafe { bpf_jiffies64() });
    xdp_action::XDP_PASS
}

/// [`empty`], and a look at the kernel's coarse clock.
#[xdp(frags)]
fn clock_coarse(_: XdpContext) -> u32 {
    // SAFETY: no arguments, no preconditions.
    black_box(unsafe { bpf_ktime_get_coarse_ns() });
    xdp_action::XDP_PASS
}

/// [`empty`], and a look at the nanosecond clock.
#[xdp(frags)]
fn clock_nanoseconds(_: XdpContext) -> u32 {
    // SAFETY: no arguments, no preconditions.
    black_box(unsafe { bpf_ktime_get_ns() });
    xdp_action::XDP_PASS
}

/// [`empty`], and an addition to a word of a map.
#[xdp(frags)]
fn add_plain(_: XdpContext) -> u32 {
    if let Some(word) = WORD.get_ptr_mut(0) {
        // SAFETY: a live, aligned map value.
        unsafe { word.write_volatile(word.read_volatile() + 1) };
    }
    xdp_action::XDP_PASS
}

/// [`empty`], and the same by compare-and-swap.
#[xdp(frags)]
fn add_by_swap(_: XdpContext) -> u32 {
    if let Some(word) = WORD.get_ptr_mut(0) {
        // SAFETY: a live, aligned map value.
        unsafe {
            let old = word.read_volatile();
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, old + 1);
        }
    }
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The clocks are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
