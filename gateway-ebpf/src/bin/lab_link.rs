//! The test bed's links: VLAN tags, and a far end that takes what XDP sends back.
//!
//! `push` tags every frame that leaves an interface, and `pop` untags every one that arrives. This stands in for the kernel's 8021q devices, which not every kernel has. XDP sees the tags: it runs before
//! `pop`, and `push` runs before the frame enters the link. An end that expects tags accepts nothing else.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "kernel helpers and fields of the packet's context are behind raw pointers")]

use aya_ebpf::Global;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_OK, TC_ACT_SHOT, xdp_action};
use aya_ebpf::helpers::{bpf_skb_vlan_pop, bpf_skb_vlan_push};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

/// VLAN id of the outermost tag.
#[unsafe(no_mangle)]
static OUTER_VID: Global<u16> = Global::new(0);
/// VLAN id of the second tag; 0 for none.
#[unsafe(no_mangle)]
static INNER_VID: Global<u16> = Global::new(0);

/// IEEE 802.1Q, the only or the inner tag.
const CUSTOMER_TAG: u16 = 0x8100;
/// IEEE 802.1ad, the outer of two.
const SERVICE_TAG: u16 = 0x88a8;
/// The low twelve bits of a tag are the VLAN id; the others are priority.
const VID_MASK: u32 = 0x0fff;

/// Lets every frame pass: a veth delivers what XDP sends back only to an end that has a program of its own
/// (`veth_xdp_flush` in drivers/net/veth.c), as a network card need not.
#[xdp]
fn receive(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Untags; drops frames without exactly the expected tags.
#[classifier]
fn pop(ctx: TcContext) -> i32 {
    for vid in [OUTER_VID.load(), INNER_VID.load()] {
        if vid != 0 && pop_tag(&ctx, vid).is_none() {
            return TC_ACT_SHOT;
        }
    }
    TC_ACT_OK
}

fn pop_tag(ctx: &TcContext, vid: u16) -> Option<()> {
    let skb: *mut __sk_buff = ctx.skb.skb;
    // SAFETY: the kernel hands a classifier a valid context for the length of the call, and the verifier
    // checks each field's offset.
    let (present, tag) = unsafe { ((*skb).vlan_present, (*skb).vlan_tci) };
    if present == 0 || tag & VID_MASK != u32::from(vid) {
        return None;
    }
    // SAFETY: as above; no pointer into the packet is held across the call, which may move it.
    (unsafe { bpf_skb_vlan_pop(skb) } == 0).then_some(())
}

/// Tags.
#[classifier]
fn push(ctx: TcContext) -> i32 {
    let (outer, inner) = (OUTER_VID.load(), INNER_VID.load());
    let done = if inner == 0 {
        push_tag(&ctx, CUSTOMER_TAG, outer)
    } else {
        push_tag(&ctx, CUSTOMER_TAG, inner).and_then(|()| push_tag(&ctx, SERVICE_TAG, outer))
    };
    if done.is_some() { TC_ACT_OK } else { TC_ACT_SHOT }
}

fn push_tag(ctx: &TcContext, ethertype: u16, vid: u16) -> Option<()> {
    // SAFETY: the context is valid as in `pop_tag`; no pointer into the packet is held across the call.
    (unsafe { bpf_skb_vlan_push(ctx.skb.skb, ethertype.to_be(), vid) } == 0).then_some(())
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
