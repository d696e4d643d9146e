//! A policy as the data plane keeps it: compiled in memory, before anything is touched.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gateway_ebpf::abi::{BankHeader, PeerKey, Policy};
use gateway_ebpf::detect::Kind;
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::parse::Tags;
use gateway_ebpf::policer::{Cap, fair};
use gateway_ebpf::port::{Action, Actions, PortClasses, PortFilter, ServiceClass};
use gateway_ebpf::restriction::Restriction;
use gateway_ebpf::{Direction, parse};
use ipnetwork::IpNetwork;

use super::detection::{self, DetectionImage};
use super::index::{Index, Networks};
use crate::config::{CapAlgorithm, Config, Fragments, PortRule, Protocol, Refuse, Tenant, UnknownSources};
use crate::policy::{Effective, Exemption, TenantPolicy};

/// TCP ports of mail submission (RFC 8314, RFC 6409; 2525 by custom).
pub(crate) const SUBMISSION_PORTS: [u16; 3] = [465, 587, 2525];
/// TCP port of mail relay (RFC 5321).
pub(crate) const RELAY_PORT: u16 = 25;

/// Everything that one bank holds.
pub(super) struct Image {
    pub(super) header: BankHeader,
    pub(super) tenants: Vec<Assigned>,
    /// Each once, however many tenants it applies to.
    pub(super) policies: Policies,
    /// Whether anything is looked for.
    pub(super) detects: bool,
    /// By [`parse::Protocol`].
    pub(super) classed_ports: [PortFilter; 2],
    pub(super) index: Arc<Index>,
    /// By [`parse::Protocol`].
    pub(super) port_classes: [Box<PortClasses>; 2],
    pub(super) peers: Vec<Peer>,
    pub(super) detection: DetectionImage,
}

/// What one tenant has of its own.
pub(super) struct Assigned {
    pub(super) slot: Slot,
    /// Index among [`Image::policies`].
    pub(super) policy: u32,
    pub(super) restriction: Restriction,
    pub(super) tags: Tags,
}

/// One entry of the peers' longest-prefix match; the bank is filled in when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) key: PeerKey,
    pub(super) address_bits: u32,
    /// When it lapses; `None`: never.
    pub(super) expires: Option<jiff::Timestamp>,
}

impl Peer {
    /// Whether it is a tenant's, not of a list that is for all of them.
    pub(super) fn is_of_tenant(&self) -> bool {
        ![PeerKey::WALLED_GARDEN, PeerKey::DROP_LIST, PeerKey::LEFT_ALONE].contains(&self.key.slot)
    }

    /// Whether both are about the same hosts.
    pub(super) fn is_for_same(&self, other: &Self) -> bool {
        self.key == other.key && self.address_bits == other.address_bits
    }
}

impl Image {
    /// Compiles a policy whose tenants have these slots. Where the networks are those of the index `before`, it is taken again.
    pub(super) fn compile(effective: &Effective, slots: &[Slot], before: Option<&Arc<Index>>) -> Self {
        let config = &**effective.config();
        let detection = DetectionImage::compile(effective);
        let mut tenants = Vec::with_capacity(config.tenants.len());
        let port_classes = port_classes(config);
        let classed_ports = port_classes.each_ref().map(|classes| classes.filter());
        let mut policies = Policies::default();
        let mut peers = walled_garden(config);
        let mut networks = Networks::default();
        for (tenant, &slot) in effective.tenants().zip(slots) {
            let restriction = tenant.restriction();
            let policy = policy(config, &tenant, detection.is_on()).with_classed_ports(classed_ports);
            let policy = policies.number(policy);
            peers.extend(mail_peers(config, &tenant, slot));
            let tenant = tenant.configured();
            tenants.push(Assigned { slot, policy, restriction, tags: tags(tenant) });
            for prefix in &tenant.prefixes {
                match prefix {
                    IpNetwork::V4(prefix) => networks.v4.push((*prefix, slot)),
                    IpNetwork::V6(prefix) => networks.v6.push((*prefix, slot)),
                }
            }
        }
        peers.extend(listed(config));
        peers.extend(left_alone(effective));
        let index = match before {
            Some(index) if index.is_for(&networks) => Arc::clone(index),
            _ => Arc::new(Index::new(networks)),
        };
        let mut header = BankHeader { flags: flags(config), v6: index.v6.shape };
        if !config.detection.listed.is_empty() {
            header.flags |= BankHeader::HAS_DROP_LIST;
        }
        let detects = detection.is_on();
        Self { header, tenants, policies, detects, classed_ports, index, port_classes, peers, detection }
    }
}

fn flags(config: &Config) -> u64 {
    let unknown = match config.gateway.unknown_sources {
        UnknownSources::Drop => 0,
        UnknownSources::Count => BankHeader::COUNT_UNKNOWN_ONLY,
    };
    let mail = [ServiceClass::RELAY, ServiceClass::SUBMISSION].map(|class| (class, config.smtp.refuse));
    let operators = operator_classes(config).map(|(class, closed)| (class, closed.refuse));
    let refused = mail.into_iter().chain(operators).filter(|(_, refuse)| *refuse == Refuse::Reset);
    refused.fold(unknown, |flags, (class, _)| flags | BankHeader::refuse(class))
}

/// Policies, each once.
#[derive(Default)]
pub(super) struct Policies {
    /// By number.
    pub(super) all: Vec<Policy>,
    numbers: HashMap<Policy, u32>,
}

impl Policies {
    /// The number of a policy that has one.
    pub(super) fn find(&self, policy: &Policy) -> Option<u32> {
        self.numbers.get(policy).copied()
    }

    /// The number of a policy, which it is given if it has none.
    pub(super) fn number(&mut self, policy: Policy) -> u32 {
        *self.numbers.entry(policy).or_insert_with(|| {
            self.all.push(policy);
            self.all.len() as u32 - 1
        })
    }
}

/// What the programs go by, but for the ports that have a class.
pub(super) fn policy(config: &Config, in_force: &TenantPolicy<'_>, detects: bool) -> Policy {
    let tenant = in_force.configured();
    let cap = |direction| Cap::new(in_force.cap(direction).value.bits_per_sec(), nanoseconds(tenant.burst));
    let flags = [
        (tenant.fragments == Fragments::Drop, Policy::DROP_FRAGMENTS),
        (detects, Policy::DETECTS),
        (tenant.vlan.is_some(), Policy::HAS_TAGS),
    ];
    let fair_unit_bits = match tenant.cap_algorithm {
        CapAlgorithm::Bucket => 0,
        CapAlgorithm::Fair => fair::unit_bits(nanoseconds(tenant.burst)),
    };
    let flags = flags.into_iter().filter(|(applies, _)| *applies).fold(0, |flags, (_, flag)| flags | flag);
    Policy::new(Direction::ALL.map(cap), Direction::ALL.map(|direction| actions(config, in_force, direction)))
        .with_flags(flags)
        .with_fair_caps(fair_unit_bits)
        .with_class(config.detection.class_index(tenant.detect_class.as_deref()) as u32)
}

fn tags(tenant: &Tenant) -> Tags {
    tenant.vlan.map_or(Tags::default(), |vlan| Tags { outer: vlan.outer, inner: vlan.inner.unwrap_or(0) })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn actions(config: &Config, in_force: &TenantPolicy<'_>, direction: Direction) -> Actions {
    let tenant = in_force.configured();
    let relay = match config.smtp.default {
        PortRule::Allow => Action::Allow,
        PortRule::Block if has_peers(in_force, direction) => Action::Peers,
        PortRule::Block => Action::Deny,
    };
    let submission = match tenant.submission {
        PortRule::Allow => Action::Allow,
        PortRule::Block => Action::Deny,
    };
    let base = Actions::default().with(ServiceClass::RELAY, relay).with(ServiceClass::SUBMISSION, submission);
    operator_classes(config).fold(base, |actions, (class, closed)| {
        let is_closed = covers(closed.direction, direction) && !tenant.open.contains(&closed.name);
        actions.with(class, if is_closed { Action::Deny } else { Action::Allow })
    })
}

fn covers(rule: crate::config::Direction, direction: Direction) -> bool {
    match direction {
        Direction::Up => rule.covers_out(),
        Direction::Down => rule.covers_in(),
    }
}

fn has_peers(policy: &TenantPolicy<'_>, direction: Direction) -> bool {
    let rents_relay = policy.configured().relay && direction == Direction::Up;
    rents_relay || policy.exemptions().any(|exemption| covers(exemption.direction, direction))
}

/// Hosts that suspended tenants may still reach.
fn walled_garden(config: &Config) -> Vec<Peer> {
    let host = |network| everybodys(PeerKey::WALLED_GARDEN, 0, network, None);
    config.walled_garden.iter().map(host).collect()
}

/// Networks of the drop list.
fn listed(config: &Config) -> impl Iterator<Item = Peer> {
    config.detection.listed.iter().map(|network| everybodys(PeerKey::DROP_LIST, 0, network, None))
}

/// Sources that a detector leaves alone. Where several allowances cover one, the last to lapse counts.
fn left_alone(policy: &Effective) -> Vec<Peer> {
    let entry = |(kind, source, expires): (Kind, IpNetwork, _)| {
        everybodys(PeerKey::LEFT_ALONE, kind as u8, &source, Some(expires))
    };
    let mut peers = Vec::new();
    for kind in Kind::ALL {
        let of_kind = detection::left_alone(policy).filter(|(spared, ..)| spared == kind);
        peers.extend(keep_longest_lived(of_kind.map(entry).collect()));
    }
    peers
}

/// An entry of a list that is nobody's own.
fn everybodys(list: u32, class: u8, network: &IpNetwork, expires: Option<jiff::Timestamp>) -> Peer {
    Peer {
        key: PeerKey {
            slot: list,
            bank: 0,
            direction: 0,
            class,
            family: family(network),
            address: octets(network),
        },
        address_bits: u32::from(network.prefix()),
        expires,
    }
}

/// Hosts that this tenant may exchange mail with on port 25.
pub(super) fn mail_peers(config: &Config, policy: &TenantPolicy<'_>, slot: Slot) -> Vec<Peer> {
    // With port 25 open, nobody needs listing.
    if config.smtp.default == PortRule::Allow {
        return Vec::new();
    }
    let peer = |direction: Direction, network: &IpNetwork, expires| Peer {
        key: PeerKey {
            slot: slot.0,
            bank: 0,
            direction: direction as u8,
            class: ServiceClass::RELAY.number(),
            family: family(network),
            address: octets(network),
        },
        address_bits: u32::from(network.prefix()),
        expires,
    };
    let mut peers = Vec::new();
    if policy.configured().relay {
        peers.extend(config.smtp.relays.iter().map(|relay| peer(Direction::Up, relay, None)));
    }
    for exemption in policy.exemptions() {
        let directions =
            Direction::ALL.into_iter().filter(|direction| covers(exemption.direction, *direction));
        for direction in directions {
            let networks = networks(&exemption);
            peers.extend(networks.iter().map(|network| peer(direction, network, Some(exemption.expires))));
        }
    }
    keep_longest_lived(peers)
}

/// The exemption's peers; none listed means anybody.
fn networks(exemption: &Exemption<'_>) -> Vec<IpNetwork> {
    if !exemption.peers.is_empty() {
        return exemption.peers.to_vec();
    }
    let anybody = [std::net::Ipv4Addr::UNSPECIFIED.into(), std::net::Ipv6Addr::UNSPECIFIED.into()];
    anybody.into_iter().filter_map(|address| IpNetwork::new(address, 0).ok()).collect()
}

/// Longest-prefix match finds one entry only: where several permissions cover a peer, each entry must
/// carry the latest expiry of all that cover it.
fn keep_longest_lived(mut peers: Vec<Peer>) -> Vec<Peer> {
    let covers = |wide: &Peer, narrow: &Peer| {
        wide.key.direction == narrow.key.direction
            && wide.key.family == narrow.key.family
            && wide.address_bits <= narrow.address_bits
            && same_bits(&wide.key.address, &narrow.key.address, wide.address_bits)
    };
    let latest: Vec<Option<jiff::Timestamp>> = peers
        .iter()
        .map(|peer| {
            let covering = peers.iter().filter(|wide| covers(wide, peer)).map(|wide| wide.expires);
            // `None` never lapses, so it is the latest of all.
            covering.reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b))).flatten()
        })
        .collect();
    peers.iter_mut().zip(latest).for_each(|(peer, latest)| peer.expires = latest);
    peers
}

fn same_bits(a: &[u8; 16], b: &[u8; 16], bits: u32) -> bool {
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    (u128::from_be_bytes(*a) ^ u128::from_be_bytes(*b)) & mask == 0
}

fn family(network: &IpNetwork) -> u8 {
    if network.is_ipv4() { 4 } else { 6 }
}

fn octets(network: &IpNetwork) -> [u8; 16] {
    let mut octets = [0; 16];
    match network {
        IpNetwork::V4(network) => octets[..4].copy_from_slice(&network.network().octets()),
        IpNetwork::V6(network) => octets = network.network().octets(),
    }
    octets
}

fn operator_classes(config: &Config) -> impl Iterator<Item = (ServiceClass, &crate::config::ClosedPort)> {
    (ServiceClass::FIRST_OPERATOR..).map(ServiceClass::new).zip(&config.closed_ports)
}

fn port_classes(config: &Config) -> [Box<PortClasses>; 2] {
    let mut classes = [(); 2].map(|()| Box::new(PortClasses([0; 4096])));
    let tcp = parse::Protocol::Tcp as usize;
    classes[tcp].set(RELAY_PORT, ServiceClass::RELAY);
    SUBMISSION_PORTS.iter().for_each(|port| classes[tcp].set(*port, ServiceClass::SUBMISSION));
    for (class, closed) in operator_classes(config) {
        let protocol = match closed.protocol {
            Protocol::Tcp => parse::Protocol::Tcp,
            Protocol::Udp => parse::Protocol::Udp,
        };
        for (first, last) in &closed.ports {
            (*first..=*last).for_each(|port| classes[protocol as usize].set(port, class));
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(network: &str, expires: Option<i64>) -> Peer {
        let network: IpNetwork = network.parse().unwrap();
        Peer {
            key: PeerKey {
                slot: 0,
                bank: 0,
                direction: 0,
                class: 1,
                family: family(&network),
                address: octets(&network),
            },
            address_bits: u32::from(network.prefix()),
            expires: expires.map(|second| jiff::Timestamp::from_second(second).unwrap()),
        }
    }

    #[test]
    fn a_narrow_permission_does_not_shorten_a_wide_one() {
        let peers = keep_longest_lived(vec![
            peer("198.51.100.0/24", Some(200)),
            peer("198.51.100.25/32", Some(100)),
            peer("0.0.0.0/0", Some(50)),
            peer("::/0", None),
            peer("2001:db8::/32", Some(10)),
            peer("203.0.113.9/32", Some(20)),
        ]);
        let seconds: Vec<_> = peers.iter().map(|peer| peer.expires.map(jiff::Timestamp::as_second)).collect();
        assert_eq!(seconds, [Some(200), Some(200), Some(50), None, None, Some(50)]);
    }

    #[test]
    fn bits_are_compared_up_to_the_prefix() {
        let (a, b) = ([0xff; 16], [0xfe; 16]);
        assert!(same_bits(&a, &b, 0) && same_bits(&a, &b, 7));
        assert!(!same_bits(&a, &b, 8) && !same_bits(&a, &b, 128));
        assert!(same_bits(&a, &a, 128));
    }
}
