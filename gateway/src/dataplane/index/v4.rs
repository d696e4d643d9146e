//! Builds the IPv4 trie.

use gateway_ebpf::lookup::Slot;
use gateway_ebpf::lookup::v4::{Decoded, Entry, NODE_ENTRIES, Node, ROOT_NODES, SECOND_NODES};
use ipnetwork::Ipv4Network;

/// The trie for these prefixes; the root comes first. The longest prefix wins, whatever the order.
pub(super) fn build(prefixes: &[(Ipv4Network, Slot)]) -> Vec<Node> {
    let mut nodes = vec![[Entry::EMPTY; NODE_ENTRIES]; ROOT_NODES as usize];
    let mut by_length: Vec<_> = prefixes.iter().collect();
    // Shorter prefixes first: longer ones then overwrite them where they overlap.
    by_length.sort_by_key(|(prefix, _)| prefix.prefix());
    for (prefix, slot) in by_length {
        insert(&mut nodes, *prefix, *slot);
    }
    nodes
}

/// Levels: the bits of the address that they have looked at in the end, and the nodes that they take.
const LEVELS: [(u8, u32); 4] = [(16, ROOT_NODES), (24, SECOND_NODES), (28, 1), (32, 1)];

fn insert(nodes: &mut Vec<Node>, prefix: Ipv4Network, slot: Slot) {
    let (address, length) = (prefix.network().to_bits(), prefix.prefix());
    let mut first_node = 0;
    for (level, (end, count)) in LEVELS.into_iter().enumerate() {
        // Among the entries of the level, which lie in a row across its nodes.
        let entry = (address >> (32 - end)) as usize % (count as usize * NODE_ENTRIES);
        if length <= end {
            for entry in entry..entry + (1 << (end - length)) {
                nodes[first_node + entry / NODE_ENTRIES][entry % NODE_ENTRIES] = Entry::tenant(slot);
            }
            return;
        }
        let below = LEVELS.get(level + 1).map_or(0, |(_, count)| *count);
        first_node = child(nodes, first_node + entry / NODE_ENTRIES, entry % NODE_ENTRIES, below);
    }
}

/// The first node of the level below an entry, made if need be: filled with what the entry said so far.
fn child(nodes: &mut Vec<Node>, node: usize, index: usize, count: u32) -> usize {
    let entry = nodes[node][index];
    if let Decoded::Child(child) = entry.decode() {
        return child as usize;
    }
    let child = nodes.len();
    nodes.resize(child + count as usize, [entry; NODE_ENTRIES]);
    nodes[node][index] = Entry::child(child as u32);
    child
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_ebpf::lookup::v4::{Nodes, find};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    struct Slice<'a>(&'a [Node]);

    impl Nodes for Slice<'_> {
        fn entry(&self, node: u32, index: u8) -> Option<Entry> {
            self.0.get(node as usize).map(|node| node[usize::from(index)])
        }
    }

    fn longest_match(prefixes: &[(Ipv4Network, Slot)], address: Ipv4Addr) -> Option<Slot> {
        let matching = prefixes.iter().filter(|(prefix, _)| prefix.contains(address));
        matching.max_by_key(|(prefix, _)| prefix.prefix()).map(|(_, slot)| *slot)
    }

    #[test]
    fn nothing_matches_nothing() {
        let nodes = build(&[]);
        assert_eq!(nodes.len(), ROOT_NODES as usize);
        assert_eq!(find(&Slice(&nodes), 0x0102_0304), None);
    }

    #[test]
    fn memory_grows_with_the_networks_in_use() {
        // 1,024 tenants with a /28 each in one /18: 16 nodes for the /16, 64 for its /24s.
        let prefixes: Vec<_> = (0..1_024_u32)
            .map(|i| (Ipv4Network::new(Ipv4Addr::from_bits(0xcb00_0000 + i * 16), 28).unwrap(), Slot(i)))
            .collect();
        assert_eq!(build(&prefixes).len(), ROOT_NODES as usize + 16 + 64);
    }

    fn prefix() -> impl Strategy<Value = Ipv4Network> {
        // A small space, so that prefixes nest and addresses hit.
        (0_u32..8, any::<u16>(), 8_u8..=32).prop_map(|(high, low, length)| {
            let address = Ipv4Addr::from_bits(0xc000_0000 | high << 16 | u32::from(low));
            Ipv4Network::new(Ipv4Network::new(address, length).unwrap().network(), length).unwrap()
        })
    }

    proptest! {
        #[test]
        fn finds_the_longest_match(
            prefixes in prop::collection::btree_set(prefix(), 0..60),
            addresses in prop::collection::vec((0_u32..9, any::<u16>()), 50),
        ) {
            let prefixes: Vec<_> = prefixes.into_iter().zip(0..).map(|(p, i)| (p, Slot(i))).collect();
            let nodes = build(&prefixes);
            let near = prefixes.iter().flat_map(|(prefix, _)| {
                [prefix.network(), prefix.broadcast(), Ipv4Addr::from_bits(prefix.broadcast().to_bits().wrapping_add(1))]
            });
            let random = addresses.iter().map(|(h, l)| Ipv4Addr::from_bits(0xc000_0000 | h << 16 | u32::from(*l)));
            for address in random.chain(near) {
                prop_assert_eq!(find(&Slice(&nodes), address.to_bits()), longest_match(&prefixes, address), "{}", address);
            }
        }
    }
}
