//! From a packet to a verdict: parse, identify, decide, count; and forward what may pass, where the programs do that.

mod atomic;
mod charge;
mod clock;
mod count;
mod decide;
mod detect;
mod events;
mod forward;
mod identify;
mod last;
mod maps;
mod packet;
mod refuse;

pub use clock::read_clock;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::programs::XdpContext;
use decide::Denied;
use gateway_ebpf::abi::{LastVerdict, TenantState};
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::parse::{self, Ethernet, Ip, Network};
use gateway_ebpf::{Direction, DropReason};
use identify::Owner;
use packet::Packet;

/// Which side of the gateway a program stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Packets come from tenants.
    Tenant,
    /// Packets come from the Internet.
    Uplink,
}

impl Side {
    #[inline(always)]
    const fn direction(self) -> Direction {
        match self {
            Self::Tenant => Direction::Up,
            Self::Uplink => Direction::Down,
        }
    }
}

/// A packet that goes on.
pub enum Pass {
    /// A tenant's, within its policy.
    Tenant(Slot, *mut TenantState),
    /// Control traffic of the link.
    LinkControl,
    /// For no tenant, on the uplink: the router's own, or transit.
    Unmatched,
    /// From no tenant, where the operator only counts them.
    UnknownSource,
}

/// A packet that ends here, with the tenant that it is held against, if one was identified.
pub struct Refusal {
    reason: DropReason,
    /// Its slot, plus one; 0: none. No `Option`: the compiler would spill what a `None` leaves unset, which
    /// the verifier refuses.
    slot_plus_one: u32,
    /// Where the network layer starts of a packet whose sender is to be told; 0: it is not.
    answer_at: u32,
}

impl From<DropReason> for Refusal {
    /// Before a tenant is identified.
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self { reason, slot_plus_one: 0, answer_at: 0 }
    }
}

/// The one place where verdicts are taken and counted.
#[inline(always)]
pub fn police(context: &XdpContext, side: Side) -> xdp_action::Type {
    let packet = Packet::new(context.ctx);
    let direction = side.direction();
    match judge(&packet, side) {
        Ok(Pass::Tenant(slot, state)) => {
            let counter = count::passed(state, slot, direction, packet.length());
            last::passed(slot);
            return forward::forward(context.ctx, counter);
        }
        Ok(Pass::LinkControl) => {
            count::interface(&packet, |t| &mut t.link_control);
            last::nobodys(LastVerdict::LINK_CONTROL);
        }
        Ok(Pass::Unmatched) => {
            count::interface(&packet, |t| &mut t.unmatched);
            last::nobodys(LastVerdict::UNMATCHED);
        }
        Ok(Pass::UnknownSource) => {
            count::interface(&packet, |t| &mut t.unknown_source_passed);
            last::nobodys(LastVerdict::UNKNOWN_SOURCE);
        }
        Err(Refusal { reason, slot_plus_one, answer_at }) => {
            last::dropped(slot_plus_one, reason);
            if slot_plus_one == 0 {
                count::interface(&packet, |t| &mut t.dropped[count::index(reason)]);
            }
            // Reported before it may be made into its answer.
            count::dropped(&packet, slot_plus_one, direction, reason);
            if answer_at != 0 && refuse::refuse(context.ctx, answer_at, slot_plus_one) {
                return xdp_action::XDP_TX;
            }
            return xdp_action::XDP_DROP;
        }
    }
    xdp_action::XDP_PASS
}

/// Decides, without side effects but for the tenant's bucket.
#[inline(always)]
fn judge(packet: &Packet, side: Side) -> Result<Pass, Refusal> {
    let link = match parse::ethernet(packet) {
        Ok(link) => link,
        Err(reason) => return unreadable(packet, side, reason),
    };
    // Each version takes a way of its own to the end: where they meet, the compiler would have to carry
    // what only one of them has, on the stack.
    match link.network {
        Network::Ipv4 => judge_ip(packet, side, &link, parse::ipv4(packet, link.next)),
        Network::Ipv6 => judge_ip(packet, side, &link, parse::ipv6(packet, link.next)),
        Network::LinkControl => {
            packet.measure();
            Ok(Pass::LinkControl)
        }
        Network::Unknown => unreadable(packet, side, DropReason::Ethertype),
    }
}

/// A packet without an address to tell a tenant by. From the uplink it goes on: nobody forwards it as IP,
/// for Linux drops a header that lies (`ip_rcv_core`, `ip6_rcv_core`).
#[inline(always)]
fn unreadable(packet: &Packet, side: Side, reason: DropReason) -> Result<Pass, Refusal> {
    packet.measure();
    match side {
        Side::Tenant => Err(reason.into()),
        Side::Uplink => Ok(Pass::Unmatched),
    }
}

#[inline(always)]
fn judge_ip(
    packet: &Packet,
    side: Side,
    link: &Ethernet,
    ip: Result<Ip, DropReason>,
) -> Result<Pass, Refusal> {
    let ip = match ip {
        Ok(ip) => ip,
        Err(reason) => return unreadable(packet, side, reason),
    };
    let tenant = match identify::owner(packet, side, link.tags, &ip)? {
        Owner::Nobody(pass) => return Ok(pass),
        Owner::Tenant(tenant) => tenant,
    };
    let (network, direction) = (link.next, side.direction());
    match decide::decide(packet, network, direction, &ip, &tenant) {
        Ok(sign) => match detect::observe(packet, direction, sign, &tenant) {
            Ok(()) => Ok(Pass::Tenant(tenant.slot, tenant.state)),
            Err(reason) => Err(Refusal { reason, slot_plus_one: tenant.slot.0 + 1, answer_at: 0 }),
        },
        // Only tenants are told: the sender of an inbound packet may be forged.
        Err(Denied { reason, tell }) => {
            let answer_at = if tell && side == Side::Tenant { network as u32 } else { 0 };
            Err(Refusal { reason, slot_plus_one: tenant.slot.0 + 1, answer_at })
        }
    }
}
