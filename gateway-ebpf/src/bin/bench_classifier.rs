//! What HTB is given to find a packet's class by in `cargo xtask bench peers`: the tenant's, by the longest
//! prefix of the source address, or that of port 25. A classifier for cls_bpf, without direct action: it
//! returns the class.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "packet memory is behind raw pointers")]

use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::LpmTrie;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::TcContext;
use gateway_ebpf::traffic::Classes;

/// Class of each network: addresses as in packets.
#[map]
static CLASSES: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(Classes::MAX_NETWORKS, 0);

/// No class: what the queueing discipline does by default.
const UNKNOWN: u32 = 0;

/// Offsets in untagged frames of IPv4 without options.
mod offset {
    pub(super) const ETHERTYPE: usize = 12;
    pub(super) const VERSION_AND_LENGTH: usize = 14;
    /// With the time to live before it.
    pub(super) const PROTOCOL: usize = 22;
    pub(super) const SOURCE: usize = 26;
    pub(super) const DESTINATION_PORT: usize = 36;
    pub(super) const END: usize = 38;
}

/// The class of a packet that is about to be queued.
#[classifier]
fn class_of_tenant(context: TcContext) -> i32 {
    class(&context).unwrap_or(UNKNOWN) as i32
}

fn class(context: &TcContext) -> Option<u32> {
    let (data, end) = (context.data(), context.data_end());
    if data + offset::END > end {
        return None;
    }
    // SAFETY: all offsets are below `END`, which is within the packet; packet memory admits unaligned access.
    let half = |offset: usize| u16::from_be(unsafe { ((data + offset) as *const u16).read_unaligned() });
    if half(offset::ETHERTYPE) != 0x0800 || half(offset::VERSION_AND_LENGTH) >> 8 != 0x45 {
        return None;
    }
    if half(offset::PROTOCOL) & 0xff == 6 && half(offset::DESTINATION_PORT) == 25 {
        return Some(Classes::PORT_25);
    }
    // SAFETY: as above.
    let source = unsafe { ((data + offset::SOURCE) as *const [u8; 4]).read_unaligned() };
    CLASSES.get(Key::new(32, source)).copied()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
