//! How large the kernel's tables are made, and what that costs.

use gateway_ebpf::REASON_SLOTS;
use gateway_ebpf::abi::{
    BANKS, BankHeader, Clock, Control, EVENT_RING_BYTES, EventTallies, INTERFACE_SLOTS, InterfaceEntry,
    InterfaceTallies, LastVerdict, Policy, TagPair, TenantId, TenantState, map,
};
use gateway_ebpf::assignment::{ASSIGNMENTS_BITS, Assignments, MOST_POLICIES};
use gateway_ebpf::counter::{Carried, Carries, Counter};
use gateway_ebpf::detect::record::{Detection, REPORTS, Report, region};
use gateway_ebpf::detect::rules::{CLASSES, Rules};
use gateway_ebpf::detect::sighting::Sighting;
use gateway_ebpf::detect::source::Source;
use gateway_ebpf::detect::{contact, place};
use gateway_ebpf::lookup::{v4, v6};
use gateway_ebpf::policer::fair::Fair;
use gateway_ebpf::port::PortClasses;

use super::image::Image;

/// Entries of [`map::INTERFACES`]: interface indexes that can be policed. They only grow while a
/// machine is up, one by one with every interface that is made.
pub(super) const IFINDEXES: u32 = 65_536;

/// Upper bound of [`map::PEERS`]; its entries are allocated one by one.
const PEERS: u32 = 1 << 20;

/// Smallest table for tenants.
const LEAST_TENANTS: usize = 1_024;

/// Smallest table for policies, so that a small provider may invent some without its tables being replaced.
const LEAST_POLICIES: usize = 256;

/// Sizes that depend on the config. The rest follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// Tenant slots, a multiple of [`SLOTS_AT_ONCE`].
    pub(super) tenants: u32,
    /// Policies per bank.
    pub(super) policies: u32,
    /// IPv4 nodes per bank.
    pub(super) v4_nodes: u32,
    /// IPv6 entries per bank, a power of two.
    pub(super) v6_entries: u32,
    /// Sets of sources, a power of two.
    pub(super) source_sets: u32,
    /// Sets of contacts in a region, a power of two.
    pub(super) contact_sets: u32,
    /// Counter stripes: the controller's and one per possible CPU.
    pub(super) stripes: u32,
}

/// Slots whose assignments share a value of their map.
const SLOTS_AT_ONCE: u32 = 1 << ASSIGNMENTS_BITS;

impl Capacity {
    /// Room for `image`, for as many tenants again (or `wanted_tenants`), and for half as many
    /// networks again.
    pub(super) fn for_image(image: &Image, wanted_tenants: Option<u32>, cpus: u32) -> Self {
        let tenants = wanted_tenants.map_or(image.tenants.len() * 2, |wanted| wanted as usize);
        let tenants = tenants.max(LEAST_TENANTS).max(image.tenants.len()) as u32;
        Self {
            tenants: tenants.next_multiple_of(SLOTS_AT_ONCE),
            policies: (image.policies.all.len() * 2).max(LEAST_POLICIES).min(MOST_POLICIES as usize) as u32,
            v4_nodes: (image.index.v4_nodes.len() + image.index.v4_nodes.len() / 2) as u32,
            v6_entries: (image.index.v6.entries.len() as u32 * 2).max(64).next_power_of_two(),
            source_sets: source_sets(image.detection.sources),
            contact_sets: contact_sets(image.detection.contacts),
            stripes: cpus + 1,
        }
    }

    /// Room for next to nothing.
    pub(super) fn smallest(cpus: u32) -> Self {
        Self {
            tenants: SLOTS_AT_ONCE,
            policies: 1,
            v4_nodes: 1,
            v6_entries: 1,
            source_sets: 1,
            contact_sets: 1,
            stripes: cpus + 1,
        }
    }

    /// Whether `image` fits.
    pub(super) fn fits(&self, image: &Image) -> bool {
        image.tenants.len() <= self.tenants as usize
            && image.policies.all.len() <= self.policies as usize
            && image.index.v4_nodes.len() <= self.v4_nodes as usize
            && image.index.v6.entries.len() <= self.v6_entries as usize
            && source_sets(image.detection.sources) <= self.source_sets
            && contact_sets(image.detection.contacts) <= self.contact_sets
    }

    /// `max_entries` of every map, with the size of a value as the kernel stores it.
    pub(super) fn maps(&self) -> [(&'static str, u32, usize); 31] {
        [
            (map::CONTROL, 1, size_of::<Control>()),
            (map::BANK_HEADERS, BANKS, size_of::<BankHeader>()),
            (map::TENANTS, 2 * self.tenants, size_of::<TenantState>()),
            (map::FAIR, 2 * self.tenants, size_of::<Fair>()),
            (map::ASSIGNMENTS, (BANKS * self.tenants) >> ASSIGNMENTS_BITS, size_of::<Assignments>()),
            (map::POLICIES, BANKS * self.policies, size_of::<Policy>()),
            (map::TAGS, BANKS * self.tenants, size_of::<TagPair>()),
            (map::V4_NODES, BANKS * self.v4_nodes, size_of::<v4::Node>()),
            (map::V6_ENTRIES, BANKS * self.v6_entries, size_of::<v6::Entry>()),
            (map::PORT_CLASSES, BANKS * 2, size_of::<PortClasses>()),
            // Allocated as exemptions are written.
            (map::PEERS, PEERS, 0),
            (map::REFUSALS, self.tenants, size_of::<u64>()),
            (map::MEASURES_END, self.tenants, size_of::<u64>()),
            (map::PASSED_CARRIED, 2 * self.tenants, size_of::<Carried>()),
            (map::DROPPED, self.drops(), size_of::<Counter>()),
            (map::DROPPED_CARRIED, self.drops(), size_of::<Carried>()),
            (map::CARRIES, 1, size_of::<Carries>()),
            (map::INTERFACES, IFINDEXES, size_of::<InterfaceEntry>()),
            (map::INTERFACE_TALLIES, self.stripes * INTERFACE_SLOTS, size_of::<InterfaceTallies>()),
            (map::EGRESS, INTERFACE_SLOTS, size_of::<[u32; 2]>()),
            (map::TENANT_IDS, self.tenants, size_of::<TenantId>()),
            (map::EVENTS, EVENT_RING_BYTES, 1),
            (map::EVENT_TALLIES, self.stripes, size_of::<EventTallies>()),
            (map::CLOCK, 1, size_of::<Clock>()),
            (map::RULES, BANKS * CLASSES, size_of::<Rules>()),
            (map::DETECTION, 1, size_of::<Detection>()),
            (map::SOURCES, self.source_sets * place::WAYS, size_of::<Source>()),
            (map::CONTACTS, region::COUNT as u32 * self.contact_sets, size_of::<contact::Set>()),
            (map::REPORTS, REPORTS, size_of::<Report>()),
            (map::SIGHTING, 1, size_of::<Sighting>()),
            (map::LAST_VERDICT, 1, size_of::<LastVerdict>()),
        ]
    }

    /// Counters of drops.
    fn drops(&self) -> u32 {
        REASON_SLOTS as u32 * 2 * (self.tenants + 1)
    }

    /// Bytes of kernel memory for all maps, exemptions aside.
    pub(super) fn bytes(&self) -> u64 {
        self.maps().iter().map(|(_, entries, size)| u64::from(*entries) * *size as u64).sum()
    }
}

/// Twice as many places as sources, so that a set of eight seldom fills up: at that load, one in a
/// thousand does (Poisson, mean 2.4 to 4).
fn source_sets(sources: u32) -> u32 {
    (sources.max(64) * 2 / place::WAYS).next_power_of_two()
}

/// As many contacts in all regions together.
fn contact_sets(contacts: u32) -> u32 {
    (contacts / (contact::WAYS * region::COUNT) as u32).max(64).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_within_its_budget() {
        // 100,000 tenants on two CPUs, each with a network of each family, the IPv4 ones so far apart that
        // every one takes a node of its own: room for twice the tenants and half as many networks again.
        let v4_nodes = 4_096 + 16 * 391 + 100_000;
        let capacity = Capacity {
            tenants: 200_000,
            policies: 256,
            v4_nodes: v4_nodes * 3 / 2,
            v6_entries: 524_288,
            source_sets: source_sets(10_000),
            contact_sets: contact_sets(524_288),
            stripes: 3,
        };
        let bytes = capacity.bytes();
        assert!(bytes < 270 << 20, "{} MiB", bytes >> 20);
        // The phantom queues, of that: two of 128 bytes for each of 200,000 slots.
        let queues = capacity
            .maps()
            .iter()
            .find(|(map, ..)| *map == map::FAIR)
            .map(|(_, entries, size)| *entries as usize * size);
        assert_eq!(queues, Some(51_200_000));
        // Detection, of that.
        let detection = |(map, entries, size): &(&str, u32, usize)| {
            let is_of_detection = [map::SOURCES, map::CONTACTS, map::REPORTS, map::RULES].contains(map);
            if is_of_detection { *entries as usize * size } else { 0 }
        };
        let detection: usize = capacity.maps().iter().map(detection).sum();
        assert!(detection <= 48 << 20, "{} KiB", detection >> 10);
        // A small provider.
        let capacity = Capacity {
            tenants: 1_024,
            policies: 256,
            v4_nodes: 6_500,
            v6_entries: 64,
            source_sets: source_sets(512),
            contact_sets: contact_sets(32_768),
            stripes: 5,
        };
        assert!(capacity.bytes() < 6 << 20, "{} KiB", capacity.bytes() >> 10);
    }
}
