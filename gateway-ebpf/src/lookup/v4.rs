//! IPv4: a multibit trie with strides 16, 8, 8.
//!
//! Nodes hold 256 entries. The root's 65,536 entries are the first [`ROOT_NODES`] nodes, indexed by
//! the address's upper 16 bits; the other nodes are indexed by one further byte each. An entry is
//! empty, a tenant's slot, or the number of a child node; prefixes are expanded to the stride that
//! they end in (controlled prefix expansion, Srinivasan and Varghese 1999), and a child node starts as
//! a copy of the entry it replaces, so the first entry that is no child is the longest match.

use super::Slot;

/// Entries of one node.
pub const NODE_ENTRIES: usize = 256;
/// Nodes that make up the root.
pub const ROOT_NODES: u32 = 256;

/// One node: 1 KiB.
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
    /// One entry of node `node`; `None` outside the table.
    fn entry(&self, node: u32, index: u8) -> Option<Entry>;
}

/// The tenant that `address` (host byte order) belongs to.
#[inline(always)]
pub fn find(nodes: &impl Nodes, address: u32) -> Option<Slot> {
    let [a, b, c, d] = address.to_be_bytes();
    let mut entry = nodes.entry(u32::from(a), b)?;
    if let Decoded::Child(node) = entry.decode() {
        entry = nodes.entry(node, c)?;
        if let Decoded::Child(node) = entry.decode() {
            entry = nodes.entry(node, d)?;
        }
    }
    match entry.decode() {
        Decoded::Tenant(slot) => Some(slot),
        Decoded::Empty | Decoded::Child(_) => None,
    }
}
