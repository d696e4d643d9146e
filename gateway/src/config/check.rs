//! Checks between tenants: ids are unique, networks do not overlap, and all fit the tables.

use std::cmp::Reverse;
use std::net::{Ipv4Addr, Ipv6Addr};

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

/// One prefix of one tenant; addresses as the numbers that they are, `A`, since all of them pass through the
/// processor's caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Owned<A> {
    first: A,
    last: A,
    /// Index of its tenant.
    tenant: u32,
    /// Index among its tenant's prefixes.
    index: u32,
}

impl<A: Ord + Copy> Owned<A> {
    /// Enclosing networks sort before what they enclose.
    fn order(&self) -> (A, Reverse<A>) {
        (self.first, Reverse(self.last))
    }

    /// Whether it holds all of `other`, which sorts after it.
    fn encloses(&self, other: &Self) -> bool {
        other.first <= self.last
    }
}

/// What is wrong with `inner`, which `outer` encloses or equals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Overlap<A> {
    inner: Owned<A>,
    outer: Owned<A>,
}

/// Where a prefix is: index of its tenant, and among its tenant's prefixes.
type PlaceOfPrefix = (usize, usize);

impl<A> Overlap<A> {
    /// Of the inner one and of the outer one.
    fn places(self) -> (PlaceOfPrefix, PlaceOfPrefix) {
        let place = |owned: Owned<A>| (owned.tenant as usize, owned.index as usize);
        (place(self.inner), place(self.outer))
    }
}

/// Finds, for each prefix, the narrowest prefix of another tenant that encloses or equals it; if there is
/// none, an equal prefix of the same tenant. Two networks nest or have nothing in common, so one pass
/// in order is enough, with those that enclose the current one on a stack.
fn overlaps<A: Ord + Copy>(mut prefixes: Vec<Owned<A>>) -> Vec<Overlap<A>> {
    prefixes.sort_by_key(Owned::order);
    let mut enclosing: Vec<Owned<A>> = Vec::new();
    let mut overlaps = Vec::new();
    for inner in prefixes {
        while enclosing.pop_if(|outer| !outer.encloses(&inner)).is_some() {}
        let stranger = enclosing.iter().rev().find(|outer| outer.tenant != inner.tenant);
        let twin =
            enclosing.last().filter(|outer| (outer.tenant, outer.order()) == (inner.tenant, inner.order()));
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
    for (tenant, written) in (0..).zip(tenants) {
        for (index, network) in (0..).zip(&written.tenant.prefixes) {
            match network {
                IpNetwork::V4(network) => {
                    let [first, last] = [network.network(), network.broadcast()].map(Ipv4Addr::to_bits);
                    v4.push(Owned { first, last, tenant, index });
                }
                IpNetwork::V6(network) => {
                    let [first, last] = [network.network(), network.broadcast()].map(Ipv6Addr::to_bits);
                    v6.push(Owned { first, last, tenant, index });
                }
            }
        }
    }
    // Apart, each is often sorted already, as tenants get their networks one after the other.
    let (v4, v6) = (overlaps(v4).into_iter(), overlaps(v6).into_iter());
    for (inner, outer) in v4.map(Overlap::places).chain(v6.map(Overlap::places)) {
        found.push(describe(tenants, inner, outer));
    }
}

/// Describes that the prefix `inner` equals or lies within `outer`, each by its place.
fn describe(tenants: &[&WrittenTenant], inner: PlaceOfPrefix, outer: PlaceOfPrefix) -> Diagnostic {
    let written = |(tenant, index): PlaceOfPrefix| {
        let tenant = tenants[tenant];
        (tenant, tenant.tenant.prefixes[index], &tenant.prefixes[index])
    };
    let ((tenant, network, span), (other, other_network, other_span)) = (written(inner), written(outer));
    if inner.0 == outer.0 {
        return Diagnostic::warning(format!("{} lists {network} twice", tenant.title()))
            .at(span, "the second time")
            .at(other_span, "the first time")
            .help("once is enough");
    }
    let how = if network == other_network { "is also a network" } else { "lies within a network" };
    Diagnostic::error(format!("{network} of {} {how} of {}", tenant.title(), other.title()))
        .at(span, tenant.title())
        .at(other_span, other.title())
        .help("an address has one tenant: split the network, or take it from one of them")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Networks crowded into few addresses, so that many nest or coincide, as first and last address.
    fn network() -> impl Strategy<Value = (u32, u32)> {
        (0_u32..=8, 0_u32..256).prop_map(|(host_bits, address)| {
            let first = address >> host_bits << host_bits;
            (first, first + (1 << host_bits) - 1)
        })
    }

    proptest! {
        #[test]
        fn one_pass_finds_what_comparing_all_pairs_finds(
            tenants in proptest::collection::vec(proptest::collection::vec(network(), 1..6), 1..12)
        ) {
            let mut prefixes = Vec::new();
            for (tenant, networks) in (0..).zip(&tenants) {
                prefixes.extend(
                    (0..).zip(networks).map(|(index, &(first, last))| Owned { first, last, tenant, index }),
                );
            }
            let contains = |outer: &Owned<u32>, inner: &Owned<u32>| {
                outer.first <= inner.first && inner.last <= outer.last
            };
            let found = overlaps(prefixes.clone());
            for Overlap { inner, outer } in &found {
                prop_assert!(contains(outer, inner));
            }

            // Of an equal pair only the later one is reported, as in the sorted order.
            prefixes.sort_by_key(Owned::order);
            let mut expected = BTreeSet::new();
            for (rank, inner) in prefixes.iter().enumerate() {
                let clashes = prefixes[..rank].iter().any(|outer| {
                    let is_twin = (outer.first, outer.last) == (inner.first, inner.last);
                    contains(outer, inner) && (outer.tenant != inner.tenant || is_twin)
                });
                if clashes {
                    expected.insert((inner.tenant, inner.index));
                }
            }
            let found: BTreeSet<_> = found.iter().map(|Overlap { inner, .. }| (inner.tenant, inner.index)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
