//! Providers of any size, made up: tenant number i has the networks i, i + tenants, i + 2 x tenants...
//! of each family.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use fairway_tests::bench;
use gateway::config::{BitRate, Config, Tenant};
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

/// The first IPv4 network; each is a /28, so that a million fit into 10.0.0.0/8.
pub(crate) const FIRST_V4: u32 = 0x0a00_0000;
/// Addresses in one.
pub(crate) const V4_STEP: u32 = 16;
/// The first IPv6 network, as bits 16 to 47 of its address; each is a /48.
pub(crate) const FIRST_V6: u32 = 0;
/// The first 16 bits of them all.
const V6_BLOCK: u128 = 0x2a00 << 112;

/// How large a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) tenants: u32,
    /// Networks of each tenant in each family.
    pub(crate) networks_each: u32,
}

/// 100,000 tenants with a network of each family.
pub(crate) const LARGE: Scale = Scale { tenants: 100_000, networks_each: 1 };

impl Scale {
    /// Networks of one family.
    pub(crate) fn networks(self) -> u32 {
        self.tenants * self.networks_each
    }

    /// Its policy: port 25 closed, and a cap that nobody reaches for an hour. Detection is measured apart.
    pub(crate) fn config(self) -> Config {
        let mut config = bench::config(
            "[fair_use]\nceiling = '10 Gbit/s'\n[detect]\nmode = 'off'\n[[tenant]]\nid = 'a'\nprefixes = ['192.0.2.0/24']\ncontact = 'a@b.example'",
        );
        let template = Tenant { burst: Duration::from_secs(3_600), ..Tenant::clone(&config.tenants[0]) };
        let tenants = (0..self.tenants).map(|tenant| {
            let networks = (0..self.networks_each).map(|index| tenant + index * self.tenants);
            let id = id(tenant);
            Tenant {
                name: id.clone(),
                id,
                prefixes: networks.flat_map(networks_of).collect(),
                ..template.clone()
            }
        });
        config.tenants = tenants.map(Arc::new).collect();
        config
    }

    /// The same with a cap that every tenant is over after two frames.
    pub(crate) fn config_over_cap(self) -> Config {
        let mut config = self.config();
        for tenant in config.tenants.iter_mut().map(Arc::make_mut) {
            (tenant.cap_up, tenant.cap_down) = (BitRate::MIN, BitRate::MIN);
            tenant.burst = Duration::from_millis(10);
        }
        config
    }
}

/// The id of tenant number `tenant`; in the order of the numbers.
pub(crate) fn id(tenant: u32) -> String {
    format!("t{tenant:06}")
}

/// Network number `number` of both families.
pub(crate) fn networks_of(number: u32) -> [IpNetwork; 2] {
    let v4 = Ipv4Network::new(Ipv4Addr::from_bits(FIRST_V4 + number * V4_STEP), 28);
    let v6 = Ipv6Network::new(Ipv6Addr::from_bits(V6_BLOCK | u128::from(FIRST_V6 + number) << 80), 48);
    [v4.expect("28 bits are a length").into(), v6.expect("48 bits are a length").into()]
}
