//! Which slot of the per-tenant arrays belongs to whom.
//!
//! A tenant keeps its slot for as long as it is configured, so its counters and bucket state survive
//! reloads. A slot is given away only after no packet can touch it any more and it has been wiped.

use std::collections::HashMap;

use gateway_ebpf::abi::TenantId;
use gateway_ebpf::lookup::Slot;

use super::reading::tenant_id;

/// Slots in use and free ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    by_id: HashMap<String, Slot>,
    free: Vec<Slot>,
}

impl Slots {
    /// All slots below `capacity`, taken as `ids` says.
    pub(super) fn new(capacity: u32, ids: impl Fn(Slot) -> TenantId) -> Self {
        let mut slots = Self::default();
        // Descending, so that the lowest free slot is handed out first.
        for slot in (0..capacity).rev().map(Slot) {
            match tenant_id(&ids(slot)) {
                Some(id) if !slots.by_id.contains_key(&id) => {
                    slots.by_id.insert(id, slot);
                }
                _ => slots.free.push(slot),
            }
        }
        slots
    }

    /// The slot of a tenant that has one.
    pub(super) fn get(&self, id: &str) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    /// Every tenant with its slot.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Slot)> {
        self.by_id.iter().map(|(id, slot)| (id.as_str(), *slot))
    }

    /// The free slots, in the order in which they are to be taken.
    pub(super) fn free(&self) -> impl Iterator<Item = Slot> {
        self.free.iter().rev().copied()
    }

    /// Gives the next free slot to a tenant that has none.
    pub(super) fn take(&mut self, id: &str) {
        if let Some(slot) = self.free.pop() {
            self.by_id.insert(id.to_owned(), slot);
        }
    }

    /// How many tenants have slots.
    pub(super) fn taken(&self) -> usize {
        self.by_id.len()
    }

    /// Gives up the slots of all tenants but those that `keep` wants; says which.
    pub(super) fn release(&mut self, keep: impl Fn(&str) -> bool) -> Vec<Slot> {
        let released: Vec<Slot> = self.by_id.extract_if(|id, _| !keep(id)).map(|(_, slot)| slot).collect();
        self.free.extend(&released);
        released
    }
}

/// An id as the data plane keeps it.
pub(super) fn encode(id: &str) -> TenantId {
    let mut bytes = [0; 64];
    bytes.iter_mut().zip(id.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_stable_and_reused_only_after_release() {
        let mut slots = Slots::new(2, |_| [0; 64]);
        assert_eq!(slots.free().collect::<Vec<_>>(), [Slot(0), Slot(1)]);
        slots.take("a");
        slots.take("b");
        assert_eq!((slots.get("a"), slots.get("b")), (Some(Slot(0)), Some(Slot(1))));
        assert_eq!(slots.free().next(), None);
        assert_eq!(slots.release(|id| id == "b"), [Slot(0)]);
        slots.take("c");
        assert_eq!(slots.get("c"), Some(Slot(0)));
        assert_eq!((slots.get("a"), slots.taken()), (None, 2));
    }

    #[test]
    fn a_predecessors_slots_are_found_again() {
        let ids = [encode("a"), [0; 64], encode(&"x".repeat(63))];
        let slots = Slots::new(3, |slot| ids[slot.0 as usize]);
        assert_eq!(slots.get("a"), Some(Slot(0)));
        assert_eq!(slots.get(&"x".repeat(63)), Some(Slot(2)));
        assert_eq!(slots.free().collect::<Vec<_>>(), [Slot(1)]);
    }
}
