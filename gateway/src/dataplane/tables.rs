//! The maps of one loaded object: written bank by bank, read without stopping anything.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use aya::Ebpf;
use aya::maps::{LpmTrie, Map, MapData, lpm_trie::Key};
use bytemuck::Zeroable as _;
use gateway_ebpf::abi::{
    ABI_VERSION, BankHeader, Bucket, Clock, Control, Drops, INTERFACE_SLOTS, InterfaceEntry,
    InterfaceTallies, LastVerdict, MAGIC, PeerKey, PortClasses, Tally as Words, TenantId, TenantPolicy, map,
};
use gateway_ebpf::lookup::{Slot, v4, v6};
use gateway_ebpf::standing::Standing;
use gateway_ebpf::{Direction, DropReason};

use super::capacity::{Capacity, IFINDEXES};
use super::clock::ProgramClock;
use super::error::{DataplaneError, chain};
use super::image::Image;
use super::index::Index;
use super::mapped::MappedArray;
use super::snapshot::{DirectionCounters, Tally};
use super::{grace, slots};

/// Index among the 64-bit words of [`Control`] of the one that holds [`Control::active_bank`] (its lower
/// half: the kernel's programs are little-endian) and [`Control::live`].
const ACTIVE_AND_LIVE: usize = 1;
const LIVE: u64 = 1 << 32;

/// Typed access to every map.
pub(super) struct Tables {
    pub(super) capacity: Capacity,
    control: MappedArray<Control>,
    bank_headers: MappedArray<BankHeader>,
    tenants: MappedArray<TenantPolicy>,
    v4_nodes: MappedArray<v4::Node>,
    v6_entries: MappedArray<v6::Entry>,
    port_classes: MappedArray<PortClasses>,
    peers: LpmTrie<MapData, [u8; 24], u64>,
    buckets: MappedArray<Bucket>,
    passed: MappedArray<Words>,
    dropped: MappedArray<Drops>,
    interfaces: MappedArray<InterfaceEntry>,
    interface_tallies: MappedArray<InterfaceTallies>,
    tenant_ids: MappedArray<TenantId>,
    clock: MappedArray<Clock>,
    last_verdict: MappedArray<LastVerdict>,
    program_clock: ProgramClock,
    /// What this controller has written into each bank.
    indexes: [Option<Arc<Index>>; 2],
}

impl Tables {
    /// Takes the maps out of a loaded object, and signs them if they are new.
    pub(super) fn new(
        object: &mut Ebpf,
        capacity: Capacity,
        program_clock: ProgramClock,
    ) -> Result<Self, DataplaneError> {
        let sizes = capacity.maps();
        let mut maps = Maps { object, sizes: &sizes };
        let tables = Self {
            capacity,
            control: maps.array(map::CONTROL)?,
            bank_headers: maps.array(map::BANK_HEADERS)?,
            tenants: maps.array(map::TENANTS)?,
            v4_nodes: maps.array(map::V4_NODES)?,
            v6_entries: maps.array(map::V6_ENTRIES)?,
            port_classes: maps.array(map::PORT_CLASSES)?,
            peers: maps.peers()?,
            buckets: maps.array(map::BUCKETS)?,
            passed: maps.array(map::PASSED)?,
            dropped: maps.array(map::DROPPED)?,
            interfaces: maps.array(map::INTERFACES)?,
            interface_tallies: maps.array(map::INTERFACE_TALLIES)?,
            tenant_ids: maps.array(map::TENANT_IDS)?,
            clock: maps.array(map::CLOCK)?,
            last_verdict: maps.array(map::LAST_VERDICT)?,
            program_clock,
            indexes: [None, None],
        };
        if tables.control.get(0) == Control::zeroed() {
            let control = Control { magic: MAGIC, abi_version: ABI_VERSION, active_bank: 0, live: 0 };
            tables.control.set(0, &control);
        }
        Ok(tables)
    }

    /// Says that packets are judged by these maps from now on; see [`Control::live`].
    pub(super) fn mark_live(&self) {
        self.control.words(0)[ACTIVE_AND_LIVE].fetch_or(LIVE, Release);
    }

    /// The index in force, if this controller has written it.
    pub(super) fn index(&self) -> Option<&Arc<Index>> {
        self.indexes[self.active_bank() as usize].as_ref()
    }

    fn active_bank(&self) -> u32 {
        self.control.get(0).active_bank
    }

    /// Slots as these maps know them.
    pub(super) fn slots(&self) -> slots::Slots {
        slots::Slots::new(self.capacity.tenants, |slot| self.tenant_ids.get(slot.0))
    }

    /// Writes `image` into the bank that is not active and switches to it. On an error the active bank
    /// has not been touched.
    pub(super) fn switch_to(&mut self, image: &Image) -> Result<(), DataplaneError> {
        let bank = 1 - self.active_bank();
        self.clear_peers(bank)?;
        self.write_peers(bank, image)?;
        for (slot, policy) in &image.tenants {
            self.tenants.set(bank * self.capacity.tenants + slot.0, policy);
        }
        let is_written =
            self.indexes[bank as usize].as_ref().is_some_and(|index| Arc::ptr_eq(index, &image.index));
        if !is_written {
            self.v4_nodes.set_all(bank * self.capacity.v4_nodes, &image.index.v4_nodes);
            self.v6_entries.set_all(bank * self.capacity.v6_entries, &image.index.v6.entries);
            self.indexes[bank as usize] = Some(Arc::clone(&image.index));
        }
        for (protocol, classes) in (0..).zip(&image.port_classes) {
            self.port_classes.set(bank * 2 + protocol, classes);
        }
        self.bank_headers.set(bank, &image.header);
        // The bank becomes visible after everything in it: x86 and arm64 order the programs' dependent
        // loads behind their load of this word.
        let word = &self.control.words(0)[ACTIVE_AND_LIVE];
        word.store(u64::from(bank) | word.load(Relaxed) & LIVE, Release);
        grace::wait();
        Ok(())
    }

    /// Changes one word of a tenant's policy in the active bank.
    pub(super) fn set_standing(&self, slot: Slot, standing: Standing) {
        let index = self.active_bank() * self.capacity.tenants + slot.0;
        let policy = self.tenants.get(index);
        if *policy.standing() != standing {
            // The other words are written with what they hold.
            self.tenants.set(index, &policy.with_standing(standing));
        }
    }

    fn write_peers(&mut self, bank: u32, image: &Image) -> Result<(), DataplaneError> {
        for peer in &image.peers {
            let key = PeerKey { bank: bank as u8, ..peer.key };
            let key = Key::new(PeerKey::FIXED_BITS + peer.address_bits, bytemuck::cast(key));
            let expires_ns = peer.expires.map_or(u64::MAX, |instant| self.program_clock.ns_at(instant));
            self.peers.insert(&key, expires_ns, 0).map_err(|error| {
                DataplaneError::new("writing mail exemptions", chain(&error), "The old policy stays in force")
            })?;
        }
        Ok(())
    }

    fn clear_peers(&mut self, bank: u32) -> Result<(), DataplaneError> {
        let keys: Vec<_> = self.peers.keys().filter_map(Result::ok).collect();
        let stale = keys.into_iter().filter(|key| {
            let key_fields: PeerKey = bytemuck::cast(key.data());
            u32::from(key_fields.bank) == bank
        });
        for key in stale {
            self.peers.remove(&key).map_err(|error| {
                DataplaneError::new(
                    "clearing old mail exemptions",
                    chain(&error),
                    "The old policy stays in force",
                )
            })?;
        }
        Ok(())
    }

    /// Says whose slot it is.
    pub(super) fn name_slot(&self, slot: Slot, id: &str) {
        self.tenant_ids.set(slot.0, &slots::encode(id));
    }

    /// Wipes a slot that no bank in use refers to.
    pub(super) fn wipe_slot(&self, slot: Slot) {
        for index in [slot.0 * 2, slot.0 * 2 + 1] {
            self.buckets.clear(index);
            self.dropped.clear(index);
            (0..self.capacity.stripes).for_each(|stripe| self.passed.clear(self.passed_index(stripe, index)));
        }
        self.tenant_ids.clear(slot.0);
    }

    fn passed_index(&self, stripe: u32, slot_and_direction: u32) -> u32 {
        stripe * self.capacity.tenants * 2 + slot_and_direction
    }

    /// Copies the bucket states of a tenant from older maps, so that a cap does not start afresh.
    pub(super) fn copy_buckets(&self, slot: Slot, from: &Self, from_slot: Slot) {
        for direction in Direction::ALL.map(|direction| direction.index() as u32) {
            self.buckets.set(slot.0 * 2 + direction, &from.buckets.get(from_slot.0 * 2 + direction));
        }
    }

    /// Moves a tenant's counters here from older maps that no program uses any more. The programs may
    /// be counting here meanwhile: drops are added atomically, passes into the controller's own stripe.
    pub(super) fn move_counters(&self, slot: Slot, from: &Self, from_slot: Slot) {
        for direction in Direction::ALL.map(|direction| direction.index() as u32) {
            let (to_index, from_index) = (slot.0 * 2 + direction, from_slot.0 * 2 + direction);
            self.dropped.move_words(to_index, from.dropped.words(from_index));
            for stripe in 0..from.capacity.stripes {
                let words = from.passed.words(from.passed_index(stripe, from_index));
                self.passed.move_words(self.passed_index(0, to_index), words);
            }
        }
    }

    /// Moves the counters of an interface slot, as [`Self::move_counters`] does.
    pub(super) fn move_interface_counters(&self, slot: u32, from: &Self, from_slot: u32) {
        for stripe in 0..from.capacity.stripes {
            let words = from.interface_tallies.words(stripe * INTERFACE_SLOTS + from_slot);
            self.interface_tallies.move_words(slot, words);
        }
    }

    /// Counters of one direction of a slot.
    pub(super) fn counters(&self, slot: Slot, direction: Direction) -> DirectionCounters {
        let index = slot.0 * 2 + direction.index() as u32;
        let mut passed = Tally::default();
        for stripe in 0..self.capacity.stripes {
            passed += tally(self.passed.get(self.passed_index(stripe, index)));
        }
        DirectionCounters { passed, dropped: by_reason(&self.dropped.get(index)) }
    }

    /// Counters of an interface slot, summed over the CPUs.
    pub(super) fn interface_counters(&self, slot: u32) -> InterfaceTallies {
        let mut sum = InterfaceTallies::zeroed();
        for stripe in 0..self.capacity.stripes {
            let one = self.interface_tallies.get(stripe * INTERFACE_SLOTS + slot);
            let words = bytemuck::cast_slice_mut::<_, u64>(std::slice::from_mut(&mut sum));
            let addends = bytemuck::cast_slice::<_, u64>(std::slice::from_ref(&one));
            words.iter_mut().zip(addends).for_each(|(sum, addend)| *sum += addend);
        }
        sum
    }

    /// What is registered for an interface index.
    pub(super) fn interface(&self, ifindex: u32) -> InterfaceEntry {
        if ifindex < IFINDEXES { self.interfaces.get(ifindex) } else { InterfaceEntry::default() }
    }

    /// Registers an interface, or forgets it with the default entry.
    pub(super) fn set_interface(&self, ifindex: u32, entry: InterfaceEntry) {
        self.interfaces.set(ifindex, &entry);
    }

    /// Slots that some interface index is registered for.
    pub(super) fn interface_slots(&self) -> std::collections::HashSet<u32> {
        (0..IFINDEXES).map(|ifindex| self.interfaces.get(ifindex).slot).filter(|slot| *slot != 0).collect()
    }

    /// Forgets every interface index but these.
    pub(super) fn forget_interfaces_except(&self, ifindexes: &[u32]) {
        let others = (0..IFINDEXES).filter(|ifindex| !ifindexes.contains(ifindex));
        others.for_each(|ifindex| self.interfaces.clear(ifindex));
    }

    /// Zeroes the counters of an interface slot that is not registered.
    pub(super) fn wipe_interface(&self, slot: u32) {
        (0..self.capacity.stripes)
            .for_each(|stripe| self.interface_tallies.clear(stripe * INTERFACE_SLOTS + slot));
    }

    /// Sets the virtual clock; only programs that were loaded with one look at it.
    pub(super) fn set_clock(&self, now_ns: u64) {
        self.clock.words(0)[0].store(now_ns, Relaxed);
    }

    /// What programs on the virtual clock said of the last packet.
    pub(super) fn last_verdict(&self) -> LastVerdict {
        self.last_verdict.get(0)
    }
}

/// A tally of the ABI as the controller's.
pub(super) fn tally(words: Words) -> Tally {
    Tally { packets: words.packets, bytes: words.bytes }
}

/// The reasons that occurred.
pub(super) fn by_reason(drops: &Drops) -> Vec<(DropReason, Tally)> {
    let all = DropReason::ALL.iter().map(|reason| (*reason, tally(drops[reason.slot()])));
    all.filter(|(_, tally)| tally.packets > 0).collect()
}

struct Maps<'a> {
    object: &'a mut Ebpf,
    sizes: &'a [(&'static str, u32, usize)],
}

impl Maps<'_> {
    fn take(&mut self, name: &str) -> Result<Map, DataplaneError> {
        self.object.take_map(name).ok_or_else(|| wrong_object(name, "not in the object"))
    }

    fn array<T: bytemuck::Pod>(&mut self, name: &'static str) -> Result<MappedArray<T>, DataplaneError> {
        let Map::Array(data) = self.take(name)? else { return Err(wrong_object(name, "not an array")) };
        let entries = self.sizes.iter().find(|(map, ..)| *map == name).map_or(0, |(_, entries, _)| *entries);
        MappedArray::new(data.fd(), entries).map_err(|error| wrong_object(name, error))
    }

    fn peers(&mut self) -> Result<LpmTrie<MapData, [u8; 24], u64>, DataplaneError> {
        LpmTrie::try_from(self.take(map::PEERS)?).map_err(|error| wrong_object(map::PEERS, chain(&error)))
    }
}

fn wrong_object(map: &str, cause: impl std::fmt::Display) -> DataplaneError {
    DataplaneError::new(
        format!("mapping the table {map}"),
        cause,
        "If the kernel is short of memory, free some or lower [limits]; else the embedded object is not of this build",
    )
}
