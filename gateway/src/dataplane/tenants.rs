//! What the kernel's tables hold of each tenant: its policy in each bank, how far it is ahead of its caps, its
//! counters, and whose slot it is. All but the policies outlast reloads.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use gateway_ebpf::abi::{Drops, Policy, TagPair, Tally as Words, TenantId, TenantState, map};
use gateway_ebpf::assignment::Assignment;
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::standing::Standing;
use gateway_ebpf::{Direction, REASON_SLOTS};

use super::capacity::Capacity;
use super::error::DataplaneError;
use super::image::{Assigned, Image};
use super::mapped::MappedArray;
use super::snapshot::DirectionCounters;
use super::tables::Maps;
use super::{reading, slots};

/// Indexes among the 64-bit words of [`TenantState`].
const ARRIVAL: usize = std::mem::offset_of!(TenantState, arrival_ns) / 8;
const ASSIGNMENT: usize = std::mem::offset_of!(TenantState, assignment) / 8;

/// Typed access to the maps by tenant.
pub(super) struct TenantTables {
    slots: u32,
    policies_per_bank: u32,
    stripes: u32,
    states: MappedArray<TenantState>,
    policies: MappedArray<Policy>,
    tags: MappedArray<TagPair>,
    refusals: MappedArray<u64>,
    measures_end: MappedArray<u64>,
    passed: MappedArray<Words>,
    dropped: MappedArray<Drops>,
    ids: MappedArray<TenantId>,
}

impl TenantTables {
    /// Takes the maps out of a loaded object.
    pub(super) fn new(maps: &mut Maps<'_>, capacity: &Capacity) -> Result<Self, DataplaneError> {
        Ok(Self {
            slots: capacity.tenants,
            policies_per_bank: capacity.policies,
            stripes: capacity.stripes,
            states: maps.array(map::TENANTS)?,
            policies: maps.array(map::POLICIES)?,
            tags: maps.array(map::TAGS)?,
            refusals: maps.array(map::REFUSALS)?,
            measures_end: maps.array(map::MEASURES_END)?,
            passed: maps.array(map::PASSED)?,
            dropped: maps.array(map::DROPPED)?,
            ids: maps.array(map::TENANT_IDS)?,
        })
    }

    /// Writes what a policy says of tenants into a bank that is not active.
    pub(super) fn write(&self, bank: u32, image: &Image) {
        self.policies.set_all(bank * self.policies_per_bank, &image.policies);
        for &Assigned { slot, policy, standing, tags } in &image.tenants {
            self.tags.set(bank * self.slots + slot.0, &TagPair { tags, reserved: 0 });
            self.reassign(slot, |assignment| assignment.with(bank, policy, standing));
        }
    }

    /// Changes a tenant's standing in a bank.
    pub(super) fn set_standing(&self, bank: u32, slot: Slot, standing: Standing) {
        self.reassign(slot, |assignment| assignment.with(bank, assignment.policy(bank), standing));
    }

    /// Changes a tenant's assignment in both directions, in spite of what programs mark in it meanwhile.
    fn reassign(&self, slot: Slot, change: impl Fn(Assignment) -> Assignment) {
        for direction in Direction::ALL {
            let word = &self.state(slot.0, direction)[ASSIGNMENT];
            let changed = |word| Some(change(Assignment::from_word(word)).word());
            // Always some, so never an error.
            let _ = word.fetch_update(Relaxed, Relaxed, changed);
        }
    }

    /// The words of a tenant's [`TenantState`].
    fn state(&self, slot: u32, direction: Direction) -> &[AtomicU64] {
        self.states.words(direction.index() as u32 * self.slots + slot)
    }

    /// Says whose slot it is.
    pub(super) fn name_slot(&self, slot: Slot, id: &str) {
        self.ids.set(slot.0, &slots::encode(id));
    }

    /// Whose slot it is.
    pub(super) fn slot_name(&self, slot: Slot) -> Option<String> {
        if slot.0 < self.slots { reading::tenant_id(&self.ids.get(slot.0)) } else { None }
    }

    /// The same as the map holds it.
    pub(super) fn id_bytes(&self, slot: Slot) -> TenantId {
        self.ids.get(slot.0)
    }

    /// Wipes a slot that no bank in use refers to.
    pub(super) fn wipe(&self, slot: Slot) {
        for direction in Direction::ALL {
            self.state(slot.0, direction).iter().for_each(|word| word.store(0, Relaxed));
            (0..REASON_SLOTS)
                .for_each(|reason| self.dropped.clear(self.dropped_index(reason, slot, direction)));
            (0..self.stripes)
                .for_each(|stripe| self.passed.clear(self.passed_index(stripe, slot, direction)));
        }
        self.measures_end.clear(slot.0);
        self.refusals.clear(slot.0);
        self.ids.clear(slot.0);
    }

    fn passed_index(&self, stripe: u32, slot: Slot, direction: Direction) -> u32 {
        (stripe * 2 + direction.index() as u32) * self.slots + slot.0
    }

    fn dropped_index(&self, reason: usize, slot: Slot, direction: Direction) -> u32 {
        (reason as u32 * 2 + direction.index() as u32) * (self.slots + 1) + slot.0
    }

    /// Copies what the programs keep of a tenant between two packets from older maps, so that neither its cap
    /// nor a measure starts afresh.
    pub(super) fn copy_state(&self, slot: Slot, from: &Self, from_slot: Slot) {
        for direction in Direction::ALL {
            let arrival_ns = from.state(from_slot.0, direction)[ARRIVAL].load(Relaxed);
            self.state(slot.0, direction)[ARRIVAL].store(arrival_ns, Relaxed);
        }
        self.refusals.set(slot.0, &from.refusals.get(from_slot.0));
        self.set_measures_end(slot.0, from.measures_end.get(from_slot.0));
    }

    /// Moves a tenant's counters here from older maps that no program uses any more. The programs may
    /// be counting here meanwhile: drops are added atomically, passes into the controller's own stripe.
    pub(super) fn move_counters(&self, slot: Slot, from: &Self, from_slot: Slot) {
        for direction in Direction::ALL {
            for reason in 0..REASON_SLOTS {
                // What they say of samples adds up to nonsense, which is over with the second.
                let words = from.dropped.words(from.dropped_index(reason, from_slot, direction));
                self.dropped.move_words(self.dropped_index(reason, slot, direction), words);
            }
            for stripe in 0..from.stripes {
                let words = from.passed.words(from.passed_index(stripe, from_slot, direction));
                self.passed.move_words(self.passed_index(0, slot, direction), words);
            }
        }
    }

    /// Counters of one direction of a slot.
    pub(super) fn counters(&self, slot: Slot, direction: Direction) -> DirectionCounters {
        let passed = |stripe| self.passed.get(self.passed_index(stripe, slot, direction));
        DirectionCounters {
            passed: reading::passed((0..self.stripes).map(passed)),
            dropped: reading::by_reason(|reason| {
                let Drops { packets, bytes } = self.dropped.get(self.dropped_index(reason, slot, direction));
                Words { packets: packets.packets(), bytes }
            }),
        }
    }

    /// How far a direction of a slot is ahead of its cap at `now_ns` of the programs' clock.
    pub(super) fn backlog(&self, slot: Slot, direction: Direction, now_ns: u64) -> Duration {
        let arrival_ns = self.state(slot.0, direction)[ARRIVAL].load(Relaxed);
        Duration::from_nanos(arrival_ns.saturating_sub(now_ns))
    }

    /// The detection class of a tenant; 0, the default one, if there is no such tenant or policy.
    pub(super) fn class_of(&self, bank: u32, slot: u32) -> u32 {
        if slot >= self.slots {
            return 0;
        }
        let word = self.state(slot, Direction::Up)[ASSIGNMENT].load(Relaxed);
        let policy = Assignment::from_word(word).policy(bank);
        if policy < self.policies_per_bank {
            self.policies.get(bank * self.policies_per_bank + policy).class()
        } else {
            0
        }
    }

    /// Says that a measure against a source of the tenant holds until then, at least.
    pub(super) fn prolong_measures(&self, slot: u32, until_ns: u64) {
        self.measures_end.words(slot)[0].fetch_max(until_ns, Relaxed);
        self.mark_measured(slot, true);
    }

    /// Says when the last measure against a source of the tenant ends, and marks the tenant; 0: there is none.
    pub(super) fn set_measures_end(&self, slot: u32, end_ns: u64) {
        self.measures_end.words(slot)[0].store(end_ns, Relaxed);
        self.mark_measured(slot, end_ns != 0);
    }

    fn mark_measured(&self, slot: u32, is_measured: bool) {
        let word = &self.state(slot, Direction::Up)[ASSIGNMENT];
        if is_measured {
            word.fetch_or(Assignment::MEASURED, Relaxed);
        } else {
            word.fetch_and(!Assignment::MEASURED, Relaxed);
        }
    }
}
