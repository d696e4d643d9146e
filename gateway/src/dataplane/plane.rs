//! What a controller needs of a data plane.

use std::time::Duration;

use super::{
    Applied, Backlog, Compiled, Compiler, Dataplane, DataplaneError, DetectionCounters, Event, EventCounters,
    Followed, InterfaceCounters, Reader, Restrictions, TableMemory, TenantCounters,
};
use crate::config::OnStop;
use crate::detect::{HeldMeasure, Lift, MeasureInForce, Offence, Watched};
use crate::policy::Effective;

/// The attached data plane; tests put one in its place that attaches to nothing.
///
/// The methods mean what those of [`Dataplane`] with the same names say. They may block.
pub trait Plane: Send {
    /// Replaces the policy, or changes nothing.
    fn apply(&mut self, policy: &Effective) -> Result<Applied, DataplaneError>;
    /// What compiles the next policy beside.
    fn compiler(&self) -> Compiler {
        Compiler::idle()
    }
    /// Replaces the policy by one that was compiled, or changes nothing.
    fn apply_compiled(&mut self, policy: &Effective, _compiled: Compiled) -> Result<Applied, DataplaneError> {
        self.apply(policy)
    }
    /// Puts the policies of these tenants into force, without touching any other's.
    fn assign(&mut self, policy: &Effective, tenants: &[&str]) -> Result<(), DataplaneError>;
    /// Reads the counters of one tenant; none if it is not policed.
    fn counters(&self, tenant: &str) -> Option<TenantCounters>;
    /// What tenants are forbidden in fact, those aside that are forbidden nothing; none: it cannot be asked.
    fn restrictions_in_force(&self) -> Option<Restrictions> {
        None
    }
    /// Measures that hold against sources in fact; none: it cannot be asked.
    fn held_measures(&self) -> Option<Vec<HeldMeasure>> {
        None
    }
    /// Offences that the data plane saw, and acted on by itself, since the last call.
    ///
    /// A data plane without detectors sees none, and has no measures to take or to end.
    fn take_offences(&mut self) -> Vec<Offence> {
        Vec::new()
    }
    /// Takes measures that still hold, after a start.
    fn impose(&mut self, _measures: &[MeasureInForce]) {}
    /// Ends measures, and forgets what was counted of their sources, so that they start afresh.
    fn lift(&mut self, _lift: &Lift) {}
    /// What is known of the source that an address belongs to; none if nothing is.
    fn watched(&self, _address: std::net::IpAddr) -> Option<Watched> {
        None
    }
    /// How detection fares; none without detectors.
    fn detection_counters(&self) -> Option<DetectionCounters> {
        None
    }
    /// Takes no new measures for this long, then takes them again: a controller that dies must not hold
    /// them back for good.
    fn hold_measures(&mut self, _for_now: Duration) {}
    /// Takes measures again, and forgets the failures that were counted while they were held back.
    fn release_measures(&mut self) {}
    /// Attaches to configured interfaces that came back.
    fn follow_interfaces(&mut self) -> Vec<Followed>;
    /// What reads all counters, beside.
    fn reader(&self) -> Reader;
    /// The interfaces' counters; with many tenants much faster than all.
    fn interfaces(&self) -> Vec<InterfaceCounters>;
    /// What the programs reported since the last call.
    fn take_events(&mut self) -> Vec<Event>;
    /// How many events never arrived.
    fn event_counters(&self) -> EventCounters;
    /// Where a tenant's caps stand, by direction.
    fn backlogs(&self, tenant: &str) -> Result<Option<[Backlog; 2]>, DataplaneError>;
    /// Size of the tables.
    fn memory(&self) -> TableMemory;
    /// Orderly end.
    fn stop(self: Box<Self>, on_stop: OnStop) -> Result<(), DataplaneError>;
}

impl Plane for Dataplane {
    fn apply(&mut self, policy: &Effective) -> Result<Applied, DataplaneError> {
        Self::apply(self, policy)
    }

    fn compiler(&self) -> Compiler {
        Self::compiler(self)
    }

    fn apply_compiled(&mut self, policy: &Effective, compiled: Compiled) -> Result<Applied, DataplaneError> {
        Self::apply_compiled(self, policy, compiled)
    }

    fn assign(&mut self, policy: &Effective, tenants: &[&str]) -> Result<(), DataplaneError> {
        Self::assign(self, policy, tenants)
    }

    fn counters(&self, tenant: &str) -> Option<TenantCounters> {
        Self::counters(self, tenant)
    }

    fn restrictions_in_force(&self) -> Option<Restrictions> {
        Some(Self::restrictions_in_force(self))
    }

    fn held_measures(&self) -> Option<Vec<HeldMeasure>> {
        Some(Self::held_measures(self))
    }

    fn take_offences(&mut self) -> Vec<Offence> {
        Self::take_offences(self)
    }

    fn impose(&mut self, measures: &[MeasureInForce]) {
        Self::impose(self, measures);
    }

    fn lift(&mut self, lift: &Lift) {
        Self::lift(self, lift);
    }

    fn watched(&self, address: std::net::IpAddr) -> Option<Watched> {
        Self::watched(self, address)
    }

    fn detection_counters(&self) -> Option<DetectionCounters> {
        Some(Self::detection_counters(self))
    }

    fn hold_measures(&mut self, for_now: Duration) {
        Self::hold_measures(self, for_now);
    }

    fn release_measures(&mut self) {
        Self::release_measures(self);
    }

    fn follow_interfaces(&mut self) -> Vec<Followed> {
        Self::follow_interfaces(self)
    }

    fn reader(&self) -> Reader {
        Self::reader(self)
    }

    fn interfaces(&self) -> Vec<InterfaceCounters> {
        Self::interfaces(self)
    }

    fn take_events(&mut self) -> Vec<Event> {
        Self::take_events(self)
    }

    fn event_counters(&self) -> EventCounters {
        Self::event_counters(self)
    }

    fn backlogs(&self, tenant: &str) -> Result<Option<[Backlog; 2]>, DataplaneError> {
        Self::backlogs(self, tenant)
    }

    fn memory(&self) -> TableMemory {
        Self::memory(self)
    }

    fn stop(self: Box<Self>, on_stop: OnStop) -> Result<(), DataplaneError> {
        Self::stop(*self, on_stop)
    }
}
