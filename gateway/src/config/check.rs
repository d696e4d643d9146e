//! Checks between tenants: ids are unique, networks do not overlap, and all fit the tables.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::At;
use super::tenant::WrittenTenant;

/// Reports every id that an earlier tenant has; `tenants` are sorted by id.
pub(super) fn duplicate_ids(tenants: &[&WrittenTenant], found: &mut Diagnostics) {
    for same in tenants.chunk_by(|a, b| a.tenant.id == b.tenant.id) {
        let mut written = same.iter().filter_map(|tenant| tenant.id.as_ref());
        let Some(first) = written.next() else { continue };
        for span in written {
            found.push(
                Diagnostic::error(format!("two tenants have the id {}", same[0].tenant.id))
                    .at(span, "the second one")
                    .at(first, "the first one")
                    .help("an id stands for one tenant in counters, notices and the ledger: rename one"),
            );
        }
    }
}

/// Reports more tenants than the tables are made for.
pub(super) fn limit(tenants: &[&WrittenTenant], limit: Option<&At<u32>>, found: &mut Diagnostics) {
    let Some(At { value: limit, span }) = limit else { return };
    if tenants.len() > *limit as usize {
        found.push(
            Diagnostic::error(format!("there are {} tenants, but tables for {limit}", tenants.len()))
                .at(span, "too small")
                .help("raise it, or leave it out: then the tables have room for twice the tenants"),
        );
    }
}

/// One prefix of one tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Owned {
    network: IpNetwork,
    first: IpAddr,
    last: IpAddr,
    /// Index of its tenant.
    tenant: usize,
    /// Index among its tenant's prefixes.
    index: usize,
}

impl Owned {
    fn new(network: IpNetwork, tenant: usize, index: usize) -> Self {
        Self { network, first: network.network(), last: network.broadcast(), tenant, index }
    }

    /// Enclosing networks sort before what they enclose, and IPv4 before IPv6.
    fn order(&self) -> (IpAddr, u8) {
        (self.first, self.network.prefix())
    }

    /// Whether it holds all of `other`, which sorts after it.
    fn encloses(&self, other: &Self) -> bool {
        other.first <= self.last
    }
}

/// What is wrong with `inner`, which `outer` encloses or equals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Overlap {
    inner: Owned,
    outer: Owned,
}

/// Finds, for each prefix, the narrowest prefix of another tenant that encloses or equals it; if there is
/// none, an equal prefix of the same tenant. Two networks nest or have nothing in common, so one pass
/// in order is enough, with those that enclose the current one on a stack.
fn overlaps(mut prefixes: Vec<Owned>) -> Vec<Overlap> {
    prefixes.sort_by_key(Owned::order);
    let mut enclosing: Vec<Owned> = Vec::new();
    let mut overlaps = Vec::new();
    for inner in prefixes {
        while enclosing.pop_if(|outer| !outer.encloses(&inner)).is_some() {}
        let stranger = enclosing.iter().rev().find(|outer| outer.tenant != inner.tenant);
        let twin =
            enclosing.last().filter(|outer| (outer.tenant, outer.network) == (inner.tenant, inner.network));
        overlaps.extend(stranger.or(twin).map(|&outer| Overlap { inner, outer }));
        // Without twins a tenant's own run on the stack is at most 129 long, which bounds the search.
        if twin.is_none() {
            enclosing.push(inner);
        }
    }
    overlaps
}

/// Reports prefixes of different tenants that overlap, and prefixes that a tenant lists twice.
pub(super) fn overlapping_prefixes(tenants: &[&WrittenTenant], found: &mut Diagnostics) {
    let (mut v4, mut v6) = (Vec::with_capacity(tenants.len()), Vec::with_capacity(tenants.len()));
    for (tenant, written) in tenants.iter().enumerate() {
        for (index, network) in written.tenant.prefixes.iter().enumerate() {
            let family = if network.is_ipv4() { &mut v4 } else { &mut v6 };
            family.push(Owned::new(*network, tenant, index));
        }
    }
    // Apart, each is often sorted already, as tenants get their networks one after the other.
    for Overlap { inner, outer } in overlaps(v4).into_iter().chain(overlaps(v6)) {
        let (written, other) = (&tenants[inner.tenant], &tenants[outer.tenant]);
        let (span, other_span) = (&written.prefixes[inner.index], &other.prefixes[outer.index]);
        found.push(if inner.tenant == outer.tenant {
            Diagnostic::warning(format!("{} lists {} twice", written.title(), inner.network))
                .at(span, "the second time")
                .at(other_span, "the first time")
                .help("once is enough")
        } else {
            let how =
                if inner.network == outer.network { "is also a network" } else { "lies within a network" };
            Diagnostic::error(format!("{} of {} {how} of {}", inner.network, written.title(), other.title()))
                .at(span, written.title())
                .at(other_span, other.title())
                .help("an address has one tenant: split the network, or take it from one of them")
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipnetwork::{Ipv4Network, Ipv6Network};
    use proptest::prelude::*;

    use super::*;

    /// Networks crowded into few addresses, so that many nest or coincide.
    fn network() -> impl Strategy<Value = IpNetwork> {
        let v4 = (24_u8..=32, 0_u32..256).prop_map(|(prefix, host)| {
            let network = Ipv4Network::new((0x0a00_0000 + host).into(), prefix).unwrap();
            IpNetwork::new(network.network().into(), prefix).unwrap()
        });
        let v6 = (120_u8..=128, 0_u128..256).prop_map(|(prefix, host)| {
            let network = Ipv6Network::new((0x2001_0db8_u128 << 96 | host).into(), prefix).unwrap();
            IpNetwork::new(network.network().into(), prefix).unwrap()
        });
        prop_oneof![v4, v6]
    }

    fn key(owned: &Owned) -> (usize, usize) {
        (owned.tenant, owned.index)
    }

    proptest! {
        #[test]
        fn one_pass_finds_what_comparing_all_pairs_finds(
            tenants in proptest::collection::vec(proptest::collection::vec(network(), 1..6), 1..12)
        ) {
            let mut prefixes: Vec<Owned> = Vec::new();
            for (tenant, networks) in tenants.iter().enumerate() {
                prefixes.extend(
                    networks.iter().enumerate().map(|(index, &network)| Owned::new(network, tenant, index)),
                );
            }
            let found = overlaps(prefixes.clone());
            for Overlap { inner, outer } in &found {
                prop_assert!(outer.network.contains(inner.network.ip()));
                prop_assert!(outer.network.prefix() <= inner.network.prefix());
            }

            // Of an equal pair only the later one is reported, as in the sorted order.
            prefixes.sort_by_key(Owned::order);
            let mut expected = BTreeSet::new();
            for (rank, inner) in prefixes.iter().enumerate() {
                let clashes = prefixes[..rank].iter().any(|outer| {
                    outer.network.contains(inner.network.ip())
                        && outer.network.contains(inner.network.broadcast())
                        && (outer.tenant != inner.tenant || outer.network == inner.network)
                });
                if clashes {
                    expected.insert(key(inner));
                }
            }
            let found: BTreeSet<_> = found.iter().map(|overlap| key(&overlap.inner)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
