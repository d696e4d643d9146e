//! What the kernel's tables hold of each tenant: its policy in each bank, how far it is ahead of its caps, its
//! counters, and whose slot it is. All but the policies outlast reloads.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;
use std::time::Duration;

use gateway_ebpf::abi::{BANKS, Policy, TagPair, TenantId, TenantState, map};
use gateway_ebpf::assignment::{ASSIGNMENTS_BITS, Assignment, Assignments};
use gateway_ebpf::counter::{Carried, Carries, Counter};
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::policer::fair::{self, Fair};
use gateway_ebpf::restriction::Restriction;
use gateway_ebpf::{Direction, REASON_SLOTS};

use super::capacity::Capacity;
use super::counting::Counting;
use super::error::DataplaneError;
use super::image::{Assigned, Image};
use super::mapped::MappedArray;
use super::tables::Maps;
use super::{reading, slots};
use crate::domain::{Backlog, DirectionCounters, QueueDrops};

/// Indexes among the 64-bit words of [`TenantState`].
const ARRIVAL: usize = std::mem::offset_of!(TenantState, arrival_ns) / 8;
const PASSED: usize = std::mem::offset_of!(TenantState, passed) / 8;

/// How often a tenant's counters are read again because one of them was being carried. A carry takes some
/// nanoseconds; a program that did not end it, which cannot be, would cost this and no more.
const READ_ATTEMPTS: usize = 1_000;

/// Typed access to the maps by tenant.
pub(super) struct TenantTables {
    slots: u32,
    policies_per_bank: u32,
    states: MappedArray<TenantState>,
    fair: MappedArray<Fair>,
    assignments: MappedArray<Assignments>,
    policies: MappedArray<Policy>,
    tags: MappedArray<TagPair>,
    refusals: MappedArray<u64>,
    measures_end: MappedArray<u64>,
    passed_carried: MappedArray<Carried>,
    dropped: MappedArray<Counter>,
    dropped_carried: MappedArray<Carried>,
    carries: MappedArray<Carries>,
    ids: MappedArray<TenantId>,
}

impl TenantTables {
    /// Takes the maps out of a loaded object.
    pub(super) fn new(maps: &mut Maps<'_>, capacity: &Capacity) -> Result<Self, DataplaneError> {
        Ok(Self {
            slots: capacity.tenants,
            policies_per_bank: capacity.policies,
            states: maps.array(map::TENANTS)?,
            fair: maps.array(map::FAIR)?,
            assignments: maps.array(map::ASSIGNMENTS)?,
            policies: maps.array(map::POLICIES)?,
            tags: maps.array(map::TAGS)?,
            refusals: maps.array(map::REFUSALS)?,
            measures_end: maps.array(map::MEASURES_END)?,
            passed_carried: maps.array(map::PASSED_CARRIED)?,
            dropped: maps.array(map::DROPPED)?,
            dropped_carried: maps.array(map::DROPPED_CARRIED)?,
            carries: maps.array(map::CARRIES)?,
            ids: maps.array(map::TENANT_IDS)?,
        })
    }

    /// Writes what a policy says of tenants into a bank that is not active.
    pub(super) fn write(&self, bank: u32, image: &Image) {
        self.policies.set_all(bank * self.policies_per_bank, &image.policies.all);
        for &Assigned { slot, policy, restriction, tags } in &image.tenants {
            self.tags.set(bank * self.slots + slot.0, &TagPair { tags, reserved: 0 });
            self.reassign(bank, slot, |assignment| assignment.with(policy, restriction));
        }
    }

    /// A tenant's restriction in a bank.
    pub(super) fn restriction(&self, bank: u32, slot: Slot) -> Restriction {
        let (word, shift) = self.assignment(bank, slot);
        Assignment::from_number((word.load(Relaxed) >> shift) as u32).restriction()
    }

    /// Gives a tenant a policy, by its number in a bank, and a restriction. The number is new in the bank, or has
    /// this policy already.
    pub(super) fn assign(
        &self,
        bank: u32,
        slot: Slot,
        (number, policy): (u32, &Policy),
        restriction: Restriction,
    ) {
        self.policies.set(bank * self.policies_per_bank + number, policy);
        self.reassign(bank, slot, |assignment| assignment.with(number, restriction));
    }

    /// What a bank says of a tenant.
    #[cfg(test)]
    pub(super) fn held(&self, bank: u32, slot: Slot) -> (Policy, Restriction, TagPair) {
        let (word, shift) = self.assignment(bank, slot);
        let assignment = Assignment::from_number((word.load(Relaxed) >> shift) as u32);
        let policy = self.policies.get(bank * self.policies_per_bank + assignment.policy());
        (policy, assignment.restriction(), self.tags.get(bank * self.slots + slot.0))
    }

    /// Changes a tenant's assignment in a bank, in spite of what programs mark in it meanwhile.
    fn reassign(&self, bank: u32, slot: Slot, change: impl Fn(Assignment) -> Assignment) {
        let (word, shift) = self.assignment(bank, slot);
        let changed = |word: u64| {
            let assignment = change(Assignment::from_number((word >> shift) as u32));
            Some(word & !(u64::from(u32::MAX) << shift) | u64::from(assignment.number()) << shift)
        };
        // Programs that see it see the policy that it names: their loads depend on it. Always some, so never an error.
        let _ = word.fetch_update(Release, Relaxed, changed);
    }

    /// The word that has a tenant's assignment in a bank, and from which bit on.
    fn assignment(&self, bank: u32, slot: Slot) -> (&AtomicU64, u32) {
        let index = bank * self.slots + slot.0;
        let within = index as usize % (1 << ASSIGNMENTS_BITS);
        let word = &self.assignments.words(index >> ASSIGNMENTS_BITS)[within / 2];
        let is_first = within.is_multiple_of(2) == cfg!(target_endian = "little");
        (word, if is_first { 0 } else { u32::BITS })
    }

    /// The words of a tenant's [`TenantState`].
    fn state(&self, slot: Slot, direction: Direction) -> &[AtomicU64] {
        self.states.words(self.state_index(slot, direction))
    }

    fn state_index(&self, slot: Slot, direction: Direction) -> u32 {
        direction.index() as u32 * self.slots + slot.0
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
            self.state(slot, direction).iter().for_each(|word| word.store(0, Relaxed));
            self.fair.clear(self.state_index(slot, direction));
            self.passed_carried.clear(self.state_index(slot, direction));
            for reason in 0..REASON_SLOTS {
                let index = self.dropped_index(reason, slot, direction);
                self.dropped.clear(index);
                self.dropped_carried.clear(index);
            }
        }
        (0..BANKS).for_each(|bank| self.reassign(bank, slot, |_| Assignment::default()));
        self.measures_end.clear(slot.0);
        self.refusals.clear(slot.0);
        self.ids.clear(slot.0);
    }

    fn dropped_index(&self, reason: usize, slot: Slot, direction: Direction) -> u32 {
        (reason as u32 * 2 + direction.index() as u32) * (self.slots + 1) + slot.0
    }

    /// The two words that count what passed.
    fn passed(&self, slot: Slot, direction: Direction) -> Counting<'_> {
        let carried = &self.passed_carried.words(self.state_index(slot, direction))[0];
        Counting { counter: &self.state(slot, direction)[PASSED], carried }
    }

    /// The two words that count what was dropped for the reason with this slot.
    fn dropped(&self, reason: usize, slot: Slot, direction: Direction) -> Counting<'_> {
        let index = self.dropped_index(reason, slot, direction);
        Counting { counter: &self.dropped.words(index)[0], carried: &self.dropped_carried.words(index)[0] }
    }

    /// Copies what the programs keep of a tenant between two packets from older maps, so that neither its cap
    /// nor a measure starts afresh.
    pub(super) fn copy_state(&self, slot: Slot, from: &Self, from_slot: Slot) {
        for direction in Direction::ALL {
            let arrival_ns = from.state(from_slot, direction)[ARRIVAL].load(Relaxed);
            self.state(slot, direction)[ARRIVAL].store(arrival_ns, Relaxed);
            let queues = from.fair.get(from.state_index(from_slot, direction));
            // What was counted is moved later, when nobody counts there any more.
            let queues = Fair { signals: 0, queue_full: 0, ..queues };
            self.fair.set(self.state_index(slot, direction), &queues);
        }
        self.refusals.set(slot.0, &from.refusals.get(from_slot.0));
        self.set_measures_end(slot.0, from.measures_end.get(from_slot.0));
    }

    /// Moves a tenant's counters here from older maps that no program uses any more. The programs may be counting
    /// here meanwhile.
    pub(super) fn move_counters(&self, slot: Slot, from: &Self, from_slot: Slot) {
        for direction in Direction::ALL {
            self.passed(slot, direction).add(from.passed(from_slot, direction).take());
            let from_queues = from.fair.words(from.state_index(from_slot, direction));
            let queues = self.fair.words(self.state_index(slot, direction));
            for counter in [fair::word::SIGNALS, fair::word::QUEUE_FULL] {
                queues[counter].fetch_add(from_queues[counter].swap(0, Relaxed), Relaxed);
            }
            for reason in 0..REASON_SLOTS {
                let taken = from.dropped(reason, from_slot, direction).take();
                self.dropped(reason, slot, direction).add(taken);
            }
        }
    }

    /// Counters of one direction of a slot.
    pub(super) fn counters(&self, slot: Slot, direction: Direction) -> DirectionCounters {
        let read = || DirectionCounters {
            passed: reading::tally(self.passed(slot, direction).total()),
            dropped: reading::by_reason(|reason| self.dropped(reason, slot, direction).total()),
            queue_drops: self.queue_drops(slot, direction),
        };
        self.while_nothing_is_carried(read)
    }

    /// Reads until nothing was carried from one word to another meanwhile.
    fn while_nothing_is_carried<T>(&self, read: impl Fn() -> T) -> T {
        let [begun, ended] = self.carries.words(0) else { return read() };
        for _ in 1..READ_ATTEMPTS {
            let ended = ended.load(Acquire);
            let value = read();
            fence(Acquire);
            if begun.load(Relaxed) == ended {
                return value;
            }
        }
        read()
    }

    /// Bytes that a slot put on the uplinks, up and down: what left, and what arrived, dropped here or not.
    pub(super) fn used(&self, slot: Slot) -> [u64; 2] {
        let read = || {
            let [up, down] = Direction::ALL.map(|direction| self.passed(slot, direction).total());
            let dropped = (0..REASON_SLOTS).map(|reason| self.dropped(reason, slot, Direction::Down).total());
            let dropped = dropped.fold(0_u64, |sum, total| sum.wrapping_add(reading::tally(total).bytes));
            [reading::tally(up).bytes, reading::tally(down).bytes.wrapping_add(dropped)]
        };
        self.while_nothing_is_carried(read)
    }

    fn queue_drops(&self, slot: Slot, direction: Direction) -> QueueDrops {
        let words = self.fair.words(self.state_index(slot, direction));
        let [signals, full] =
            [fair::word::SIGNALS, fair::word::QUEUE_FULL].map(|word| words[word].load(Relaxed));
        QueueDrops { signals, full }
    }

    /// How far a direction of a slot is ahead of its cap at `now_ns` of the programs' clock, `policy` being its own.
    pub(super) fn backlog(&self, slot: Slot, direction: Direction, policy: &Policy, now_ns: u64) -> Backlog {
        let arrival_ns = self.state(slot, direction)[ARRIVAL].load(Relaxed);
        let total_ns = arrival_ns.saturating_sub(now_ns);
        let unit_bits = policy.fair_unit_bits();
        let is_near = unit_bits != 0 && total_ns > fair::near_ns(policy.cap(direction).burst_ns());
        // Farther from the cap the queues are not drained: what they hold is of the past.
        let fair = if is_near { self.fair.get(self.state_index(slot, direction)) } else { Fair::default() };
        let queues = fair.queues().filter(|units| *units > 0);
        Backlog {
            total: Duration::from_nanos(total_ns),
            queues: queues.map(|units| Duration::from_nanos(units << unit_bits)).collect(),
        }
    }

    /// The policy that a slot has in a bank.
    pub(super) fn policy(&self, bank: u32, slot: Slot) -> Option<Policy> {
        let (word, shift) = self.assignment(bank, slot);
        let policy = Assignment::from_number((word.load(Relaxed) >> shift) as u32).policy();
        (policy < self.policies_per_bank).then(|| self.policies.get(bank * self.policies_per_bank + policy))
    }

    /// The detection class of a tenant; 0, the default one, if there is no such tenant or policy.
    pub(super) fn class_of(&self, bank: u32, slot: u32) -> u32 {
        if slot >= self.slots {
            return 0;
        }
        self.policy(bank, Slot(slot)).map_or(0, |policy| policy.class())
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
        for bank in 0..BANKS {
            let (word, shift) = self.assignment(bank, Slot(slot));
            let mark = u64::from(Assignment::MEASURED) << shift;
            if is_measured {
                word.fetch_or(mark, Relaxed);
            } else {
                word.fetch_and(!mark, Relaxed);
            }
        }
    }
}
