//! The programs and their tables, loaded but attached to nothing: given policies, run, read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use gateway_ebpf::abi::constant;
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::restriction::Restriction;

use super::capacity::Capacity;
use super::clock::{Clock, ProgramClock};
use super::compile::{Layout, Prepared};
use super::counters::Reader;
use super::delta::InForce;
use super::detection::{self, DetectionCounters, HeldBySource};
use super::error::DataplaneError;
use super::events::Event;
use super::image::Image;
use super::kernel;
use super::probe::possible_cpus;
use super::programs::{self, not_loaded, program_of, xdp};
use super::registration::Registered;
use super::slots::Slots;
use super::tables::Tables;
use super::{Applied, Restrictions, TableMemory};
use crate::config::{Forwarding, Side, Tenant};
use crate::detect::{Lift, MeasureInForce, Offence, Watched};
use crate::domain::{Backlog, HeldMeasure, InterfaceCounters, Snapshot, TenantCounters, Usage};
use crate::policy::Effective;

/// Compiled by `cargo xtask build`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fairway-ebpf.o"));

/// The programs with one set of tables.
pub struct Engine {
    pub(super) object: Ebpf,
    pub(super) tables: Tables,
    slots: Arc<Slots>,
    pub(super) forwarding: Forwarding,
    /// What detection goes by.
    coarse_clock: Clock,
    /// Tenants in the config's order, which is that of their ids.
    pub(super) tenants: Arc<Vec<(Arc<Tenant>, Slot)>>,
    pub(super) interfaces: Vec<Registered>,
    prefixes: usize,
    pub(super) in_force: InForce,
    /// Read from the ring, and not taken yet.
    pub(super) events: Vec<Event>,
}

impl Engine {
    /// Loads the programs with tables of their own, attached to nothing, under a policy.
    ///
    /// # Errors
    /// If the kernel refuses the object (too old, out of memory, no permission).
    pub fn detached(policy: &Effective, clock: ProgramClock) -> Result<Self, DataplaneError> {
        let forwarding = policy.config().gateway.forwarding;
        let mut engine = Self::load(capacity_for(policy)?, forwarding, clock, None)?;
        engine.apply(policy)?;
        Ok(engine)
    }

    /// Loads the programs over tables of this capacity: those pinned in `pins`, made there if need be.
    pub(super) fn load(
        capacity: Capacity,
        forwarding: Forwarding,
        clock: ProgramClock,
        pins: Option<&Path>,
    ) -> Result<Self, DataplaneError> {
        let forwarding = programs_forwarding(forwarding, clock);
        let mut object = object(&capacity, forwarding, clock, pins, VerifierLogLevel::default())?;
        programs::load(&mut object)?;
        let tables = Tables::new(&mut object, capacity, clock)?;
        let slots = Arc::new(tables.slots());
        let mut engine = Self {
            object,
            tables,
            slots,
            forwarding,
            coarse_clock: Clock::Virtual,
            tenants: Arc::default(),
            interfaces: Vec::new(),
            prefixes: 0,
            in_force: InForce::default(),
            events: Vec::new(),
        };
        engine.coarse_clock = Clock::coarse(clock, engine.read_clock()?);
        Ok(engine)
    }

    /// What policies are compiled for.
    pub(super) fn layout(&self) -> Layout {
        Layout {
            tenants: Arc::clone(&self.tenants),
            slots: Arc::clone(&self.slots),
            capacity: self.tables.capacity,
            index: self.tables.index().cloned(),
        }
    }

    /// What reads the counters of all tenants later.
    pub(super) fn reader(&self, interfaces: Vec<InterfaceCounters>) -> Reader {
        Reader::new(Arc::clone(&self.tenants), Arc::clone(&self.tables.tenants), interfaces)
    }

    /// Replaces the policy, atomically for every packet. Tenants that stay keep their counters and
    /// bucket states; those of tenants that go are wiped.
    ///
    /// # Errors
    /// If the policy does not fit the tables or the kernel refuses an exemption; nothing has changed.
    pub fn apply(&mut self, policy: &Effective) -> Result<Applied, DataplaneError> {
        let started = Instant::now();
        let prepared = self.layout().prepare(policy).ok_or_else(does_not_fit)?;
        let applied = self.put_into_force(policy, prepared)?;
        Ok(Applied { took: started.elapsed(), ..applied })
    }

    /// [`Self::apply`] of what [`Layout::prepare`] made of the same policy.
    pub(super) fn put_into_force(
        &mut self,
        policy: &Effective,
        Prepared { image, new, .. }: Prepared,
    ) -> Result<Applied, DataplaneError> {
        let config = policy.config();
        // Before the switch, so that counters never belong to a slot without a name.
        self.slots
            .free()
            .zip(&new)
            .for_each(|(slot, tenant)| self.tables.tenants.name_slot(slot, &tenant.id));
        if let Err(error) = self.tables.switch_to(&image) {
            self.slots.free().zip(&new).for_each(|(slot, _)| self.tables.wipe_slot(slot));
            return Err(error);
        }
        // While the slots in them still are those tenants'.
        self.read_events();
        let known = Arc::make_mut(&mut self.slots);
        new.iter().for_each(|tenant| known.take(&tenant.id));
        if known.taken() > config.tenants.len() {
            let is_kept = |id: &str| config.tenants.binary_search_by(|tenant| (*tenant.id).cmp(id)).is_ok();
            known.release(is_kept).into_iter().for_each(|slot| self.tables.wipe_slot(slot));
        }
        let slots = image.tenants.iter().map(|tenant| tenant.slot);
        self.tenants = Arc::new(config.tenants.iter().cloned().zip(slots).collect());
        self.prefixes = config.tenants.iter().map(|tenant| tenant.prefixes.len()).sum();
        self.in_force = InForce::of(image);
        Ok(self.applied())
    }

    /// The slot of a tenant that is policed.
    pub(super) fn slot(&self, tenant: &str) -> Option<Slot> {
        self.slots.get(tenant)
    }

    /// Reads the counters of one tenant; none if it is not policed.
    pub fn counters(&self, tenant: &str) -> Option<TenantCounters> {
        self.slots.get(tenant).map(|slot| self.tables.tenants.all_counters(tenant, slot))
    }

    /// What time it is to detection, within a jiffy: on the programs' coarse clock, or as it was set on the virtual one.
    pub fn now_ns(&self) -> u64 {
        self.coarse_clock.now_ns().unwrap_or_else(|| self.tables.clock_ns())
    }

    /// Judges what has to hold for a while in sources that send nothing any more; `now_ns` as [`Self::now_ns`]
    /// tells it.
    pub fn confirm(&self, now_ns: u64) {
        self.tables.confirm(now_ns);
    }

    /// What a controller does every second: looks after sources that send nothing any more, at each of these
    /// moments, then takes the offences. Moments are as [`Self::now_ns`] tells them.
    pub fn look(&mut self, moments_ns: impl IntoIterator<Item = u64>) -> Vec<Offence> {
        moments_ns.into_iter().for_each(|now_ns| self.confirm(now_ns));
        self.take_offences()
    }

    /// Offences since the last call, each with what it rests on.
    pub fn take_offences(&mut self) -> Vec<Offence> {
        let (reports, lost) = self.tables.detection.reports();
        if lost > 0 {
            tracing::warn!(
                lost,
                "offences were overwritten before they were read; their measures hold all the same"
            );
        }
        let ids: HashMap<u32, &str> = match reports.is_empty() {
            true => HashMap::new(),
            false => self.tenants.iter().map(|(tenant, slot)| (slot.0, tenant.id.as_str())).collect(),
        };
        let offence = |report| detection::offence(report, ids.get(&report.slot)?, self.coarse_clock);
        reports.iter().filter_map(offence).collect()
    }

    /// Takes measures against sources of tenants that are policed.
    pub fn impose(&self, measures: &[MeasureInForce]) {
        for measure in measures {
            let Some(slot) = self.slots.get(&measure.tenant) else { continue };
            let until_ns = self.coarse_clock.ns_at(measure.until);
            if !self.tables.impose(slot, measure, self.now_ns(), until_ns) {
                let (tenant, source) = (&measure.tenant, &measure.source);
                tracing::warn!(
                    tenant,
                    ?source,
                    "no place for a measure that still holds; raise [detect] sources"
                );
            }
        }
    }

    /// Measures that hold against sources of tenants that are policed.
    pub fn held_measures(&self) -> Vec<HeldMeasure> {
        let held = self.tables.detection.held(self.now_ns());
        let ids: HashMap<u32, &str> = match held.is_empty() {
            true => HashMap::new(),
            false => self.tenants.iter().map(|(tenant, slot)| (slot.0, tenant.id.as_str())).collect(),
        };
        let measure = |held: &HeldBySource| {
            Some(detection::held_measure(held, ids.get(&held.slot)?, self.coarse_clock))
        };
        held.iter().filter_map(measure).collect()
    }

    /// What the tables forbid tenants, those aside that are forbidden nothing.
    pub fn restrictions_in_force(&self) -> Restrictions {
        let restricted = |(id, slot): (&str, Slot)| {
            let restriction = self.tables.restriction(slot);
            (restriction != Restriction::NONE).then(|| (id.to_owned(), restriction))
        };
        self.slots.all().filter_map(restricted).collect()
    }

    /// Ends measures: the sources that they are against are forgotten, and start anew.
    pub fn lift(&self, lift: &Lift) {
        if let Some(slot) = self.slots.get(&lift.tenant) {
            self.tables.forget_sources(slot, lift.source);
        }
    }

    /// Before this engine's programs replace `old`'s: takes over what is known of every source, and where
    /// each tenant's cap stands.
    pub fn take_over(&mut self, old: &Self) {
        self.adopt_sources(old);
        self.copy_states(old);
    }

    fn adopt_sources(&mut self, old: &Self) {
        let slots: HashMap<u32, u32> =
            self.common_slots(old).map(|(slot, old_slot)| (old_slot.0, slot.0)).collect();
        self.tables.detection.share_keys(&old.tables.detection);
        self.tables.detection.adopt(&old.tables.detection, |slot| slots.get(&slot).copied());
    }

    /// Takes no new measures until `until_ns`, as [`Self::now_ns`] will tell it.
    pub fn hold_measures(&self, until_ns: u64) {
        self.tables.detection.freeze(until_ns);
    }

    /// Takes measures again, and forgets the failures that were counted until now.
    pub fn release_measures(&self) {
        self.tables.detection.forget_failures();
        self.tables.detection.freeze(0);
    }

    /// What is known of the source that an address belongs to; none if nothing is.
    pub fn watched(&self, address: std::net::IpAddr) -> Option<Watched> {
        let source = self.tables.detection.source(address)?;
        Some(detection::watched(&source, self.coarse_clock, self.now_ns()))
    }

    /// How detection fares.
    pub fn detection_counters(&self) -> DetectionCounters {
        self.tables.detection.counters()
    }

    /// What is in force, as if it had just been applied in no time.
    pub(super) fn applied(&self) -> Applied {
        let (tenants, prefixes) = (self.tenants.len(), self.prefixes);
        Applied { tenants, prefixes, took: Duration::ZERO, missing_interfaces: Vec::new() }
    }

    /// Reads all counters.
    pub fn snapshot(&self) -> Snapshot {
        self.reader(self.interface_counters()).snapshot()
    }

    /// Reads what everybody has used.
    pub fn usage(&self) -> Usage {
        self.reader(self.interface_counters()).usage()
    }

    /// Where a tenant's caps stand, by direction; none if there is no such tenant.
    ///
    /// # Errors
    /// If the kernel does not run the program that reads the clock.
    pub fn backlogs(&self, tenant: &str) -> Result<Option<[Backlog; 2]>, DataplaneError> {
        let Some(slot) = self.slots.get(tenant) else { return Ok(None) };
        let now_ns = self.read_clock()?;
        Ok(self.tables.backlogs(slot, now_ns))
    }

    /// Size of the tables.
    pub fn memory(&self) -> TableMemory {
        TableMemory { bytes: self.tables.capacity.bytes(), tenant_capacity: self.tables.capacity.tenants }
    }

    /// Says that packets are judged by these tables from now on: the next controller takes them over.
    pub(super) fn mark_live(&self) {
        self.tables.mark_live();
    }

    /// The program for one side.
    pub(super) fn program(&mut self, side: Side) -> Result<&mut Xdp, DataplaneError> {
        xdp(&mut self.object, program_of(side))
    }

    fn copy_states(&self, old: &Self) {
        for (slot, old_slot) in self.common_slots(old) {
            self.tables.tenants.copy_state(slot, &old.tables.tenants, old_slot);
        }
    }

    /// After this engine's programs replaced `old`'s and no packet is in those any more: takes over
    /// every counter, so that sums stay exact.
    pub(super) fn move_counters(&self, old: &Self) {
        for (slot, old_slot) in self.common_slots(old) {
            self.tables.tenants.move_counters(slot, &old.tables.tenants, old_slot);
        }
        self.move_interface_counters(old);
        self.tables.move_event_tallies(&old.tables);
    }

    fn common_slots(&self, old: &Self) -> impl Iterator<Item = (Slot, Slot)> {
        self.tenants.iter().filter_map(|(tenant, slot)| Some((*slot, old.slots.get(&tenant.id)?)))
    }
}

/// What the programs do with what passes: on a clock that is set by hand packets are judged, and sent nowhere.
fn programs_forwarding(configured: Forwarding, clock: ProgramClock) -> Forwarding {
    if clock == ProgramClock::Virtual { Forwarding::Stack } else { configured }
}

/// Tables of this capacity, those pinned in `pins` or made there if need be, and the programs for them, not loaded yet.
pub(super) fn object(
    capacity: &Capacity,
    forwarding: Forwarding,
    clock: ProgramClock,
    pins: Option<&Path>,
    log: VerifierLogLevel,
) -> Result<Ebpf, DataplaneError> {
    kernel::require(&kernel::release())?;
    let ns_per_jiffy = clock.ns_per_jiffy()?;
    let forwards = u32::from(forwarding == Forwarding::Xdp);
    let mut loader = EbpfLoader::new();
    loader
        .override_global(constant::TENANT_CAPACITY, &capacity.tenants, true)
        .override_global(constant::POLICY_CAPACITY, &capacity.policies, true)
        .override_global(constant::V4_NODE_CAPACITY, &capacity.v4_nodes, true)
        .override_global(constant::V6_ENTRY_CAPACITY, &capacity.v6_entries, true)
        .override_global(constant::SOURCE_SETS, &capacity.source_sets, true)
        .override_global(constant::CONTACT_SETS, &capacity.contact_sets, true)
        .override_global(constant::NS_PER_JIFFY, &ns_per_jiffy, true)
        .override_global(constant::FORWARDING, &forwards, true)
        .verifier_log_level(log);
    for (map, entries, _) in capacity.maps() {
        loader.map_max_entries(map, entries);
        if let Some(pins) = pins {
            loader.map_pin_path(map, pins.join(map));
        }
    }
    loader.load(OBJECT).map_err(|error| not_loaded("the tables", &error))
}

/// Tables that `policy` fits, with room to grow.
pub(super) fn capacity_for(policy: &Effective) -> Result<Capacity, DataplaneError> {
    let config = policy.config();
    let slots: Vec<Slot> = (0..config.tenants.len() as u32).map(Slot).collect();
    let image = Image::compile(policy, &slots, None);
    Ok(Capacity::for_image(&image, config.gateway.limits.tenants, possible_cpus()?))
}

fn does_not_fit() -> DataplaneError {
    DataplaneError::new("applying the policy", "it does not fit the tables", "Load the data plane anew")
}
