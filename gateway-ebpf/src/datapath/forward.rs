//! Forwards what may pass, past the router's stack (`forwarding = "xdp"`), as the kernel's own `xdp_fwd` sample does.
//!
//! The kernel's routing and neighbour tables are the authority: they are asked for each packet, and whatever they do
//! not answer with a way out (no neighbour yet, too long for the link, unreachable, the router itself) goes to
//! the stack as it came, which resolves, fragments or answers by ICMP. So does what is out of the ordinary: see
//! [`is_plain`]. To send is the last thing that happens to a packet: it is judged and counted before.

use aya_ebpf::bindings::{bpf_fib_lookup as Route, xdp_action, xdp_md};
use aya_ebpf::helpers::generated::bpf_fib_lookup;
use gateway_ebpf::abi::InterfaceEntry;
use gateway_ebpf::counter::Counter;
use gateway_ebpf::forward::{is_plain, is_snug, is_sound_v4, next_hop_v4};
use gateway_ebpf::parse::number::{TCP, UDP};
use gateway_ebpf::parse::{self, Address, Fragment, Frame as _, Ip};

use super::packet::Packet;
use super::{count, maps};

/// Address families, as in the kernel's socket.h.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Where the parts of an untagged frame are.
mod offset {
    pub(super) const ETHERTYPE: usize = 12;
    pub(super) const NETWORK: usize = 14;
    /// Time to live, protocol and checksum.
    pub(super) const IPV4_HOPS: usize = NETWORK + 8;
    /// Next header and hop limit.
    pub(super) const IPV6_HOPS: usize = NETWORK + 6;
    /// What every frame that is forwarded reaches: an IPv4 header's end.
    pub(super) const END: usize = NETWORK + 20;
}

/// One packet in 2^10 of each tenant and direction goes by the stack. Only the stack's use of a neighbour makes the
/// kernel probe one that it has not heard of lately (`neigh_event_send`); a lookup takes it as it is, and a host whose
/// MAC address changed in silence would stay lost. Not more often, as such a packet may be overtaken.
const BY_STACK_POWER: u32 = 10;

/// The XDP code for a packet that may pass, its tenant's counter being `counter`.
#[inline(always)]
pub fn forward(context: *mut xdp_md, counter: Counter) -> xdp_action::Type {
    match maps::forwarding() {
        0 => xdp_action::XDP_PASS,
        _ => send_on(context, counter.word()),
    }
}

/// Sends a packet on, or leaves it to the stack. A global function (Linux 5.6), verified once; it reads the header
/// again, as to carry what it needs would take more of the stack than there is (512 bytes for a chain of calls).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_on(context: *mut xdp_md, counter: u64) -> u32 {
    if Counter::from_word(counter).is_at_multiple(BY_STACK_POWER) || try_send(context).is_none() {
        return xdp_action::XDP_PASS;
    }
    xdp_action::XDP_REDIRECT
}

#[inline(always)]
fn try_send(context: *mut xdp_md) -> Option<()> {
    let packet = Packet::new(context);
    let ifindex = packet.ifindex();
    if !is_addressed_to(&packet, maps::INTERFACES.get(ifindex)?)? {
        return None;
    }
    // A tagged frame is another interface's to the stack, with routes and neighbours of its own.
    match packet.be16(offset::ETHERTYPE)? {
        0x0800 => {
            let ip = parse::ipv4(&packet, offset::NETWORK).ok()?;
            if !is_sound_v4(&packet.be32s(offset::NETWORK)?) {
                return None;
            }
            let mut route = question(&packet, &ip, AF_INET)?;
            route.__bindgen_anon_2.tos = packet.be16(offset::NETWORK)? as u8;
            find(context, &mut route)?;
            let word = next_hop_v4(packet.be32(offset::IPV4_HOPS)?);
            leave(&packet, &route, |start| {
                // SAFETY: `leave` has checked that the packet reaches further; packet memory admits unaligned access.
                unsafe { ((start + offset::IPV4_HOPS) as *mut u32).write_volatile(word.to_be()) }
            })
        }
        0x86dd => {
            let ip = parse::ipv6(&packet, offset::NETWORK).ok()?;
            let mut route = question(&packet, &ip, AF_INET6)?;
            // Traffic class and flow label.
            route.__bindgen_anon_2.flowinfo = (packet.be32(offset::NETWORK)? & 0x0fff_ffff).to_be();
            find(context, &mut route)?;
            // The hop limit is the lower byte, and at least 2.
            let word = packet.be16(offset::IPV6_HOPS)? - 1;
            leave(&packet, &route, |start| {
                // SAFETY: as above.
                unsafe { ((start + offset::IPV6_HOPS) as *mut u16).write_volatile(word.to_be()) }
            })
        }
        _ => None,
    }
}

/// Whether a frame was sent to the interface that received it: what was not is not for the router to forward.
#[inline(always)]
fn is_addressed_to(packet: &Packet, interface: &InterfaceEntry) -> Option<bool> {
    let [a, b, c, d, e, f] = interface.mac;
    let is_ours = packet.be32(0)? == u32::from_be_bytes([a, b, c, d])
        && packet.be16(4)? == u16::from_be_bytes([e, f])
        && interface.slot != 0;
    Some(is_ours)
}

/// The question for a packet's route; none if the packet is out of the ordinary.
#[inline(always)]
fn question(packet: &Packet, ip: &Ip, family: u8) -> Option<Route> {
    let end = ip.next as u32 + ip.remaining;
    if !is_plain(ip, offset::NETWORK) || !is_snug(end, packet.linear_length(), packet.measure()) {
        return None;
    }
    // SAFETY: plain integers, for which zeros are a value.
    let mut route: Route = unsafe { core::mem::zeroed() };
    route.family = family;
    route.l4_protocol = ip.protocol;
    // Rules and multipath routes may go by ports.
    if ip.fragment == Fragment::Whole && (ip.protocol == TCP || ip.protocol == UDP) {
        route.sport = packet.be16(ip.next)?.to_be();
        route.dport = packet.be16(ip.next + 2)?.to_be();
    }
    route.ifindex = packet.ifindex();
    // Held against the way's MTU.
    route.__bindgen_anon_1.tot_len = (end - offset::NETWORK as u32) as u16;
    match (ip.source, ip.destination) {
        (Address::V4(source), Address::V4(destination)) => {
            route.__bindgen_anon_3.ipv4_src = source.to_be();
            route.__bindgen_anon_4.ipv4_dst = destination.to_be();
        }
        (Address::V6(source_high, source_low), Address::V6(high, low)) => {
            route.__bindgen_anon_3.ipv6_src = words(source_high, source_low);
            route.__bindgen_anon_4.ipv6_dst = words(high, low);
        }
        _ => return None,
    }
    Some(route)
}

/// An IPv6 address in network byte order.
#[inline(always)]
fn words(high: u64, low: u64) -> [u32; 4] {
    [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32].map(u32::to_be)
}

/// Asks the kernel; none if it does not know where to send the packet at once.
#[inline(always)]
fn find(context: *mut xdp_md, route: &mut Route) -> Option<()> {
    let ingress = route.ifindex;
    // SAFETY: the kernel passed this context in, and reads and writes the question within its length.
    let answer = unsafe { bpf_fib_lookup(context.cast(), route, size_of::<Route>() as i32, 0) };
    // BPF_FIB_LKUP_RET_SUCCESS. Back to where it came from, the stack tells the sender of a shorter way.
    (answer == 0 && route.ifindex != ingress).then_some(())
}

/// Writes what changes in the frame, `change` the hops left in it, and has it sent; none, and nothing changed, if the
/// programs may not send by that way.
#[inline(always)]
fn leave(packet: &Packet, route: &Route, change: impl FnOnce(usize)) -> Option<()> {
    let start = packet.reach(offset::END)?;
    // Sent at the end of the program. Of those flags, the lower two bits are what it returns for an interface that is
    // not in the map.
    maps::EGRESS.redirect(route.ifindex, xdp_action::XDP_PASS.into()).ok()?;
    write_address(start, &route.dmac);
    write_address(start + 6, &route.smac);
    change(start);
    count::interface(packet, |tallies| &mut tallies.forwarded);
    Some(())
}

/// Writes a MAC address, at `start` within what [`leave`] has checked.
#[inline(always)]
fn write_address(start: usize, address: &[u8; 6]) {
    for (half, bytes) in address.as_chunks::<2>().0.iter().enumerate() {
        // SAFETY: within the packet, whose memory admits unaligned access.
        unsafe { ((start + half * 2) as *mut u16).write_volatile(u16::from_ne_bytes(*bytes)) };
    }
}
