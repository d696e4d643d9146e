//! Whose packet is it? The tenant is told by the source address on the tenant side (policy rule S4)
//! and by the destination on the uplink, and by its VLAN tags where the interface checks them.

use gateway_ebpf::DropReason;
use gateway_ebpf::abi::{BankHeader, InterfaceEntry, TenantPolicy};
use gateway_ebpf::lookup::{Slot, v4, v6};
use gateway_ebpf::parse::{self, Address, Ip, Tags};
use gateway_ebpf::standing::Standing;

use super::maps::{BANK_HEADERS, CONTROL, TENANTS, V4Bank, V6Bank, tenant_capacity};
use super::packet::Packet;
use super::{Pass, Side};

/// A tenant with its policy, for as long as one packet is judged.
pub struct Tenant {
    /// Its place in every per-tenant map.
    pub slot: Slot,
    /// The bank that this packet is judged by.
    pub bank: u32,
    /// Its policy.
    pub policy: &'static TenantPolicy,
}

impl Tenant {
    /// What is suspended. Volatile: the controller changes this word in the active bank.
    #[inline(always)]
    pub fn standing(&self) -> Standing {
        // SAFETY: a reference to a live map value is valid and aligned; any bytes are a `Standing`.
        unsafe { core::ptr::from_ref(self.policy.standing()).read_volatile() }
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
pub fn owner(
    packet: &Packet,
    side: Side,
    interface: InterfaceEntry,
    tags: Tags,
    ip: &Ip,
) -> Result<Owner, DropReason> {
    // Without its maps the program could not judge anything; they exist whenever it is loaded.
    let unmatched = Ok(Owner::Nobody(Pass::Unmatched));
    let Some(control) = CONTROL.get_ptr(0) else { return unmatched };
    // SAFETY: a live, aligned map value. Volatile: one load that is never repeated, so that everything
    // below sees one bank.
    let bank = unsafe { core::ptr::read_volatile(&raw const (*control).active_bank) };
    let Some(header) = BANK_HEADERS.get(bank) else { return unmatched };
    let address = match side {
        Side::Tenant => ip.source,
        Side::Uplink => ip.destination,
    };
    // Whatever its source, so that a tenant over its cap, or suspended, is still found by its router.
    // Its destination is valid on the link only: nothing that is sent to the Internet passes for it.
    if side == Side::Tenant && ip.destination.is_link_scope() && parse::is_neighbour_discovery(packet, ip) {
        return Ok(Owner::Nobody(Pass::LinkControl));
    }
    let tenant = slot(bank, address).and_then(|slot| {
        let policy = TENANTS.get(bank * tenant_capacity() + slot.0)?;
        Some(Tenant { slot, bank, policy })
    });
    let stranger = match tenant {
        Some(tenant) => {
            let wanted = tenant.policy.tags();
            if interface.flags & InterfaceEntry::MATCH_VLAN == 0 || tags.satisfy(wanted) {
                return Ok(Owner::Tenant(tenant));
            }
            DropReason::WrongVlan
        }
        None if side == Side::Uplink => return unmatched,
        None if is_link_control(packet, ip) => return Ok(Owner::Nobody(Pass::LinkControl)),
        None => DropReason::UnknownSource,
    };
    if side == Side::Tenant && header.flags & BankHeader::COUNT_UNKNOWN_ONLY != 0 {
        return Ok(Owner::Nobody(Pass::UnknownSource));
    }
    Err(stranger)
}

/// The slot of the tenant that an address belongs to.
#[inline(always)]
pub fn slot(bank: u32, address: Address) -> Option<Slot> {
    match address {
        Address::V4(address) => v4::find(&V4Bank(bank), address),
        Address::V6(high, low) => v6::find(&V6Bank(bank), &BANK_HEADERS.get(bank)?.v6, high, low),
    }
}

/// Whether a packet from no tenant is control traffic that must work before a host has an address, or
/// without one: DHCP, router and neighbour discovery, multicast membership. Its source is valid on the
/// link only, so no router forwards it.
#[inline(always)]
fn is_link_control(packet: &Packet, ip: &Ip) -> bool {
    ip.source.is_link_scope() && (ip.destination.is_link_scope() || parse::is_neighbour_discovery(packet, ip))
}
