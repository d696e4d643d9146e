//! Whose packet is it? The tenant is told by the source address on the tenant side (policy rule S4)
//! and by the destination on the uplink, and by its VLAN tags where the interface checks them.

use gateway_ebpf::abi::{BankHeader, InterfaceEntry, Policy, TenantState};
use gateway_ebpf::assignment::Assignment;
use gateway_ebpf::lookup::v6::{SEARCH_STEPS, Search};
use gateway_ebpf::lookup::{Slot, v4};
use gateway_ebpf::parse::{self, Address, Ip, Tags};
use gateway_ebpf::{Direction, DropReason};

use super::maps::{
    BANK_HEADERS, CONTROL, INTERFACES, POLICIES, TAGS, TENANTS, V4Bank, V6Bank, assignment, policy_capacity,
    start, state_index, tenant_capacity,
};
use super::packet::Packet;
use super::{Pass, Side};

/// A tenant with its policy, for as long as one packet is judged.
pub struct Tenant {
    /// Its place in every per-tenant map.
    pub slot: Slot,
    /// The bank that this packet is judged by.
    pub bank: u32,
    /// Its state in the direction of the packet.
    pub state: *mut TenantState,
    /// What the bank says of it, read once.
    pub assignment: Assignment,
    /// Its policy.
    pub policy: &'static Policy,
}

impl Tenant {
    #[inline(always)]
    fn new(slot: Slot, bank: u32, direction: Direction) -> Option<Self> {
        let state = TENANTS.get_ptr_mut(state_index(slot, direction))?;
        // SAFETY: a live, aligned map value; an aligned 32-bit load is atomic. Volatile: it is never
        // repeated, so that a change of the restriction comes between two packets.
        let assignment = unsafe { assignment(bank, slot)?.read_volatile() };
        let policy = POLICIES.get(start(bank, policy_capacity()) + assignment.policy())?;
        Some(Self { slot, bank, state, assignment, policy })
    }
}

/// Who a packet belongs to.
pub enum Owner {
    /// A tenant.
    Tenant(Tenant),
    /// No tenant, and it may go on.
    Nobody(Pass),
}

/// Finds the owner of a packet.
#[inline(always)]
pub fn owner(packet: &Packet, side: Side, tags: Tags, ip: &Ip) -> Result<Owner, DropReason> {
    // Without its maps the program could not judge anything; they exist whenever it is loaded.
    let unmatched = Ok(Owner::Nobody(Pass::Unmatched));
    let Some(control) = CONTROL.get_ptr(0) else { return unmatched };
    // SAFETY: a live, aligned map value. Volatile: one load that is never repeated, so that everything
    // below sees one bank.
    let bank = unsafe { core::ptr::read_volatile(&raw const (*control).active_bank) };
    let address = match side {
        Side::Tenant => ip.source,
        Side::Uplink => ip.destination,
    };
    // Whatever its source, so that a tenant over its cap, or suspended, is still found by its router.
    // Its destination is valid on the link only: nothing that is sent to the Internet passes for it.
    if side == Side::Tenant && ip.destination.is_link_scope() && parse::is_neighbour_discovery(packet, ip) {
        return Ok(Owner::Nobody(Pass::LinkControl));
    }
    let tenant = slot(bank, address).and_then(|slot| Tenant::new(slot, bank, side.direction()));
    let stranger = match tenant {
        Some(tenant) if carries_its_tags(packet, &tenant, tags) => return Ok(Owner::Tenant(tenant)),
        Some(_) => DropReason::WrongVlan,
        None if side == Side::Uplink => return unmatched,
        None if is_link_control(packet, ip) => return Ok(Owner::Nobody(Pass::LinkControl)),
        None => DropReason::UnknownSource,
    };
    let counts_only = |header: &BankHeader| header.flags & BankHeader::COUNT_UNKNOWN_ONLY != 0;
    if side == Side::Tenant && BANK_HEADERS.get(bank).is_some_and(counts_only) {
        return Ok(Owner::Nobody(Pass::UnknownSource));
    }
    Err(stranger)
}

/// Whether a packet carries the tags of its tenant, or the interface does not ask.
#[inline(always)]
fn carries_its_tags(packet: &Packet, tenant: &Tenant, tags: Tags) -> bool {
    if !tenant.policy.has_tags() {
        return true;
    }
    match INTERFACES.get(packet.ifindex()) {
        Some(interface) if interface.flags & InterfaceEntry::MATCH_VLAN != 0 => {
            let wanted = TAGS.get(start(tenant.bank, tenant_capacity()) + tenant.slot.0);
            wanted.is_some_and(|wanted| tags.satisfy(wanted.tags))
        }
        _ => true,
    }
}

/// The slot of the tenant that an address belongs to.
#[inline(always)]
pub fn slot(bank: u32, address: Address) -> Option<Slot> {
    match address {
        Address::V4(address) => v4::find(&V4Bank::new(bank), address),
        Address::V6(high, low) => slot_v6(bank, high, low),
    }
}

/// Two steps of the search are enough for three different prefix lengths.
const STEPS_IN_LINE: u32 = 2;

#[inline(always)]
fn slot_v6(bank: u32, high: u64, low: u64) -> Option<Slot> {
    let shape = &BANK_HEADERS.get(bank)?.v6;
    let search = Search::new(shape).go_on(&V6Bank(bank), shape, high, low, STEPS_IN_LINE);
    if search.is_over() {
        return search.slot();
    }
    match search_v6(bank, high, low, search.from | search.to << 16, search.best) {
        0 => None,
        slot_plus_one => Some(Slot(slot_plus_one - 1)),
    }
}

/// The rest of a search: the slot that it finds, plus one, or 0. A global function (Linux 5.6), which the verifier checks
/// once and by itself: all steps in line took it 220,000 of the million instructions that a program may take.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn search_v6(bank: u32, high: u64, low: u64, range: u32, best: u32) -> u32 {
    let Some(header) = BANK_HEADERS.get(bank) else { return 0 };
    let search = Search { from: range & 0xffff, to: range >> 16, best };
    let search = search.go_on(&V6Bank(bank), &header.v6, high, low, SEARCH_STEPS - STEPS_IN_LINE);
    search.slot().map_or(0, |slot| slot.0 + 1)
}

/// Whether a packet from no tenant is control traffic that must work before a host has an address, or
/// without one: DHCP, router and neighbour discovery, multicast membership. Its source is valid on the
/// link only, so no router forwards it.
#[inline(always)]
fn is_link_control(packet: &Packet, ip: &Ip) -> bool {
    ip.source.is_link_scope() && (ip.destination.is_link_scope() || parse::is_neighbour_discovery(packet, ip))
}
