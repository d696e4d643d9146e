//! Which side of the gateway a captured packet was on, by the tenants' prefixes.

use std::ops::RangeInclusive;

use gateway_ebpf::parse::{self, Frame as _, Network};
use ipnetwork::IpNetwork;

use crate::config::{Config, Side};

/// The tenants' own networks.
#[derive(Debug)]
pub(super) struct Networks {
    /// Disjoint, ascending.
    v4: Vec<RangeInclusive<u32>>,
    v6: Vec<RangeInclusive<u128>>,
}

impl Networks {
    pub(super) fn of(config: &Config) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in config.tenants.iter().flat_map(|tenant| &tenant.prefixes) {
            match prefix {
                IpNetwork::V4(prefix) => v4.push(prefix.network().to_bits()..=prefix.broadcast().to_bits()),
                IpNetwork::V6(prefix) => v6.push(prefix.network().to_bits()..=prefix.broadcast().to_bits()),
            }
        }
        Self { v4: disjoint(v4), v6: disjoint(v6) }
    }

    /// The sides that a packet passes, in this order: the tenant side if it comes from a tenant, the
    /// uplink side if it goes to one. Looks only at the addresses: headers that lie elsewhere are the
    /// programs' to judge. A frame without addresses is nobody's.
    pub(super) fn sides(&self, frame: &[u8]) -> [Option<Side>; 2] {
        let from_and_to_tenant = parse::ethernet(frame).ok().and_then(|link| match link.network {
            Network::Ipv4 => {
                let at = |offset| Some(holds(&self.v4, frame.be32(link.next + offset)?));
                Some((at(12)?, at(16)?))
            }
            Network::Ipv6 => {
                let half = |offset| frame.be64(link.next + offset).map(u128::from);
                let at = |offset| Some(holds(&self.v6, half(offset)? << 64 | half(offset + 8)?));
                Some((at(8)?, at(24)?))
            }
            Network::LinkControl | Network::Unknown => None,
        });
        let (from_tenant, to_tenant) = from_and_to_tenant.unwrap_or_default();
        [from_tenant.then_some(Side::Tenant), to_tenant.then_some(Side::Uplink)]
    }
}

/// Sorts prefixes and leaves out those within others; a tenant's own may be nested.
fn disjoint<T: Ord>(mut ranges: Vec<RangeInclusive<T>>) -> Vec<RangeInclusive<T>> {
    ranges.sort_by(|a, b| a.start().cmp(b.start()).then(b.end().cmp(a.end())));
    ranges.dedup_by(|later, earlier| later.end() <= earlier.end());
    ranges
}

fn holds<T: Ord>(ranges: &[RangeInclusive<T>], address: T) -> bool {
    let after = ranges.partition_point(|range| *range.start() <= address);
    after.checked_sub(1).is_some_and(|last| *ranges[last].end() >= address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_what_some_prefix_contains(
            prefixes in prop::collection::vec((any::<u8>(), 24_u8..=32), 0..12),
            address in any::<u8>(),
        ) {
            let networks: Vec<ipnetwork::Ipv4Network> = prefixes
                .into_iter()
                .map(|(low, length)| ipnetwork::Ipv4Network::new([10, 0, 0, low].into(), length).unwrap())
                .collect();
            let ranges = networks.iter().map(|n| n.network().to_bits()..=n.broadcast().to_bits());
            let address = std::net::Ipv4Addr::from([10, 0, 0, address]);
            prop_assert_eq!(
                holds(&disjoint(ranges.collect()), address.to_bits()),
                networks.iter().any(|network| network.contains(address)),
            );
        }
    }
}
