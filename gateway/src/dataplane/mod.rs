//! The data plane as the controller sees it: loaded, attached, given a policy, read.
//!
//! The only module that knows aya. The old policy stays in force whenever a call here fails, and the
//! kernel goes on enforcing when the controller is gone: programs and tables are pinned, and the next
//! controller takes them over with every counter and bucket in them.
//!
//! ```text
//! config -> image (compiled policy) -> tables (two banks, one switch) <-> programs
//!                                      pins, links: what outlives us
//! ```

mod capacity;
mod clock;
mod engine;
mod error;
mod grace;
mod image;
mod index;
mod links;
mod mapped;
mod pins;
mod slots;
mod snapshot;
mod tables;
mod test_run;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

pub use clock::ProgramClock;
pub use engine::Engine;
pub use error::DataplaneError;
pub use snapshot::*;
pub use test_run::{Judgement, MAX_FRAME_BYTES, MIN_FRAME_BYTES, Outcome, Verdict};

use gateway_ebpf::standing::Standing;

use crate::config::{Config, Interface, OnStop};
use pins::{Generation, LinkPin, Pins};

/// The attached programs and their tables.
pub struct Dataplane {
    engine: Engine,
    generation: Generation,
    pins: Pins,
}

/// Who is not in good standing, by tenant id. Ids that no tenant has are ignored.
pub type Standings = HashMap<String, Standing>;

/// What an [`Dataplane::apply`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Tenants now policed.
    pub tenants: usize,
    /// Prefixes now known.
    pub prefixes: usize,
    /// Time from the validated config to the switch.
    pub took: Duration,
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
    /// All or nothing: every interface is left as it was found.
    pub fn start(config: &Config, standings: &Standings) -> Result<Self, DataplaneError> {
        let targets = targets(config)?;
        let pins = Pins::open(&config.gateway.pin_dir)?;
        let found = pins.generations()?;
        let dataplane = match live(&found)? {
            Some(generation) => {
                tracing::info!(tables = %generation.dir.display(), "taking over a running data plane");
                let capacity = generation.capacity()?;
                let mut engine = Engine::load(capacity, ProgramClock::Kernel, Some(&generation.dir))?;
                engine.set_standings(standings);
                engine.forget_interfaces_except(
                    &targets.iter().map(|target| target.ifindex).collect::<Vec<_>>(),
                );
                let mut dataplane = Self { engine, generation, pins };
                dataplane.apply(config)?;
                dataplane
            }
            None => Self::fresh(config, standings, pins, &found, &targets)?,
        };
        // Attempts that an earlier controller did not finish.
        let is_left_over =
            |found: &&Generation| found.number != dataplane.generation.number && found.dir.exists();
        found.iter().filter(is_left_over).for_each(Generation::remove);
        Ok(dataplane)
    }

    fn fresh(
        config: &Config,
        standings: &Standings,
        pins: Pins,
        found: &[Generation],
        targets: &[Target],
    ) -> Result<Self, DataplaneError> {
        let (engine, generation) = make_engine(config, standings, &pins, found)?;
        let mut dataplane = Self { engine, generation, pins };
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

    /// Replaces the policy with `config`'s, atomically for every packet; counters and bucket states of
    /// tenants that stay are kept. Interfaces that are new in it are attached first, those that are
    /// gone from it are detached last. A config that outgrows the tables moves to larger ones.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn apply(&mut self, config: &Config) -> Result<Applied, DataplaneError> {
        let started = Instant::now();
        let targets = targets(config)?;
        let mut applied = if self.engine.fits(config) {
            let undo = self.attach(&targets)?;
            match self.engine.apply(config) {
                Ok(applied) => applied,
                Err(error) => {
                    self.undo(undo);
                    return Err(error);
                }
            }
        } else {
            self.grow(config, &targets)?
        };
        self.detach_others(&targets)?;
        applied.took = started.elapsed();
        Ok(applied)
    }

    /// Moves to tables that `config` fits, with every counter and bucket.
    fn grow(&mut self, config: &Config, targets: &[Target]) -> Result<Applied, DataplaneError> {
        let (engine, generation) =
            make_engine(config, self.engine.standings(), &self.pins, &self.pins.generations()?)?;
        engine.copy_buckets(&self.engine);
        let old = std::mem::replace(self, Self { engine, generation, pins: self.pins.clone() });
        if let Err(error) = self.attach(targets) {
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
        old.generation.remove();
        let memory = self.engine.memory();
        tracing::info!(
            tenant_capacity = memory.tenant_capacity,
            bytes = memory.bytes,
            "moved to larger tables"
        );
        Ok(self.engine.applied())
    }

    /// Attaches to all targets that are not attached as wanted; says what to undo.
    fn attach(&mut self, targets: &[Target]) -> Result<Undo, DataplaneError> {
        let mut undo = Undo::default();
        for target in targets {
            if self.engine.is_registered(target) {
                continue;
            }
            undo.before.extend(self.engine.registered(target.ifindex).cloned());
            match self.attach_one(target) {
                Ok(true) => undo.made.push(self.pins.link(target.ifindex, target.interface.mode)),
                Ok(false) => {}
                Err(error) => {
                    self.undo(undo);
                    return Err(error);
                }
            }
        }
        Ok(undo)
    }

    fn attach_one(&mut self, target: &Target) -> Result<bool, DataplaneError> {
        self.engine.register(&target.interface, target.ifindex)?;
        links::attach(self.engine.program(target.interface.side)?, &self.pins, target)
    }

    fn reattach(&mut self, targets: &[Target]) -> Result<(), DataplaneError> {
        targets.iter().try_for_each(|target| self.attach_one(target).map(|_| ()))
    }

    fn undo(&mut self, undo: Undo) {
        for pin in undo.made {
            self.engine.unregister(pin.ifindex);
            if let Err(error) = links::remove(&pin) {
                tracing::error!(%error, "undoing an attachment");
            }
        }
        if let Err(error) = self.reattach(&undo.before) {
            tracing::error!(%error, "going back to the old attachment");
        }
    }

    fn is_attached(&self, target: &Target) -> bool {
        self.pins.link(target.ifindex, target.interface.mode).path.exists()
    }

    /// Detaches from everything but the targets.
    fn detach_others(&mut self, targets: &[Target]) -> Result<(), DataplaneError> {
        for pin in self.pins.links()? {
            if !targets.iter().any(|target| target.ifindex == pin.ifindex) {
                self.engine.unregister(pin.ifindex);
                links::remove(&pin)?;
            }
        }
        self.engine.order_interfaces(targets);
        Ok(())
    }

    /// Who is suspended, from this moment on and across reloads.
    pub fn set_standings(&mut self, standings: &Standings) {
        self.engine.set_standings(standings);
    }

    /// Reads all counters.
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
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
        Pins::find(pin_dir).map_or(Ok(Vec::new()), |pins| remove_all(&pins))
    }
}

/// How to go back when attaching failed halfway.
#[derive(Default)]
struct Undo {
    /// Links that were made.
    made: Vec<LinkPin>,
    /// What was there instead.
    before: Vec<Target>,
}

/// A configured interface and its index of the moment.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    interface: Interface,
    ifindex: u32,
}

fn targets(config: &Config) -> Result<Vec<Target>, DataplaneError> {
    let target = |interface: &Interface| {
        Ok(Target { interface: interface.clone(), ifindex: links::ifindex(interface)? })
    };
    config.interfaces.iter().map(target).collect()
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

/// New pinned tables, sized for `config` and holding its policy.
fn make_engine(
    config: &Config,
    standings: &Standings,
    pins: &Pins,
    found: &[Generation],
) -> Result<(Engine, Generation), DataplaneError> {
    let capacity = engine::capacity_for(config)?;
    let generation = pins.make_generation(found)?;
    let load = || {
        let mut engine = Engine::load(capacity, ProgramClock::Kernel, Some(&generation.dir))?;
        engine.set_standings(standings);
        engine.apply(config)?;
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
    let links = pins.links()?;
    let removed: Vec<_> =
        links.iter().map(|pin| links::remove(pin).map(|()| interface_name(pin.ifindex))).collect();
    pins.generations()?.iter().for_each(Generation::remove);
    pins.remove_if_empty();
    removed.into_iter().collect()
}

fn interface_name(ifindex: u32) -> String {
    let name = nix::net::if_::if_indextoname(ifindex).ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| format!("interface {ifindex} (gone)"))
}
