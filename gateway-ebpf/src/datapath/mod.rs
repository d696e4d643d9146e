//! From a packet to a verdict: parse, identify, decide, count.

mod atomic;
mod clock;
mod count;
mod decide;
mod detect;
mod events;
mod identify;
mod last;
mod maps;
mod packet;
mod refuse;

pub use clock::read_clock;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::programs::XdpContext;
use decide::Denied;
use gateway_ebpf::abi::{Event, InterfaceEntry, LastVerdict};
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::parse::{self, Frame as _, Ip, Network, Tags};
use gateway_ebpf::{Direction, DropReason};
use identify::Owner;
use maps::INTERFACES;
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
    Tenant(Slot),
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
    let bytes = packet.length();
    let direction = side.direction();
    let interface = INTERFACES.get(context.ingress_ifindex() as u32).copied().unwrap_or_default();
    match judge(&packet, side, interface) {
        Ok(Pass::Tenant(slot)) => {
            count::passed(slot, direction, bytes);
            last::passed(slot);
        }
        Ok(Pass::LinkControl) => {
            count::interface(interface.slot, bytes, |t| &mut t.link_control);
            last::nobodys(LastVerdict::LINK_CONTROL);
        }
        Ok(Pass::Unmatched) => {
            count::interface(interface.slot, bytes, |t| &mut t.unmatched);
            last::nobodys(LastVerdict::UNMATCHED);
        }
        Ok(Pass::UnknownSource) => {
            count::interface(interface.slot, bytes, |t| &mut t.unknown_source_passed);
            last::nobodys(LastVerdict::UNKNOWN_SOURCE);
        }
        Err(Refusal { reason, slot_plus_one, answer_at }) => {
            if slot_plus_one != 0 {
                count::dropped(Slot(slot_plus_one - 1), direction, reason, bytes);
            } else {
                count::interface(interface.slot, bytes, |t| &mut t.dropped[count::index(reason)]);
            }
            last::dropped(slot_plus_one, reason);
            // Before it may be made into its answer.
            events::sample(context.ctx, Event::DROP, slot_plus_one, direction, reason);
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
fn judge(packet: &Packet, side: Side, interface: InterfaceEntry) -> Result<Pass, Refusal> {
    let (tags, network, ip) = match (ip_header(packet), side) {
        (Ok(Some(found)), _) => found,
        (Ok(None), _) => return Ok(Pass::LinkControl),
        (Err(reason), Side::Tenant) => return Err(reason.into()),
        // No address to tell a tenant by. Nobody forwards such a packet as IP either: Linux drops a
        // header that lies (ip_rcv_core, ip6_rcv_core).
        (Err(_), Side::Uplink) => return Ok(Pass::Unmatched),
    };
    match identify::owner(packet, side, interface, tags, &ip)? {
        Owner::Nobody(pass) => Ok(pass),
        Owner::Tenant(tenant) => match decide::decide(packet, network, side.direction(), &ip, &tenant) {
            Ok(sign) => match detect::observe(packet, network, side.direction(), sign, &tenant) {
                Ok(()) => Ok(Pass::Tenant(tenant.slot)),
                Err(reason) => Err(Refusal { reason, slot_plus_one: tenant.slot.0 + 1, answer_at: 0 }),
            },
            // Only tenants are told: the sender of an inbound packet may be forged.
            Err(Denied { reason, tell }) => {
                let answer_at = if tell && side == Side::Tenant { network as u32 } else { 0 };
                Err(Refusal { reason, slot_plus_one: tenant.slot.0 + 1, answer_at })
            }
        },
    }
}

/// Tags of a packet, where its IP header is, and the header; none for control traffic of the link.
#[inline(always)]
fn ip_header(packet: &Packet) -> Result<Option<(Tags, usize, Ip)>, DropReason> {
    let link = parse::ethernet(packet)?;
    match link.network {
        Network::Ipv4 => parse::ipv4(packet, link.next),
        Network::Ipv6 => parse::ipv6(packet, link.next),
        Network::LinkControl => return Ok(None),
        Network::Unknown => Err(DropReason::Ethertype),
    }
    .map(|ip| Some((link.tags, link.next, ip)))
}
