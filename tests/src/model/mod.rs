//! The reference model: the policy in plain Rust, to hold the programs against.
//!
//! It is written from the rules, not from the programs: it parses with etherparse, searches lists
//! where they use tables, and counts caps as levels of a bucket where they keep arrival times. It shares
//! with them the configuration and the names of the reasons. What it decides, in this order:
//!
//! 1. Control traffic of the link itself passes, uncounted by tenant: ARP, LLDP and their like.
//! 2. What is not IP, or not sound IP, is dropped on the tenant side (`link`, `ip`). On the uplink
//!    it passes: it has no tenant, and the router's stack forwards none of it.
//! 3. The tenant is the one whose prefix covers the source (tenant side, BCP 38) or the destination
//!    (uplink), if the tags are its own where the interface checks them.
//! 4. Headers that lie, fragments that could hide ports, and chains that never end are dropped; so are all
//!    fragments of tenants whose policy says so.
//! 5. So is what a suspension covers (`suspension`).
//! 6. Closed ports are dropped (`ports`).
//! 7. So is what exceeds the tenant's cap (`cap`); nothing that was dropped before is charged to it.

mod cap;
mod ip;
mod link;
mod ports;
mod suspension;

use std::collections::HashMap;
use std::net::IpAddr;

use gateway::config::{Config, Fragments, Side, Tenant, UnknownSources, Vlan};
use gateway::dataplane::QueueDrops;
use gateway::suspension::Scope;
use gateway_ebpf::{Direction, DropReason};
use jiff::Timestamp;

use crate::outcome::Outcome;
use cap::Cap;
use ip::Ip;
use link::Link;
use suspension::Suspended;

/// A policy, and what each tenant has used of its caps.
#[derive(Clone, Debug)]
pub struct Model {
    config: Config,
    /// By tenant, then by direction.
    caps: Vec<[Cap; 2]>,
    /// By tenant id.
    suspensions: HashMap<String, Vec<Scope>>,
}

/// A packet and the circumstances that it is judged in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'f> {
    /// Side of the interface that it was received on.
    pub side: Side,
    /// Whether that interface checks tenants' tags.
    pub match_vlan: bool,
    /// When, in nanoseconds since 1970.
    pub now_ns: u64,
    /// The Ethernet frame, without FCS.
    pub frame: &'f [u8],
    /// Bytes of it that can be read: headers beyond a driver's first buffer cannot.
    pub readable: usize,
}

impl Arrival<'_> {
    /// Bytes that the packet counts. Padding counts for nothing if it lies beyond the first buffer, and the IP
    /// packet does not: no router forwards it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match Model::dissect(self) {
            Ok(Some((_, ip))) if ip.body.end <= self.readable => self.readable,
            _ => self.frame.len(),
        }
    }
}

/// Why a packet is not a tenant's, or not let through.
type Judged<T> = Result<T, DropReason>;

impl Model {
    /// Knows the policy and who is suspended; every bucket is empty.
    #[must_use]
    pub fn new(config: Config, suspensions: HashMap<String, Vec<Scope>>) -> Self {
        let caps = vec![Default::default(); config.tenants.len()];
        Self { config, caps, suspensions }
    }

    /// Judges a packet, and charges it to its tenant if it passes. The tenant is named by its place in
    /// the configuration.
    pub fn judge(&mut self, arrival: &Arrival<'_>) -> Outcome<usize> {
        let (vlan, ip) = match Self::dissect(arrival) {
            Ok(Some(found)) => found,
            Ok(None) => return Outcome::LinkControl,
            Err(reason) => {
                return match arrival.side {
                    Side::Tenant => Outcome::Refused(reason),
                    Side::Uplink => Outcome::Unmatched,
                };
            }
        };
        // Neighbour discovery of the link is the link's, whoever sends it.
        if arrival.side == Side::Tenant
            && is_of_link(ip.destination)
            && ip::is_neighbour_discovery(arrival.frame, arrival.readable, &ip)
        {
            return Outcome::LinkControl;
        }
        let own = match arrival.side {
            Side::Tenant => ip.source,
            Side::Uplink => ip.destination,
        };
        let covers = |tenant: &Tenant| tenant.prefixes.iter().any(|prefix| prefix.contains(own));
        match self.config.tenants.iter().position(|tenant| covers(tenant)) {
            Some(index) if arrival.match_vlan && !is_tagged_for(&self.config.tenants[index], vlan) => {
                self.stranger(arrival.side, DropReason::WrongVlan)
            }
            Some(index) => match self.police(arrival, &ip, index) {
                Ok(()) => Outcome::Passed(index),
                Err(reason) => Outcome::Dropped(index, reason),
            },
            None if arrival.side == Side::Uplink => Outcome::Unmatched,
            None if stays_on_link(arrival, &ip) => Outcome::LinkControl,
            None => self.stranger(arrival.side, DropReason::UnknownSource),
        }
    }

    /// What the phantom queues of each tenant dropped, by direction.
    pub fn queue_drops(&self) -> impl Iterator<Item = [QueueDrops; 2]> {
        self.caps.iter().map(|caps| caps.each_ref().map(|cap| cap.drops))
    }

    /// Tags and IP header; none for control traffic of the link.
    fn dissect(arrival: &Arrival<'_>) -> Judged<Option<(Option<Vlan>, Ip)>> {
        match link::dissect(arrival.frame)? {
            (_, Link::Control) => Ok(None),
            (vlan, Link::Ipv4(at)) => Ok(Some((vlan, ip::dissect_v4(arrival.frame, at)?))),
            (vlan, Link::Ipv6(at)) => Ok(Some((vlan, ip::dissect_v6(arrival.frame, at)?))),
        }
    }

    /// A packet that is no tenant's by address and tags together.
    fn stranger(&self, side: Side, reason: DropReason) -> Outcome<usize> {
        match (side, self.config.gateway.unknown_sources) {
            (Side::Tenant, UnknownSources::Count) => Outcome::UnknownSourcePassed,
            _ => Outcome::Refused(reason),
        }
    }

    fn police(&mut self, arrival: &Arrival<'_>, ip: &Ip, index: usize) -> Judged<()> {
        let (direction, peer) = match arrival.side {
            Side::Tenant => (Direction::Up, ip.destination),
            Side::Uplink => (Direction::Down, ip.source),
        };
        let tenant = &self.config.tenants[index];
        if tenant.fragments == Fragments::Drop && ip::is_fragment(arrival.frame, arrival.readable, ip) {
            return Err(DropReason::Fragment);
        }
        let transport = ip::transport(arrival.frame, arrival.readable, ip)?;
        if let Some(scopes) = self.suspensions.get(&tenant.id) {
            let discovers = ip::is_neighbour_discovery(arrival.frame, arrival.readable, ip);
            Suspended { scopes, direction, peer, transport, discovers }.check(&self.config, tenant)?;
        }
        if let Some(transport) = transport {
            let now = Timestamp::from_nanosecond(arrival.now_ns.into()).expect("the test's clock is sane");
            ports::Connection { direction, peer, transport, now }.check(&self.config, tenant)?;
        }
        let rate = match direction {
            Direction::Up => tenant.cap_up,
            Direction::Down => tenant.cap_down,
        };
        let cap = &mut self.caps[index][direction.index()];
        let queue = ip::queue(arrival.frame, arrival.readable, ip, transport);
        cap.charge((tenant, rate), arrival.now_ns, arrival.bytes(), queue)
    }
}

/// Whether these are the tenant's tags. A tenant with one tag may use any tag within it; one without
/// may use any at all.
fn is_tagged_for(tenant: &Tenant, vlan: Option<Vlan>) -> bool {
    match (tenant.vlan, vlan) {
        (None, _) => true,
        (Some(wanted), Some(found)) => {
            wanted.outer == found.outer && (wanted.inner.is_none() || wanted.inner == found.inner)
        }
        (Some(_), None) => false,
    }
}

/// Whether a packet from no tenant is control traffic that must work before a host has an address, or
/// without one: sent from an address of the link to one of the link (DHCP, router solicitation,
/// membership reports), or neighbour discovery from such an address to any.
fn stays_on_link(arrival: &Arrival<'_>, ip: &Ip) -> bool {
    is_of_link(ip.source)
        && (is_of_link(ip.destination) || ip::is_neighbour_discovery(arrival.frame, arrival.readable, ip))
}

/// Whether no router forwards this address: unspecified, link-local, broadcast, multicast on the link.
fn is_of_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_unspecified()
                || address.is_broadcast()
                || address.is_link_local()
                // The local network control block (RFC 5771, 4).
                || address.octets().starts_with(&[224, 0, 0])
        }
        IpAddr::V6(address) => {
            // A multicast address ends its first word with its scope: 2 is the link (RFC 4291, 2.7).
            let is_link_multicast = address.is_multicast() && address.segments()[0] & 0xf == 2;
            address.is_unspecified() || address.is_unicast_link_local() || is_link_multicast
        }
    }
}
