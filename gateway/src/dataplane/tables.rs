//! The maps of one loaded object: written bank by bank, read without stopping anything.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use aya::Ebpf;
use aya::maps::{LpmTrie, Map, MapData, RingBuf, lpm_trie::Key};
use bytemuck::Zeroable as _;
use gateway_ebpf::Direction;
use gateway_ebpf::abi::{
    self, ABI_VERSION, BankHeader, Control, EventTallies, INTERFACE_SLOTS, InterfaceEntry, InterfaceTallies,
    LastVerdict, MAGIC, PeerKey, Policy, map,
};
use gateway_ebpf::lookup::{Slot, v4, v6};
use gateway_ebpf::port::PortClasses;
use gateway_ebpf::restriction::Restriction;
use ipnetwork::IpNetwork;

use super::capacity::{Capacity, IFINDEXES};
use super::clock::{Clock, ProgramClock};
use super::detection::{DetectionTables, Judged};
use super::egress::Egress;
use super::error::{DataplaneError, chain};
use super::events::EventCounters;
use super::image::{Image, Peer};
use super::index::Index;
use super::mapped::MappedArray;
use super::tenants::TenantTables;
use super::{grace, reading, slots};
use crate::detect::MeasureInForce;
use crate::domain::Backlog;

/// Index among the 64-bit words of [`Control`] of the one that holds [`Control::active_bank`] (its lower
/// half: the kernel's programs are little-endian) and [`Control::live`].
const ACTIVE_AND_LIVE: usize = 1;
const LIVE: u64 = 1 << 32;

/// Typed access to every map.
pub(super) struct Tables {
    pub(super) capacity: Capacity,
    control: MappedArray<Control>,
    bank_headers: MappedArray<BankHeader>,
    /// Shared with whoever reads counters beside.
    pub(super) tenants: Arc<TenantTables>,
    v4_nodes: MappedArray<v4::Node>,
    v6_entries: MappedArray<v6::Entry>,
    port_classes: MappedArray<PortClasses>,
    peers: LpmTrie<MapData, [u8; 24], u64>,
    interfaces: MappedArray<InterfaceEntry>,
    interface_tallies: MappedArray<InterfaceTallies>,
    pub(super) egress: Egress,
    pub(super) events: RingBuf<MapData>,
    event_tallies: MappedArray<EventTallies>,
    pub(super) detection: DetectionTables,
    clock: MappedArray<abi::Clock>,
    last_verdict: MappedArray<LastVerdict>,
    /// What exemptions lapse by, and events are timed by.
    pub(super) boot_clock: Clock,
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
            tenants: Arc::new(TenantTables::new(&mut maps, &capacity)?),
            v4_nodes: maps.array(map::V4_NODES)?,
            v6_entries: maps.array(map::V6_ENTRIES)?,
            port_classes: maps.array(map::PORT_CLASSES)?,
            peers: maps.peers()?,
            interfaces: maps.array(map::INTERFACES)?,
            interface_tallies: maps.array(map::INTERFACE_TALLIES)?,
            egress: Egress::new(maps.take(map::EGRESS)?)?,
            events: maps.events()?,
            event_tallies: maps.array(map::EVENT_TALLIES)?,
            detection: DetectionTables::new(&mut maps)?,
            clock: maps.array(map::CLOCK)?,
            last_verdict: maps.array(map::LAST_VERDICT)?,
            boot_clock: Clock::boot(program_clock),
            indexes: [None, None],
        };
        if tables.control.get(0) == Control::zeroed() {
            let control = Control { magic: MAGIC, abi_version: ABI_VERSION, active_bank: 0, live: 0 };
            tables.control.set(0, &control);
            tables.detection.sign();
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
        slots::Slots::new(self.capacity.tenants, |slot| self.tenants.id_bytes(slot))
    }

    /// Writes `image` into the bank that is not active and switches to it. On an error the active bank
    /// has not been touched.
    pub(super) fn switch_to(&mut self, image: &Image) -> Result<(), DataplaneError> {
        let bank = 1 - self.active_bank();
        self.clear_peers(bank)?;
        self.write_peers(bank, image)?;
        self.tenants.write(bank, image);
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
        self.detection.write(bank, &image.detection);
        self.bank_headers.set(bank, &image.header);
        // The bank becomes visible after everything in it: x86 and arm64 order the programs' dependent
        // loads behind their load of this word.
        let word = &self.control.words(0)[ACTIVE_AND_LIVE];
        word.store(u64::from(bank) | word.load(Relaxed) & LIVE, Release);
        grace::wait();
        Ok(())
    }

    /// Where a tenant's cap stands in each direction.
    pub(super) fn backlogs(&self, slot: Slot, now_ns: u64) -> Option<[Backlog; 2]> {
        let policy = self.tenants.policy(self.active_bank(), slot)?;
        Some(Direction::ALL.map(|direction| self.tenants.backlog(slot, direction, &policy, now_ns)))
    }

    /// A tenant's restriction in the active bank.
    pub(super) fn restriction(&self, slot: Slot) -> Restriction {
        self.tenants.restriction(self.active_bank(), slot)
    }

    /// Gives a tenant of the active bank a policy, by its number there, and a restriction.
    pub(super) fn assign(&self, slot: Slot, policy: (u32, &Policy), restriction: Restriction) {
        self.tenants.assign(self.active_bank(), slot, policy, restriction);
    }

    /// Lists peers of `after` in the active bank that are not in `before`, or until another time. On an error the
    /// bank lists what it did.
    pub(super) fn open_peers(&mut self, before: &[Peer], after: &[Peer]) -> Result<(), DataplaneError> {
        let bank = self.active_bank();
        for (index, peer) in after.iter().enumerate().filter(|(_, peer)| !before.contains(peer)) {
            if let Err(error) = self.write_peer(bank, peer) {
                for undone in &after[..index] {
                    let earlier = before.iter().find(|earlier| earlier.is_for_same(undone));
                    let _ = match earlier {
                        Some(earlier) => self.write_peer(bank, earlier),
                        None => self.remove_peer(bank, undone),
                    };
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes peers of `before` from the active bank that are not in `after`.
    pub(super) fn close_peers(&mut self, before: &[Peer], after: &[Peer]) -> Result<(), DataplaneError> {
        let bank = self.active_bank();
        let stale = before.iter().filter(|earlier| !after.iter().any(|later| later.is_for_same(earlier)));
        // The same host may be in it twice, by two exemptions.
        let mut removed: Vec<&Peer> = Vec::new();
        for peer in stale {
            if !removed.iter().any(|other| other.is_for_same(peer)) {
                self.remove_peer(bank, peer)?;
                removed.push(peer);
            }
        }
        Ok(())
    }

    fn write_peer(&mut self, bank: u32, peer: &Peer) -> Result<(), DataplaneError> {
        let expires_ns = peer.expires.map_or(u64::MAX, |instant| self.boot_clock.ns_at(instant));
        self.peers.insert(&peer_key(bank, peer), expires_ns, 0).map_err(|error| {
            DataplaneError::new("writing mail exemptions", chain(&error), "The old policy stays in force")
        })
    }

    fn remove_peer(&mut self, bank: u32, peer: &Peer) -> Result<(), DataplaneError> {
        self.peers.remove(&peer_key(bank, peer)).map_err(|error| {
            DataplaneError::new(
                "removing a mail exemption",
                chain(&error),
                "It is tried again with a whole policy",
            )
        })
    }

    /// What the active bank says of a tenant.
    #[cfg(test)]
    pub(super) fn held(&self, slot: Slot) -> (Policy, Restriction, abi::TagPair) {
        self.tenants.held(self.active_bank(), slot)
    }

    /// Peers of the active bank, with how many bits of the key count and when they lapse.
    #[cfg(test)]
    pub(super) fn peers_in_force(&self) -> Vec<(PeerKey, u32, u64)> {
        let bank = self.active_bank();
        let all = self.peers.iter().map(Result::unwrap);
        let all = all.map(|(key, expires_ns)| (bytemuck::cast(key.data()), key.prefix_len(), expires_ns));
        all.filter(|(key, ..): &(PeerKey, u32, u64)| u32::from(key.bank) == bank).collect()
    }

    fn write_peers(&mut self, bank: u32, image: &Image) -> Result<(), DataplaneError> {
        image.peers.iter().try_for_each(|peer| self.write_peer(bank, peer))
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

    /// Wipes a slot that no bank in use refers to.
    pub(super) fn wipe_slot(&self, slot: Slot) {
        self.detection.forget(slot.0, None);
        self.tenants.wipe(slot);
    }

    /// Moves the counters of an interface slot, as [`TenantTables::move_counters`] does.
    pub(super) fn move_interface_counters(&self, slot: u32, from: &Self, from_slot: u32) {
        for stripe in 0..from.capacity.stripes {
            let words = from.interface_tallies.words(stripe * INTERFACE_SLOTS + from_slot);
            self.interface_tallies.move_words(slot, words);
        }
    }

    /// Counters of an interface slot, summed over the CPUs.
    pub(super) fn interface_counters(&self, slot: u32) -> InterfaceTallies {
        let stripes = 0..self.capacity.stripes;
        reading::interface(stripes.map(|stripe| self.interface_tallies.get(stripe * INTERFACE_SLOTS + slot)))
    }

    /// Moves the tallies of events, as [`TenantTables::move_counters`] does.
    pub(super) fn move_event_tallies(&self, from: &Self) {
        (0..from.capacity.stripes)
            .for_each(|stripe| self.event_tallies.move_words(0, from.event_tallies.words(stripe)));
    }

    /// Events that never arrived, summed over the CPUs.
    pub(super) fn event_counters(&self) -> EventCounters {
        let stripes = (0..self.capacity.stripes).map(|stripe| self.event_tallies.get(stripe));
        stripes.fold(EventCounters::default(), |sum, tallies| EventCounters {
            lost: sum.lost + tallies.lost,
            suppressed: sum.suppressed + tallies.suppressed,
        })
    }

    /// The counters' slot of an interface index; 0 if it is not registered.
    pub(super) fn interface_slot(&self, ifindex: u32) -> u32 {
        if ifindex < IFINDEXES { reading::interface_slot(self.interfaces.get(ifindex)) } else { 0 }
    }

    /// Registers an interface, or forgets it with the default entry.
    pub(super) fn set_interface(&self, ifindex: u32, entry: InterfaceEntry) {
        self.interfaces.set(ifindex, &entry);
    }

    /// Changes the Ethernet address of a registered interface.
    pub(super) fn set_mac(&self, ifindex: u32, mac: [u8; 6]) {
        let entry = self.interfaces.get(ifindex);
        if entry.slot != 0 && entry.mac != mac {
            self.interfaces.set(ifindex, &InterfaceEntry { mac, ..entry });
        }
    }

    /// Slots that some interface index is registered for.
    pub(super) fn interface_slots(&self) -> std::collections::HashSet<u32> {
        (0..IFINDEXES).map(|ifindex| self.interface_slot(ifindex)).filter(|slot| *slot != 0).collect()
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

    /// What the clock shows: the virtual one, or what the programs read last.
    pub(super) fn clock_ns(&self) -> u64 {
        self.clock.get(0).now_ns
    }

    /// Sets the virtual clock; only programs that were loaded with one look at it.
    pub(super) fn set_clock(&self, now_ns: u64) {
        self.clock.words(0)[0].store(now_ns, Relaxed);
    }

    /// Judges sources that went quiet, as [`DetectionTables::confirm`] does.
    pub(super) fn confirm(&self, now_ns: u64) {
        let bank = self.active_bank();
        let class_of = |slot: u32| self.tenants.class_of(bank, slot);
        for Judged { slot, until_ns } in self.detection.confirm(bank, now_ns, class_of) {
            self.tenants.prolong_measures(slot, until_ns);
        }
    }

    /// Takes a measure against a source of a tenant, `now_ns` and `until_ns` on the coarse clock; false if there is no
    /// place for it. One against the tenant as a whole is in its policy.
    pub(super) fn impose(&self, slot: Slot, measure: &MeasureInForce, now_ns: u64, until_ns: u64) -> bool {
        let Some(source) = measure.source else { return true };
        let imposed = self.detection.impose(source, slot.0, measure.measure, now_ns, until_ns);
        self.tenants.prolong_measures(slot.0, until_ns);
        imposed
    }

    /// Forgets a tenant's source, or all of them, and their measures.
    pub(super) fn forget_sources(&self, slot: Slot, source: Option<IpNetwork>) {
        self.detection.forget(slot.0, source);
        self.tenants.set_measures_end(slot.0, self.detection.measures_end_ns(slot.0));
    }

    /// What programs on the virtual clock said of the last packet.
    pub(super) fn last_verdict(&self) -> LastVerdict {
        self.last_verdict.get(0)
    }
}

fn peer_key(bank: u32, peer: &Peer) -> Key<[u8; 24]> {
    let key = PeerKey { bank: bank as u8, ..peer.key };
    Key::new(PeerKey::FIXED_BITS + peer.address_bits, bytemuck::cast(key))
}

pub(super) struct Maps<'a> {
    object: &'a mut Ebpf,
    sizes: &'a [(&'static str, u32, usize)],
}

impl Maps<'_> {
    fn take(&mut self, name: &str) -> Result<Map, DataplaneError> {
        self.object.take_map(name).ok_or_else(|| wrong_object(name, "not in the object"))
    }

    pub(super) fn array<T: bytemuck::Pod>(
        &mut self,
        name: &'static str,
    ) -> Result<MappedArray<T>, DataplaneError> {
        let Map::Array(data) = self.take(name)? else { return Err(wrong_object(name, "not an array")) };
        let entries = self.sizes.iter().find(|(map, ..)| *map == name).map_or(0, |(_, entries, _)| *entries);
        MappedArray::new(data.fd(), entries).map_err(|error| wrong_object(name, error))
    }

    fn events(&mut self) -> Result<RingBuf<MapData>, DataplaneError> {
        RingBuf::try_from(self.take(map::EVENTS)?).map_err(|error| wrong_object(map::EVENTS, chain(&error)))
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
