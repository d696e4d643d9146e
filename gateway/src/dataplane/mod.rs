//! The data plane as the controller sees it: loaded, attached, given a policy, read.
//!
//! The only module that knows aya. The old policy stays in force whenever a call here fails, and the
//! kernel goes on enforcing when the controller is gone: programs and tables are pinned, and the next
//! controller takes them over with every counter and bucket in them.
//!
//! ```text
//! policy -> image (compiled) -> tables (two banks, one switch) <-> programs
//!                                      pins, links: what outlives us
//! ```

mod attachment;
mod capacity;
mod clock;
mod compile;
mod counters;
mod counting;
mod delta;
mod detection;
mod egress;
mod engine;
mod error;
mod events;
mod grace;
mod image;
mod index;
pub mod kernel;
mod links;
mod mapped;
mod pins;
mod plane;
mod probe;
mod programs;
pub mod reading;
mod registration;
mod slots;
mod tables;
mod tenants;
mod test_run;
mod verification;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

pub use crate::domain::{
    Backlog, DirectionCounters, InterfaceCounters, OverCap, QueueDrops, Snapshot, Tally, TenantCounters,
};
pub use attachment::Followed;
pub use clock::ProgramClock;
pub use compile::{Compiled, Compiler};
pub use counters::Reader;
pub use detection::DetectionCounters;
pub use engine::Engine;
pub use error::DataplaneError;
pub use events::{Event, EventCounters, EventKind, PacketSample};
pub use pins::{PinPlace, pin_place, pinned_programs};
pub use plane::Plane;
pub use probe::{Probed, possible_cpus, probe};
pub use test_run::{Judgement, MAX_FRAME_BYTES, MIN_FRAME_BYTES, Outcome, Verdict};

use gateway_ebpf::restriction::Restriction;

use crate::config::{Interface, OnStop};
use crate::detect::{HeldMeasure, Lift, MeasureInForce, Offence, Watched};
use crate::link::name_of;
use crate::policy::Effective;
use attachment::Target;
use pins::{Generation, Pins};

/// The attached programs and their tables.
pub struct Dataplane {
    engine: Engine,
    generation: Generation,
    pins: Pins,
    /// As configured, whether they exist or not.
    interfaces: Vec<Interface>,
}

/// What tenants are forbidden, by id. Ids that no tenant has are ignored.
pub type Restrictions = HashMap<String, Restriction>;

/// What becomes, at a start, of restrictions that live tables hold and the policy does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// They end: the policy has all that was decided.
    Ended,
    /// They stay in force beside the policy's: the controller may not know all decisions.
    Kept,
}

/// What an [`Dataplane::apply`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Tenants now policed.
    pub tenants: usize,
    /// Prefixes now known.
    pub prefixes: usize,
    /// Time from the validated config to the switch.
    pub took: Duration,
    /// Names of configured interfaces that do not exist now.
    pub missing_interfaces: Vec<String>,
}

/// Memory of the kernel tables, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMemory {
    /// Sum over all maps, exemptions aside.
    pub bytes: u64,
    /// Tenants that fit before larger tables are made.
    pub tenant_capacity: u32,
}

impl Dataplane {
    /// Loads the programs, over the tables that an earlier controller left if there are any, writes
    /// the policy, and attaches to every interface.
    ///
    /// # Errors
    /// All or nothing: every interface is left as it was found. One that does not exist is an error here:
    /// a misspelt name must not go unnoticed.
    pub fn start(policy: &Effective, foreign: Foreign) -> Result<Self, DataplaneError> {
        let config = policy.config();
        let target = |interface: &Interface| {
            Ok(Target { interface: interface.clone(), ifindex: links::ifindex(interface)? })
        };
        let targets: Vec<Target> = config.interfaces.iter().map(target).collect::<Result<_, _>>()?;
        let pins = Pins::open(&config.gateway.pin_dir)?;
        let found = pins.generations()?;
        let dataplane = match live(&found)? {
            Some(generation) => {
                tracing::info!(tables = %generation.dir.display(), "taking over a running data plane");
                let capacity = generation.capacity()?;
                let mut engine = Engine::load(
                    capacity,
                    config.gateway.forwarding,
                    ProgramClock::Kernel,
                    Some(&generation.dir),
                )?;
                // Asked before anything changes where packets are policed already.
                let is_policed =
                    |target: &&Target| pins.link(target.ifindex, target.interface.mode).path.exists();
                let mut policed = targets.iter().filter(is_policed);
                policed.try_for_each(|target| engine.open_egress(&target.interface, target.ifindex))?;
                engine.forget_interfaces_except(
                    &targets.iter().map(|target| target.ifindex).collect::<Vec<_>>(),
                );
                let interfaces = config.interfaces.clone();
                let mut dataplane = Self { engine, generation, pins, interfaces };
                match foreign {
                    Foreign::Ended => dataplane.apply(policy)?,
                    Foreign::Kept => {
                        dataplane.apply(&policy.and_found(&dataplane.restrictions_in_force()))?
                    }
                };
                dataplane
            }
            None => Self::fresh(policy, pins, &found, &targets)?,
        };
        // Attempts that an earlier controller did not finish.
        let is_left_over =
            |found: &&Generation| found.number != dataplane.generation.number && found.dir.exists();
        found.iter().filter(is_left_over).for_each(Generation::remove);
        Ok(dataplane)
    }

    fn fresh(
        policy: &Effective,
        pins: Pins,
        found: &[Generation],
        targets: &[Target],
    ) -> Result<Self, DataplaneError> {
        let (engine, generation) = make_engine(policy, &pins, found)?;
        let interfaces = policy.config().interfaces.clone();
        let mut dataplane = Self { engine, generation, pins, interfaces };
        match dataplane.attach(targets) {
            Ok(_) => {
                dataplane.engine.mark_live();
                Ok(dataplane)
            }
            Err(error) => {
                dataplane.generation.remove();
                dataplane.pins.remove_if_empty();
                Err(error)
            }
        }
    }

    /// Replaces the policy, atomically for every packet; counters and bucket states of
    /// tenants that stay are kept. Interfaces that are new in it are attached first, those that are
    /// gone from it are detached last; those that do not exist at the moment are passed over, see
    /// [`Self::follow_interfaces`]. One that outgrows the tables moves to larger ones.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn apply(&mut self, policy: &Effective) -> Result<Applied, DataplaneError> {
        self.apply_compiled(policy, self.compiler().compile(policy))
    }

    /// Compiles a policy for [`Self::apply_compiled`], anywhere.
    pub fn compiler(&self) -> Compiler {
        Compiler::new(self.engine.layout())
    }

    /// [`Self::apply`] of what was compiled of the same policy. What was compiled for other tables than those in use now
    /// is compiled anew.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn apply_compiled(
        &mut self,
        policy: &Effective,
        compiled: Compiled,
    ) -> Result<Applied, DataplaneError> {
        let config = policy.config();
        let started = Instant::now();
        let Compiled { prepared, took } = compiled;
        let layout = self.engine.layout();
        let prepared =
            prepared.filter(|prepared| prepared.is_for(&layout)).or_else(|| layout.prepare(policy));
        drop(layout);
        let targets = if self.is_bypassed() { Vec::new() } else { self.locate(&config.interfaces) };
        let mut applied = match prepared {
            None => self.grow(policy, &targets)?,
            Some(prepared) => {
                let undo = self.attach(&targets)?;
                match self.engine.put_into_force(policy, prepared) {
                    Ok(applied) => applied,
                    Err(error) => {
                        self.undo(undo);
                        return Err(error);
                    }
                }
            }
        };
        self.interfaces.clone_from(&config.interfaces);
        self.detach_others(&targets)?;
        applied.took = took + started.elapsed();
        let missing = self.interfaces.iter().filter(|interface| links::ifindex(interface).is_err());
        applied.missing_interfaces = missing.map(|interface| interface.name.clone()).collect();
        Ok(applied)
    }

    /// Moves to tables that `policy` fits, with every counter and bucket.
    fn grow(&mut self, policy: &Effective, targets: &[Target]) -> Result<Applied, DataplaneError> {
        let (mut engine, generation) = make_engine(policy, &self.pins, &self.pins.generations()?)?;
        engine.take_over(&self.engine);
        let larger =
            Self { engine, generation, pins: self.pins.clone(), interfaces: self.interfaces.clone() };
        let mut old = std::mem::replace(self, larger);
        if let Err(error) =
            self.attach(targets).and_then(|_| self.engine.register_missing(&old.engine, policy.config()))
        {
            // What was pinned before is put back: the old programs over the old tables.
            let failed = std::mem::replace(self, old);
            let policed: Vec<_> = targets.iter().filter(|target| self.is_attached(target)).cloned().collect();
            if let Err(error) = self.reattach(&policed) {
                tracing::error!(%error, "going back to the old tables");
            }
            failed.generation.remove();
            return Err(error);
        }
        self.engine.mark_live();
        grace::wait();
        self.engine.move_counters(&old.engine);
        self.engine.events.append(&mut old.engine.take_events());
        old.generation.remove();
        let memory = self.engine.memory();
        tracing::info!(
            tenant_capacity = memory.tenant_capacity,
            bytes = memory.bytes,
            "moved to larger tables"
        );
        Ok(self.engine.applied())
    }

    /// Puts the policies of these tenants into force as `policy` has them, without touching any other's; `policy`
    /// differs from what is in force in nothing else.
    ///
    /// # Errors
    /// If the kernel refuses an exemption. The policies of the tenants before that one are in force.
    pub fn assign(&mut self, policy: &Effective, tenants: &[&str]) -> Result<(), DataplaneError> {
        for tenant in tenants {
            if !self.engine.assign(policy, tenant)? {
                return self.apply(policy).map(drop);
            }
        }
        Ok(())
    }

    /// Reads the counters of one tenant; none if it is not policed.
    pub fn counters(&self, tenant: &str) -> Option<TenantCounters> {
        self.engine.counters(tenant)
    }

    /// What is known of the source that an address belongs to; none if nothing is.
    pub fn watched(&self, address: std::net::IpAddr) -> Option<Watched> {
        self.engine.watched(address)
    }

    /// What the programs reported since the last call, or since the last controller read it.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.engine.take_events()
    }

    /// How many events never arrived.
    pub fn event_counters(&self) -> EventCounters {
        self.engine.event_counters()
    }

    /// Offences that the programs saw, and acted on by themselves, since the last call.
    pub fn take_offences(&mut self) -> Vec<Offence> {
        self.engine.look([self.engine.now_ns()])
    }

    /// What tenants are forbidden in fact, those aside that are forbidden nothing.
    pub fn restrictions_in_force(&self) -> Restrictions {
        self.engine.restrictions_in_force()
    }

    /// Measures that hold against sources in fact.
    pub fn held_measures(&self) -> Vec<HeldMeasure> {
        self.engine.held_measures()
    }

    /// Takes measures that still hold, after a start.
    pub fn impose(&mut self, measures: &[MeasureInForce]) {
        self.engine.impose(measures);
    }

    /// Ends measures, and forgets what was counted of their sources, so that they start afresh.
    pub fn lift(&mut self, lift: &Lift) {
        self.engine.lift(lift);
    }

    /// Takes no new measures for this long, then takes them again.
    pub fn hold_measures(&mut self, for_now: Duration) {
        let for_now_ns = u64::try_from(for_now.as_nanos()).unwrap_or(u64::MAX);
        self.engine.hold_measures(self.engine.now_ns().saturating_add(for_now_ns));
    }

    /// Takes measures again, and forgets the failures that were counted while they were held back.
    pub fn release_measures(&mut self) {
        self.engine.release_measures();
    }

    /// How detection fares, since the tables were made.
    pub fn detection_counters(&self) -> DetectionCounters {
        self.engine.detection_counters()
    }

    /// Reads all counters.
    pub fn snapshot(&self) -> Snapshot {
        self.reader().snapshot()
    }

    /// What reads all counters later, anywhere.
    pub fn reader(&self) -> Reader {
        self.engine.reader(self.interfaces())
    }

    /// Reads the counters of the interfaces, as configured, whether they exist or not.
    pub fn interfaces(&self) -> Vec<InterfaceCounters> {
        let registered = self.engine.interface_counters();
        let counters = |interface: &Interface| {
            let found = registered.iter().find(|counters| counters.name == interface.name);
            let counters = found
                .cloned()
                .unwrap_or_else(|| InterfaceCounters::none(&interface.name, interface.side, interface.mode));
            InterfaceCounters { attached: self.is_policed(interface), ..counters }
        };
        self.interfaces.iter().map(counters).collect()
    }

    /// Where a tenant's caps stand, by direction; none if there is no such tenant.
    ///
    /// # Errors
    /// If the kernel does not run the program that reads the clock.
    pub fn backlogs(&self, tenant: &str) -> Result<Option<[Backlog; 2]>, DataplaneError> {
        self.engine.backlogs(tenant)
    }

    /// Size of the tables.
    pub fn memory(&self) -> TableMemory {
        self.engine.memory()
    }

    /// Orderly end: leaves everything enforcing, or detaches every interface and removes the pins.
    ///
    /// # Errors
    /// If a pin cannot be removed; the others are removed all the same.
    pub fn stop(self, on_stop: OnStop) -> Result<(), DataplaneError> {
        match on_stop {
            OnStop::Keep => Ok(()),
            OnStop::Detach => remove_all(&self.pins).map(|_| ()),
        }
    }

    /// The one-command bypass: detaches whatever is pinned in `pin_dir`, with or without a controller
    /// running. Returns the names of the interfaces that were policed.
    ///
    /// # Errors
    /// If a pin cannot be removed; the others are removed all the same.
    pub fn detach_pinned(pin_dir: &Path) -> Result<Vec<String>, DataplaneError> {
        Pins::find(pin_dir)?.map_or(Ok(Vec::new()), |pins| remove_all(&pins))
    }
}

/// The newest generation that packets were judged by.
fn live(generations: &[Generation]) -> Result<Option<Generation>, DataplaneError> {
    for generation in generations {
        if generation.control()?.is_some_and(|control| control.live != 0) {
            return Ok(Some(generation.clone()));
        }
    }
    Ok(None)
}

/// New pinned tables, sized for a policy and holding it.
fn make_engine(
    policy: &Effective,
    pins: &Pins,
    found: &[Generation],
) -> Result<(Engine, Generation), DataplaneError> {
    let capacity = engine::capacity_for(policy)?;
    let generation = pins.make_generation(found)?;
    let load = || {
        let forwarding = policy.config().gateway.forwarding;
        let mut engine = Engine::load(capacity, forwarding, ProgramClock::Kernel, Some(&generation.dir))?;
        engine.apply(policy)?;
        Ok(engine)
    };
    match load() {
        Ok(engine) => Ok((engine, generation)),
        Err(error) => {
            generation.remove();
            pins.remove_if_empty();
            Err(error)
        }
    }
}

/// Detaches every interface, then lets go of the tables.
fn remove_all(pins: &Pins) -> Result<Vec<String>, DataplaneError> {
    // First: by it a running controller, which looks every second, knows that it must not attach any more.
    pins.generations()?.iter().for_each(Generation::remove);
    let links = pins.links()?;
    let removed: Vec<_> =
        links.iter().map(|pin| links::remove(pin).map(|()| interface_name(pin.ifindex))).collect();
    pins.remove_if_empty();
    removed.into_iter().collect()
}

fn interface_name(ifindex: u32) -> String {
    name_of(ifindex).unwrap_or_else(|| format!("interface {ifindex} (gone)"))
}
