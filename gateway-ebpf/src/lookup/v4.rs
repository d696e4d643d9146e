//! IPv4: a multibit trie with strides 16, 8, 4, 4.
//!
//! Nodes hold 16 entries, which is a cache line: of networks up to a /28, thousands fit into a processor's
//! second-level cache (with nodes of 256 entries, random tenants of 100,000 cost a third more; see
//! docs/performance.md). The first two levels take several nodes in a row: 4,096 for the address's upper
//! 16 bits, then 16 for the next byte. An entry is empty, a tenant's slot, or the number of the first node
//! of the next level; prefixes are expanded to the stride that they end in (controlled prefix expansion,
//! Srinivasan and Varghese 1999), and a new level starts as copies of the entry it replaces, so the first
//! entry that is no child is the longest match.

use super::Slot;

/// Entries of one node.
pub const NODE_ENTRIES: usize = 16;
/// Nodes that make up the root.
pub const ROOT_NODES: u32 = 4_096;
/// Nodes that make up the second level below one entry of the root.
pub const SECOND_NODES: u32 = 16;

/// One node: 64 bytes.
pub type Node = [Entry; NODE_ENTRIES];

/// One entry of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Entry(u32);

const CHILD: u32 = 1 << 31;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// No tenant.
    Empty,
    /// This tenant.
    Tenant(Slot),
    /// Look further in the node with this number.
    Child(u32),
}

impl Entry {
    /// No tenant.
    pub const EMPTY: Self = Self(0);

    /// A tenant; `slot` is below 2^31 - 1.
    #[must_use]
    pub const fn tenant(slot: Slot) -> Self {
        Self(slot.0 + 1)
    }

    /// A child node; `node` is below 2^31.
    #[must_use]
    pub const fn child(node: u32) -> Self {
        Self(node | CHILD)
    }

    /// What it says.
    #[inline(always)]
    #[must_use]
    pub const fn decode(self) -> Decoded {
        if self.0 & CHILD != 0 {
            Decoded::Child(self.0 & !CHILD)
        } else if self.0 != 0 {
            Decoded::Tenant(Slot(self.0 - 1))
        } else {
            Decoded::Empty
        }
    }
}

/// Where nodes are read from: a map in the kernel, a slice on the host.
pub trait Nodes {
    /// One entry, `index` being below [`NODE_ENTRIES`], of node `node`; `None` outside the table.
    fn entry(&self, node: u32, index: u8) -> Option<Entry>;
}

/// The tenant that `address` (host byte order) belongs to.
#[inline(always)]
pub fn find(nodes: &impl Nodes, address: u32) -> Option<Slot> {
    let nibble = |from_the_right: u32| (address >> (4 * from_the_right)) as u8 & 15;
    let mut entry = nodes.entry(address >> 20, nibble(4))?;
    if let Decoded::Child(node) = entry.decode() {
        entry = nodes.entry(node + u32::from(nibble(3)), nibble(2))?;
        if let Decoded::Child(node) = entry.decode() {
            entry = nodes.entry(node, nibble(1))?;
            if let Decoded::Child(node) = entry.decode() {
                entry = nodes.entry(node, nibble(0))?;
            }
        }
    }
    match entry.decode() {
        Decoded::Tenant(slot) => Some(slot),
        Decoded::Empty | Decoded::Child(_) => None,
    }
}
