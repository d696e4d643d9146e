//! The XDP programs. Two entry points over shared maps, one per side of the gateway:
//!
//! ```text
//! tenants --> [tenant_side] --> router's stack --> Internet
//! tenants <-- router's stack <-- [uplink_side] <-- Internet
//! ```
//!
//! A third one is attached to nothing: it tells the controller what the programs' clock shows.
//!
//! An entry point alone turns what [`judge`](datapath::judge) found into counters and an XDP code, so
//! that packets in = passed + dropped, always. Needs Linux 5.18 (`bpf_xdp_get_buff_len`, XDP frags).
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "the target has no stable compare-and-swap; see atomic.rs")]
#![expect(unsafe_code, reason = "maps, packet memory and the verifier's contract; kept to this binary")]
#![expect(unreachable_pub, reason = "one binary: its modules have no outside")]
#![expect(missing_docs, reason = "macros of aya-ebpf expand to undocumented items")]

mod datapath;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use datapath::{Side, police};

#[xdp(frags)]
pub fn tenant_side(context: XdpContext) -> xdp_action::Type {
    police(&context, Side::Tenant)
}

#[xdp(frags)]
pub fn uplink_side(context: XdpContext) -> xdp_action::Type {
    police(&context, Side::Uplink)
}

#[xdp]
pub fn read_clock(_: XdpContext) -> xdp_action::Type {
    datapath::read_clock();
    xdp_action::XDP_PASS
}

/// GPL-compatible, for the helpers that ask for it (the nanosecond clock among them).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses programs in which a panic is reachable.
    loop {}
}
