//! Builds the IPv6 table: every prefix, the markers on its search path, and what each of them matches.

use std::collections::{BTreeSet, HashMap, HashSet};

use gateway_ebpf::lookup::Slot;
use gateway_ebpf::lookup::v6::{Entry, LEVELS, PROBES, Shape, hash, masked};
use ipnetwork::Ipv6Network;

/// A table with the way to search it.
#[derive(Debug)]
pub(in super::super) struct Table {
    pub(in super::super) shape: Shape,
    pub(in super::super) entries: Vec<Entry>,
}

/// A masked address with its length: high, low, bits.
type Key = (u64, u64, u32);

/// The table for these prefixes (each of length 1 to 128, no two the same), hashed with `seed` or, if
/// that crowds some neighbourhood, with one derived from it.
pub(super) fn build(prefixes: &[(Ipv6Network, Slot)], seed: u64) -> Table {
    let lengths: BTreeSet<u8> = prefixes.iter().map(|(prefix, _)| prefix.prefix()).collect();
    let mut shape = Shape { levels: lengths.len() as u32, ..Shape::EMPTY };
    shape.lengths.iter_mut().zip(&lengths).for_each(|(place, length)| *place = *length);
    let values = matches(prefixes, &shape);
    let mut size = (values.len() * 2).next_power_of_two();
    let mut seed = seed;
    loop {
        // Half full, chains longer than eight are rare; a few tries find a seed without one. Then more room.
        for _ in 0..16 {
            shape.seed = seed;
            shape.mask = size as u32 - 1;
            if let Some(entries) = place(&values, &shape, size) {
                return Table { shape, entries };
            }
            seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        }
        size *= 2;
    }
}

/// All keys of the table, prefixes and markers, with the slot that each matches best.
fn matches(prefixes: &[(Ipv6Network, Slot)], shape: &Shape) -> Vec<(Key, Option<Slot>)> {
    let own = || prefixes.iter().map(|(prefix, slot)| (key(prefix), *slot));
    let mut all: Vec<(Key, Option<Slot>)> = own().map(|(key, slot)| (key, Some(slot))).collect();
    let lengths = &shape.lengths[..shape.levels as usize];
    if lengths.len() > 1 {
        let own: HashMap<Key, Slot> = own().collect();
        let mut markers = HashSet::new();
        for &(high, low, length) in own.keys() {
            for marker_length in search_path(lengths, length) {
                let (high, low) = masked(high, low, marker_length);
                let marker = (high, low, marker_length);
                if !own.contains_key(&marker) && markers.insert(marker) {
                    all.push((marker, best(&own, lengths, high, low, marker_length)));
                }
            }
        }
    }
    all
}

/// The longest prefix of at most `length` bits that covers this address.
fn best(own: &HashMap<Key, Slot>, lengths: &[u8], high: u64, low: u64, length: u32) -> Option<Slot> {
    let candidates = lengths.iter().rev().map(|candidate| u32::from(*candidate)).filter(|c| *c <= length);
    candidates.into_iter().find_map(|candidate| {
        let (high, low) = masked(high, low, candidate);
        own.get(&(high, low, candidate)).copied()
    })
}

/// The lengths at which the search for a prefix of `length` has to turn towards the longer ones.
fn search_path(lengths: &[u8], length: u32) -> Vec<u32> {
    let (mut from, mut to) = (0, lengths.len());
    let mut path = Vec::new();
    while from < to {
        let middle = (from + to) / 2;
        let here = u32::from(lengths[middle]);
        if here == length {
            break;
        }
        if here < length {
            path.push(here);
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    path
}

fn place(values: &[(Key, Option<Slot>)], shape: &Shape, size: usize) -> Option<Vec<Entry>> {
    let mut entries = vec![Entry::default(); size];
    for &((high, low, length), slot) in values {
        let start = hash(shape.seed, high, low, length);
        let free = (0..PROBES)
            .map(|step| (start.wrapping_add(step) & shape.mask) as usize)
            .find(|index| entries[*index].length == 0)?;
        entries[free] = Entry { high, low, length, best: slot.map_or(0, |slot| slot.0 + 1) };
    }
    Some(entries)
}

fn key(prefix: &Ipv6Network) -> Key {
    let bits = prefix.network().to_bits();
    ((bits >> 64) as u64, bits as u64, u32::from(prefix.prefix()))
}

const _: () = assert!(LEVELS == 128);

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_ebpf::lookup::v6::{self, find};
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    impl v6::Table for Table {
        fn entry(&self, index: u32) -> Option<&Entry> {
            self.entries.get(index as usize)
        }
    }

    fn lookup(table: &Table, address: Ipv6Addr) -> Option<Slot> {
        let bits = address.to_bits();
        find(table, &table.shape, (bits >> 64) as u64, bits as u64)
    }

    fn longest_match(prefixes: &[(Ipv6Network, Slot)], address: Ipv6Addr) -> Option<Slot> {
        let matching = prefixes.iter().filter(|(prefix, _)| prefix.contains(address));
        matching.max_by_key(|(prefix, _)| prefix.prefix()).map(|(_, slot)| *slot)
    }

    #[test]
    fn nothing_matches_nothing() {
        let table = build(&[], 7);
        assert_eq!(lookup(&table, Ipv6Addr::LOCALHOST), None);
    }

    #[test]
    fn every_length_at_once() {
        let address = Ipv6Addr::from_bits(u128::MAX / 3);
        let prefixes: Vec<_> = (1..=128_u8)
            .map(|length| {
                let network = Ipv6Network::new(address, length).unwrap().network();
                (Ipv6Network::new(network, length).unwrap(), Slot(u32::from(length)))
            })
            .collect();
        let table = build(&prefixes, 1);
        for wrong_bit in 0..128_u32 {
            let near = Ipv6Addr::from_bits(address.to_bits() ^ (1 << (127 - wrong_bit)));
            let expected = (wrong_bit > 0).then_some(Slot(wrong_bit));
            assert_eq!(lookup(&table, near), expected, "differs at bit {wrong_bit}");
        }
        assert_eq!(lookup(&table, address), Some(Slot(128)));
    }

    fn prefix() -> impl Strategy<Value = Ipv6Network> {
        (0_u128..4, 0_u128..16, any::<u64>(), 20_u8..=128).prop_map(|(a, b, low, length)| {
            let bits = 0x2001_0db8_u128 << 96 | a << 92 | b << 64 | u128::from(low);
            let network = Ipv6Network::new(Ipv6Addr::from_bits(bits), length).unwrap().network();
            Ipv6Network::new(network, length).unwrap()
        })
    }

    proptest! {
        #[test]
        fn finds_the_longest_match(
            prefixes in prop::collection::btree_set(prefix(), 0..60),
            seed in any::<u64>(),
            flips in prop::collection::vec(0_u32..128, 4),
        ) {
            let prefixes: Vec<_> = prefixes.into_iter().zip(0..).map(|(p, i)| (p, Slot(i))).collect();
            let table = build(&prefixes, seed);
            for (prefix, _) in &prefixes {
                let network = prefix.network().to_bits();
                let near = flips.iter().map(|bit| network ^ (1 << bit));
                for bits in near.chain([network, prefix.broadcast().to_bits()]) {
                    let address = Ipv6Addr::from_bits(bits);
                    prop_assert_eq!(lookup(&table, address), longest_match(&prefixes, address), "{}", address);
                }
            }
        }
    }
}
