//! Addresses worth trying under a policy: each tenant's, those next to them, peers, and special ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use gateway::config::Config;
use ipnetwork::IpNetwork;

/// Addresses of one family.
pub(crate) struct Addresses {
    /// Of tenants.
    own: Vec<IpAddr>,
    /// Of peers and of nobody.
    others: Vec<IpAddr>,
    /// Valid on the link only, or otherwise special.
    special: Vec<IpAddr>,
}

const SPECIAL: [&str; 22] = [
    "0.0.0.0",
    "255.255.255.255",
    "169.254.1.1",
    "169.253.255.255",
    "224.0.0.1",
    "224.0.0.251",
    "224.0.1.1",
    "239.255.255.250",
    "127.0.0.1",
    "10.0.0.1",
    "::",
    "::1",
    "::ffff:203.0.113.1",
    "fe80::1",
    "febf:ffff::1",
    "fec0::1",
    "ff01::1",
    "ff02::1",
    "ff02::1:2",
    "ff12::1",
    "ff05::1:3",
    "ff0e::1",
];

impl Addresses {
    /// Those of IPv4, and those of IPv6.
    pub(crate) fn of(config: &Config) -> [Self; 2] {
        let tenants = &config.tenants;
        let prefixes: Vec<IpNetwork> = tenants.iter().flat_map(|tenant| tenant.prefixes.clone()).collect();
        let exemptions = tenants.iter().flat_map(|tenant| &tenant.smtp_exemptions);
        let peers = exemptions.flat_map(|exemption| &exemption.peers).chain(&config.smtp.relays);
        let nobodys = ["192.0.2.80", "2001:db8:eeee::80"].map(|text| text.parse().expect("an address"));
        let own: Vec<IpAddr> = prefixes.iter().flat_map(|prefix| edges(prefix).1).collect();
        let around = prefixes.iter().chain(peers.clone()).flat_map(|prefix| edges(prefix).0);
        let within = peers.flat_map(|prefix| edges(prefix).1);
        let others: Vec<IpAddr> = around.chain(within).chain(nobodys).collect();
        let special: Vec<IpAddr> = SPECIAL.iter().map(|text| text.parse().expect("an address")).collect();
        [true, false].map(|v4| {
            let family = |all: &[IpAddr]| all.iter().copied().filter(|one| one.is_ipv4() == v4).collect();
            Self { own: family(&own), others: family(&others), special: family(&special) }
        })
    }

    /// The tenant's end of a packet, more often than not a tenant's.
    pub(crate) fn near(&self, rng: &mut Rng) -> IpAddr {
        self.pick(rng, [80, 10, 10])
    }

    /// The other end.
    pub(crate) fn far(&self, rng: &mut Rng) -> IpAddr {
        self.pick(rng, [10, 80, 10])
    }

    fn pick(&self, rng: &mut Rng, percent: [u8; 3]) -> IpAddr {
        let dice = rng.u8(..100);
        let pool = if dice < percent[0] {
            &self.own
        } else if dice < percent[0] + percent[1] {
            &self.others
        } else {
            &self.special
        };
        pool[rng.usize(..pool.len())]
    }
}

/// The addresses just outside a prefix, and the first, one further in, and the last within.
fn edges(prefix: &IpNetwork) -> (Vec<IpAddr>, Vec<IpAddr>) {
    match prefix {
        IpNetwork::V4(prefix) => {
            let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
            let address = |bits: u32| IpAddr::from(Ipv4Addr::from_bits(bits));
            (
                vec![address(first.wrapping_sub(1)), address(last.wrapping_add(1))],
                vec![address(first), address(first + (last - first) / 3), address(last)],
            )
        }
        IpNetwork::V6(prefix) => {
            let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
            let address = |bits: u128| IpAddr::from(Ipv6Addr::from_bits(bits));
            (
                vec![address(first.wrapping_sub(1)), address(last.wrapping_add(1))],
                vec![address(first), address(first + (last - first) / 3), address(last)],
            )
        }
    }
}
