//! What happens to a tenant's packet, in this order: port policy, cap. A packet that is refused for
//! its port does not use up the tenant's bandwidth.

use aya_ebpf::maps::lpm_trie::Key;
use gateway_ebpf::abi::PeerKey;
use gateway_ebpf::cap;
use gateway_ebpf::parse::{self, Address, Frame as _, Ip};
use gateway_ebpf::port::{self, Action, Rule, Rules};
use gateway_ebpf::{Direction, DropReason};

use super::identify::Tenant;
use super::maps::{BUCKETS, PEERS, PORT_CLASSES};
use super::packet::Packet;
use super::{atomic, clock};

/// Judges a packet of `tenant` that travels in `direction`.
#[inline(always)]
pub fn decide(packet: &Packet, direction: Direction, ip: &Ip, tenant: &Tenant) -> Result<(), DropReason> {
    let payload = parse::payload(packet, ip)?;
    if let Some(transport) = parse::transport(packet, &payload)? {
        if let Some(classes) = PORT_CLASSES.get(tenant.bank * 2 + transport.protocol as u32) {
            let (source, destination) = (classes.get(transport.source), classes.get(transport.destination));
            let Rules { opens, answers } = port::rules(direction, source, destination);
            let peer = match direction {
                Direction::Up => ip.destination,
                Direction::Down => ip.source,
            };
            apply(opens, tenant, peer)?;
            apply(answers, tenant, peer)?;
        }
    }
    charge(tenant, direction, packet.length())
}

#[inline(always)]
fn apply(rule: Option<Rule>, tenant: &Tenant, peer: Address) -> Result<(), DropReason> {
    let Some(rule) = rule else { return Ok(()) };
    match tenant.policy.actions(rule.direction).get(rule.class) {
        Action::Allow => Ok(()),
        Action::Peers if is_granted(rule, tenant, peer) => Ok(()),
        Action::Peers | Action::Deny => Err(rule.class.drop_reason()),
    }
}

/// Whether the tenant may talk to this peer. Kept out of line: only exempt tenants' mail comes here.
#[inline(never)]
fn is_granted(rule: Rule, tenant: &Tenant, peer: Address) -> bool {
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
    let key = PeerKey {
        slot: tenant.slot.0,
        bank: tenant.bank as u8,
        direction: rule.direction as u8,
        class: rule.class.number(),
        family,
        address,
    };
    match PEERS.get(&Key::new(PeerKey::FIXED_BITS + bits, key)) {
        Some(grant) => clock::boot_ns() < grant.expires_ns,
        None => false,
    }
}

/// Attempts at the compare-and-swap before the packet is charged without a look at the backlog.
const CHARGE_ATTEMPTS: usize = 8;

/// Charges `bytes` to the tenant's bucket (policy rule B1).
#[inline(always)]
fn charge(tenant: &Tenant, direction: Direction, bytes: u32) -> Result<(), DropReason> {
    let Some(bucket) = BUCKETS.get_ptr_mut(tenant.slot.0 * 2 + direction.index() as u32) else {
        return Ok(());
    };
    let cap = tenant.policy.cap(direction);
    let (cost_ns, burst_ns) = (cap.cost_ns(bytes), cap.burst_ns());
    let now_ns = clock::coarse_ns();
    // SAFETY: a live, aligned map value, which programs only touch through this word's atomics.
    let word = unsafe { &raw mut (*bucket).arrival_ns };
    for _ in 0..CHARGE_ATTEMPTS {
        // SAFETY: as above; an aligned 64-bit load is atomic.
        let arrival_ns = unsafe { word.read_volatile() };
        let Some(next_ns) = cap::admit(arrival_ns, now_ns, cost_ns, burst_ns) else {
            return Err(DropReason::OverCap);
        };
        // SAFETY: as above.
        if unsafe { atomic::replace(word, arrival_ns, next_ns) } {
            return Ok(());
        }
    }
    // Other CPUs won every time. The packet conformed a moment ago: let it pass, and charge it all the
    // same, so that the long-run rate stays exact.
    // SAFETY: as above.
    unsafe { atomic::add(word, cost_ns) };
    Ok(())
}
