//! What happens to a tenant's packet, in this order: restrictions, measures, port policy, cap, detection. A
//! packet that is refused before the cap does not use up the tenant's bandwidth, and only what is about
//! to pass counts as a contact.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::maps::lpm_trie::Key;
use gateway_ebpf::abi::{BankHeader, PeerKey};
use gateway_ebpf::detect::sighting::Sign;
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::parse::{self, Address, Fragment, Ip, Opening, Transport};
use gateway_ebpf::port::{self, Action, Rule, ServiceClass};
use gateway_ebpf::restriction::Restriction;
use gateway_ebpf::{Direction, DropReason};

use super::charge::{Flow, charge};
use super::identify::{self, Tenant};
use super::maps::{BANK_HEADERS, PEERS, PORT_CLASSES};
use super::packet::{self, Packet};
use super::{clock, detect};

/// Why a tenant's packet is dropped.
pub struct Denied {
    /// Why.
    pub reason: DropReason,
    /// Whether its sender is to be told: it met a closed port whose class is refused by policy.
    pub tell: bool,
}

impl From<DropReason> for Denied {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self { reason, tell: false }
    }
}

/// Judges a packet of `tenant` that travels in `direction`; if it may pass, says what it is to detection.
#[inline(always)]
pub fn decide(
    packet: &Packet,
    network: usize,
    direction: Direction,
    ip: &Ip,
    tenant: &Tenant,
) -> Result<Sign, Denied> {
    let payload = parse::payload(packet, ip)?;
    if payload.fragment != Fragment::Whole && tenant.policy.drops_fragments() {
        return Err(DropReason::Fragment.into());
    }
    let none = ServiceClass::NONE;
    let transport = parse::transport(packet, &payload)?;
    let (source, destination) = match transport {
        None => (none, none),
        Some(Transport { protocol, source, destination, .. })
            if !tenant.policy.may_be_classed(protocol, [source, destination]) =>
        {
            (none, none)
        }
        Some(transport) => match PORT_CLASSES.get(tenant.bank * 2 + transport.protocol as u32) {
            None => (none, none),
            Some(classes) => (classes.get(transport.source), classes.get(transport.destination)),
        },
    };
    let rules = port::rules(direction, source, destination);
    let peer = match direction {
        Direction::Up => ip.destination,
        Direction::Down => ip.source,
    };
    // Read only for the few that are restricted: nearly every packet would pay for it.
    let opening = || transport.map_or(Opening::Unknown, |transport| transport.opening());
    let restriction = tenant.assignment.restriction();
    let held =
        if restriction != Restriction::NONE && restriction.forbids(direction, rules.is_mail(), opening()) {
            Err(DropReason::Suspended)
        } else {
            detect::hold(packet, network, direction, tenant)
        };
    if let Err(reason) = held
        && !((reason == DropReason::Suspended || reason == DropReason::Quarantined)
            && may_still(packet.context(), network as u32, direction as u32, tenant.slot.0, tenant.bank) != 0)
    {
        return Err(reason.into());
    }
    for rule in [rules.opens, rules.answers] {
        if rule.class != ServiceClass::NONE
            && let Err(reason) = apply(rule, tenant, peer)
        {
            return Err(Denied { reason, tell: is_refused(tenant, rule.class) });
        }
    }
    let flow = Flow { packet, network, ip, payload: &payload };
    charge(tenant, direction, packet.length(), &flow)?;
    Ok(detect::sign(packet, direction, ip, &payload, transport, tenant))
}

/// Whether closed ports of this class are refused instead of dropped in silence.
#[inline(always)]
fn is_refused(tenant: &Tenant, class: ServiceClass) -> bool {
    BANK_HEADERS.get(tenant.bank).is_some_and(|header| header.flags & BankHeader::refuse(class) != 0)
}

#[inline(always)]
fn apply(rule: Rule, tenant: &Tenant, peer: Address) -> Result<(), DropReason> {
    match tenant.policy.actions(rule.direction).get(rule.class) {
        Action::Allow => Ok(()),
        Action::Peers if is_granted(tenant, rule, peer) => Ok(()),
        Action::Peers | Action::Deny => Err(rule.class.drop_reason()),
    }
}

/// Whether the tenant holds an exemption for this peer.
#[inline(always)]
fn is_granted(tenant: &Tenant, rule: Rule, peer: Address) -> bool {
    let slot = tenant.slot.0;
    is_listed(
        PeerScope { slot, bank: tenant.bank, direction: rule.direction as u8, class: rule.class.number() },
        peer,
    )
}

/// Whether a packet passes in spite of a suspension or a quarantine: 1, else 0. A global function (Linux 5.6)
/// that reads the header again: few packets come here, and to carry all that it needs would take more of the
/// stack than there is (512 bytes for a chain of calls).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn may_still(context: *mut xdp_md, network: u32, direction: u32, slot: u32, bank: u32) -> u32 {
    let packet = Packet::new(context);
    let Some(ip) = packet::ip_header(&packet, network) else { return 0 };
    let peer = if direction == Direction::Up as u32 { ip.destination } else { ip.source };
    let is_free = is_in_walled_garden(bank, peer) || is_on_link(&packet, &ip, Slot(slot), bank, peer);
    u32::from(is_free)
}

/// Whether suspended tenants may still talk to this peer.
#[inline(always)]
fn is_in_walled_garden(bank: u32, peer: Address) -> bool {
    is_listed(PeerScope { slot: PeerKey::WALLED_GARDEN, bank, direction: 0, class: 0 }, peer)
}

/// Whether the packet is neighbour discovery between a tenant and its router: without it, not even the
/// walled garden is within reach. Its other end has an address of the link or, where the router has one
/// of each tenant's network, the tenant's own; so nothing that is sent to the Internet passes for it.
#[inline(always)]
fn is_on_link(packet: &Packet, ip: &Ip, slot: Slot, bank: u32, peer: Address) -> bool {
    if !parse::is_neighbour_discovery(packet, ip) {
        return false;
    }
    // As one number: the compiler would compare what a `None` leaves unset, which the verifier refuses.
    let owner_plus_one = core::hint::black_box(identify::slot(bank, peer).map_or(0, |owner| owner.0 + 1));
    peer.is_link_scope() || owner_plus_one == slot.0 + 1
}

/// A list of peers, as [`PeerKey`] names it.
pub struct PeerScope {
    pub slot: u32,
    pub bank: u32,
    pub direction: u8,
    pub class: u8,
}

/// Whether a list has this peer, and still has it. Out of line: only mail of exempt tenants and packets
/// of suspended ones come here.
#[inline(never)]
pub fn is_listed(scope: PeerScope, peer: Address) -> bool {
    let mut address = [0; 16];
    let (family, bits) = match peer {
        Address::V4(peer) => {
            address[..4].copy_from_slice(&peer.to_be_bytes());
            (4, 32)
        }
        Address::V6(high, low) => {
            address[..8].copy_from_slice(&high.to_be_bytes());
            address[8..].copy_from_slice(&low.to_be_bytes());
            (6, 128)
        }
    };
    let PeerScope { slot, bank, direction, class } = scope;
    let key = PeerKey { slot, bank: bank as u8, direction, class, family, address };
    match PEERS.get(Key::new(PeerKey::FIXED_BITS + bits, key)) {
        Some(grant) => clock::boot_ns() < grant.expires_ns,
        None => false,
    }
}
