//! Whose address is whose, as the programs look it up (`gateway_ebpf::lookup`).

mod v4;
mod v6;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use gateway_ebpf::lookup::Slot;
use gateway_ebpf::lookup::v4::Node;
use ipnetwork::{Ipv4Network, Ipv6Network};

use v6::Table;

/// Networks and their tenants' slots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Networks {
    pub(super) v4: Vec<(Ipv4Network, Slot)>,
    pub(super) v6: Vec<(Ipv6Network, Slot)>,
}

/// The lookup tables for some networks. Most changes of a policy change no networks: then the tables of the
/// policy before serve again.
#[derive(Debug)]
pub(super) struct Index {
    networks: Networks,
    pub(super) v4_nodes: Vec<Node>,
    pub(super) v6: Table,
}

impl Index {
    /// Builds it. The IPv6 table is hashed with a seed of its own, which nobody outside can know.
    pub(super) fn new(networks: Networks) -> Self {
        let seed = RandomState::new().hash_one(());
        Self { v4_nodes: v4::build(&networks.v4), v6: v6::build(&networks.v6, seed), networks }
    }

    /// Whether it is the index for these networks.
    pub(super) fn is_for(&self, networks: &Networks) -> bool {
        self.networks == *networks
    }
}
