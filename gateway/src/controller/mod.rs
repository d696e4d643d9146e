//! The policy in force and the data plane that enforces it.
//!
//! A reload is all or nothing: whatever goes wrong, the policy before it stays in force, and the failure
//! is remembered until a reload succeeds. Exemptions lapse by themselves, without their file being read
//! again (policy rule M2), and caps that were lowered for a sudden rise (S3) are as configured again.

mod cases;
mod comparison;
mod explain;
mod fixed;
mod headers;
mod offences;
mod policy;
mod reload;
mod samples;
mod suspects;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use tokio::sync::Notify;

pub use cases::CaseError;
pub use explain::{Explained, Owner};
pub use fixed::FixedSettings;
pub use headers::Headers;
pub use offences::{Ended, HistoryError, Release, Released};
pub use policy::Policy;
pub use reload::{LastReload, ReloadError, Reloaded, listen_remedy};
pub use samples::{Sample, Samples};

use crate::clock;
use crate::config::{CaseClass, CaseSeverity, Config, Loaded};
use crate::dataplane::{
    DataplaneError, DetectionCounters, Event, EventCounters, EventKind, Followed, Foreign, InterfaceCounters,
    Plane, Snapshot, TableMemory,
};
use crate::detect::OffenceTally;
use crate::policy::{Effective, Lapsed, Overrides};
use crate::store::{self, Acknowledged, Actor, Expired, Fact, Health, Moment, Record, Store, StoreError};
use crate::suspension::{Scope, Suspension};
use cases::Cases;
use suspects::Suspects;

/// The running gateway. All methods may block on the kernel: async code calls them through
/// [`tokio::task::spawn_blocking`].
pub struct Controller {
    started_at: Timestamp,
    store: Store,
    /// Held by whoever decides, from the look at what is to the effect of the decision: what is written in
    /// between takes as long as the disk does, and nobody else waits for that.
    deciding: Mutex<()>,
    /// Of its own, so that nobody who looks at cases waits for the data plane.
    cases: Mutex<Cases>,
    state: Mutex<State>,
    /// Woken when a suspension or a lowered cap changes, and with it perhaps what lapses next.
    changed: Notify,
}

struct State {
    /// None once stopped.
    plane: Option<Box<dyn Plane>>,
    policy: Arc<Policy>,
    /// What was decided at run time; all of it is on the disk, unless it is provisional.
    overrides: Overrides,
    /// Whether `overrides` have suspensions that only a backup or the kernel knows: the store could not be read,
    /// or has lost something that was not adopted yet.
    is_provisional: bool,
    samples: Samples,
    suspects: Suspects,
    offences: Arc<OffenceTally>,
    /// Whether measures are held back: there is an outage upstream.
    are_measures_held: bool,
    last_reload: LastReload,
}

/// Why a tenant was not suspended or restored.
#[derive(Debug, thiserror::Error)]
pub enum SuspendError {
    /// The configuration has no such tenant.
    #[error("no tenant {0:?} is configured; `fairway tenants` lists them")]
    Unknown(String),
    /// There is nothing to restore.
    #[error("tenant {0:?} is not suspended, and no measure holds against it")]
    NothingToRestore(String),
    /// There is nothing to restore of this scope.
    #[error("tenant {1:?} has no suspension of scope {scope}; `fairway tenants` shows those that it has", scope = .0.label())]
    NotSuspended(Scope, String),
    /// There is nothing to restore for this source.
    #[error("no measure holds against {0} of tenant {1:?}; `fairway history {1}` tells what there was")]
    NoMeasure(IpNetwork, String),
    /// It could not be recorded.
    #[error("{0}. Nothing has changed")]
    NotKept(#[from] StoreError),
    /// It is on the disk, and the data plane refused it.
    #[error("it is recorded, but not in force: {0}. It is tried again within a minute")]
    NotEnforced(#[from] DataplaneError),
    /// The controller is going down.
    #[error("the controller is stopping; try again when the next one has started")]
    Stopping,
}

/// Policy and counters that belong together, read at one moment.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// How many offences there were, and which measures hold.
    pub offences: Arc<OffenceTally>,
    /// Whether measures are held back: there is an outage upstream.
    pub are_measures_held: bool,
    /// How writing the ledger goes.
    pub ledger: Health,
    /// How many cases are open, by class and severity.
    pub cases: BTreeMap<(CaseClass, CaseSeverity), u64>,
    /// How detection fares; none without detectors.
    pub detection: Option<DetectionCounters>,
    /// Its counters, in the order of the policy's tenants and interfaces.
    pub snapshot: Snapshot,
    /// Events that the programs could not report.
    pub events: EventCounters,
    /// Size of the kernel's tables.
    pub memory: TableMemory,
    /// How the last reload went.
    pub last_reload: LastReload,
    /// When the controller started.
    pub started_at: Timestamp,
}

/// The gateway as a whole: what [`Observation`] has, but for the tenants.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// In the order of the policy's interfaces.
    pub interfaces: Vec<InterfaceCounters>,
    /// Size of the kernel's tables.
    pub memory: TableMemory,
    /// How writing the ledger goes.
    pub ledger: Health,
    /// How the last reload went.
    pub last_reload: LastReload,
    /// When the controller started.
    pub started_at: Timestamp,
}

impl Controller {
    /// Brings up the data plane by `start` with the first policy, who is suspended, and the measures
    /// that hold, as the store says.
    pub fn start(
        loaded: Loaded,
        store: Store,
        start: impl FnOnce(&Effective, Foreign) -> Result<Box<dyn Plane>, DataplaneError>,
    ) -> Result<Self, DataplaneError> {
        let loaded_at = clock::wall();
        let now = store::now();
        let (recalled, is_readable) = offences::recall(&store, &now);
        let cases = Cases::recall(&store);
        let offences = OffenceTally::resume(
            recalled.counts.clone(),
            offences::of_their_tenants(recalled.measures.clone(), &loaded.config),
        );
        let in_force: Vec<_> = offences.in_force(loaded_at).cloned().collect();
        let mut overrides = Overrides::of(recalled.suspensions.iter().cloned(), &in_force);
        let over = overrides.take_suspensions_over_at(loaded_at);
        let policy = Arc::new(Policy::new(loaded, &overrides, loaded_at));
        let is_provisional = !is_readable || recalled.is_to_adopt;
        let foreign = if is_provisional { Foreign::Kept } else { Foreign::Ended };
        let mut plane = start(&policy.effective, foreign)?;
        plane.impose(&in_force);
        let at = Timestamp::now();
        let last_reload = LastReload { at, error: None, succeeded_at: at };
        let changed = Notify::new();
        let controller = Self {
            started_at: at,
            changed,
            store,
            deciding: Mutex::new(()),
            cases: Mutex::new(cases),
            state: Mutex::new(State {
                plane: Some(plane),
                policy,
                overrides,
                is_provisional,
                offences: Arc::new(offences),
                samples: Samples::default(),
                suspects: Suspects::default(),
                are_measures_held: false,
                last_reload,
            }),
        };
        controller.record_ends(&now, &over);
        if is_provisional {
            controller.state().hold_to_what_is_seen(&now);
        }
        if is_readable && let Err(error) = controller.put_right(recalled, &now) {
            tracing::error!("{error}. What the kernel enforces is compared with it in a minute");
        }
        Ok(controller)
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.state().policy)
    }

    /// Policy and counters of this moment; none once stopped.
    ///
    /// Which suspensions and measures hold is what the kernel says.
    pub fn observe(&self) -> Option<Observation> {
        let cases = self.cases().counts();
        let mut state = self.state();
        let now = store::now();
        state.see_measures(&now);
        let policy = state.seen_policy(&now);
        let plane = state.plane.as_ref()?;
        Some(Observation {
            snapshot: plane.snapshot(),
            events: plane.event_counters(),
            detection: plane.detection_counters(),
            memory: plane.memory(),
            policy,
            offences: Arc::clone(&state.offences),
            are_measures_held: state.are_measures_held,
            ledger: self.store.health(),
            cases,
            last_reload: state.last_reload.clone(),
            started_at: self.started_at,
        })
    }

    /// The gateway as a whole at this moment; none once stopped. Costs the same however many tenants there are.
    pub fn overview(&self) -> Option<Overview> {
        let state = self.state();
        let plane = state.plane.as_ref()?;
        Some(Overview {
            interfaces: plane.interfaces(),
            memory: plane.memory(),
            ledger: self.store.health(),
            policy: Arc::clone(&state.policy),
            last_reload: state.last_reload.clone(),
            started_at: self.started_at,
        })
    }

    /// What decides about the packets of an address at this moment; none once stopped.
    pub fn explain(&self, address: IpAddr) -> Option<Explained> {
        let mut state = self.state();
        // Whoever asks has often just tried.
        state.read_events();
        let policy = state.seen_policy(&store::now());
        let plane = state.plane.as_ref()?;
        Some(Explained::new(address, &policy, &state.samples, plane.as_ref()))
    }

    /// Refuses a configuration that only a restart can bring in.
    pub fn admit(&self, config: &Config) -> Result<(), ReloadError> {
        let changed = FixedSettings::from(&*self.policy().config).changed_by(&config.into());
        if changed.is_empty() { Ok(()) } else { Err(ReloadError::NeedsRestart { changed }) }
    }

    /// Puts a configuration into force in the place of the one before.
    pub fn replace(&self, loaded: Loaded) -> Result<Reloaded, ReloadError> {
        let mut state = self.state();
        let policy = Policy::new(loaded, &state.overrides, clock::wall());
        let applied = state.plane.as_mut().ok_or(ReloadError::Stopping)?.apply(&policy.effective)?;
        self.store.limit_evidence(policy.config.evidence);
        let (digest, warnings) = (policy.config.digest, policy.warnings.clone());
        state.policy = Arc::new(policy);
        state.forget_samples_of_strangers();
        state.succeeded();
        Ok(Reloaded { digest, applied, warnings })
    }

    /// Records that the files hold what is in force already.
    pub fn confirm(&self) {
        self.state().succeeded();
    }

    /// Records a reload that was refused.
    pub fn refused(&self, error: &ReloadError) {
        let last = &mut self.state().last_reload;
        last.at = Timestamp::now();
        last.error = Some(error.to_string());
    }

    /// Suspends a tenant, or changes its suspension of this scope, from this moment on and across restarts;
    /// returns all that it has now. Where the data plane refuses it, [`Self::compare`] tries again.
    pub fn suspend(&self, tenant: &str, suspension: Suspension) -> Result<Vec<Suspension>, SuspendError> {
        let _deciding = self.decide();
        let suspension = Suspension {
            since: store::to_microsecond(suspension.since),
            until: suspension.until.map(store::to_microsecond),
            ..suspension
        };
        let record = {
            let state = self.state();
            state.must_run()?;
            state.must_know(tenant)?;
            let Suspension { scope, reason, by, since, until } = suspension.clone();
            let actor = Actor::operator(by.as_deref().unwrap_or("unknown"));
            let fact = Fact::Suspended(store::Suspended { scope, until, reason });
            state.record(&store::now().at(since), actor, tenant, fact)
        };
        self.store.commit(vec![record])?;
        let mut state = self.state();
        state.overrides.suspend(tenant, suspension);
        self.changed.notify_one();
        state.suspensions_changed(&[tenant])?;
        Ok(state.overrides.suspensions(tenant).to_vec())
    }

    /// Ends the suspensions whose time is over at `now`; returns them, each with its tenant. That they end was
    /// decided when they began: it does not wait for the disk.
    pub fn end_suspensions(&self, now: &Moment) -> Vec<(String, Suspension)> {
        let _deciding = self.decide();
        let mut state = self.state();
        let over = state.overrides.take_suspensions_over_at(now.wall);
        if over.is_empty() {
            return over;
        }
        let tenants: Vec<_> = over.iter().map(|(tenant, _)| tenant.as_str()).collect();
        if let Err(error) = state.suspensions_changed(&tenants) {
            tracing::error!(
                "cannot end suspensions whose time is over: {error}. It is tried again within a minute"
            );
        }
        drop(state);
        self.record_ends(now, &over);
        over
    }

    /// Records that the time of suspensions is over. What cannot be recorded now is at the next start: it is
    /// over by its time.
    fn record_ends(&self, now: &Moment, over: &[(String, Suspension)]) {
        if over.is_empty() {
            return;
        }
        let record = |(tenant, suspension): &(String, Suspension)| {
            let fact = Expired { scope: suspension.scope, reason: suspension.reason.clone() };
            self.state().record(now, Actor::controller(), tenant, Fact::Expired(fact))
        };
        if let Err(error) = self.store.commit(over.iter().map(record).collect()) {
            tracing::error!("{error}. That suspensions are over is recorded later");
        }
    }

    /// Records that an operator has taken notice of what was lost of the ledger; returns what that was.
    pub fn acknowledge(&self, by: &str, reason: String) -> Result<Vec<String>, StoreError> {
        let _deciding = self.decide();
        let losses = self.store.health().losses;
        let fact = Fact::Acknowledged(Acknowledged { reason });
        let config = Some(self.policy().config.digest);
        let record = Record { at: store::now(), actor: Actor::operator(by), tenant: None, config, fact };
        self.store.commit(vec![record])?;
        Ok(losses)
    }

    /// Returns when a suspension or a lowered cap has changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// When something ends by itself next: an exemption, an allowance, a lowered cap or a suspension.
    pub fn next_lapse(&self) -> Option<Timestamp> {
        let state = self.state();
        // A tenant that is not configured may be suspended, too.
        [state.policy.effective.next_end(), state.overrides.next_suspension_end()].into_iter().flatten().min()
    }

    /// Takes exemptions, allowances and lowered caps out of force whose time is over at `now`. On an error they
    /// stay in the policy; exemptions and allowances the data plane itself does not honour any more either way.
    pub fn lapse(&self, now: Timestamp) -> Result<Vec<Lapsed>, DataplaneError> {
        let mut state = self.state();
        let lapsed = state.policy.effective.lapsed_at(now);
        if !lapsed.is_empty() {
            let mut overrides = state.overrides.clone();
            overrides.raise_caps_over_at(now);
            state.put_overrides_into_force(overrides, now)?;
        }
        Ok(lapsed)
    }

    /// Polices interfaces that came back; to be called whenever interfaces may have changed.
    pub fn follow_interfaces(&self) -> Vec<Followed> {
        self.state().plane.as_mut().map_or_else(Vec::new, |plane| plane.follow_interfaces())
    }

    /// Files what the programs reported since the last call.
    pub fn read_events(&self) {
        self.state().read_events();
    }

    /// Ends enforcement as `gateway.on_stop` says. Further calls do nothing.
    pub fn stop(&self) -> Result<(), DataplaneError> {
        let _deciding = self.decide();
        let mut state = self.state();
        let on_stop = state.policy.config.gateway.on_stop;
        state.plane.take().map_or(Ok(()), |plane| plane.stop(on_stop))
    }

    /// The right to decide. Taken before the state, and released after it.
    fn decide(&self) -> MutexGuard<'_, ()> {
        self.deciding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cases(&self) -> MutexGuard<'_, Cases> {
        self.cases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic elsewhere must not end policing: each method leaves the state whole at every step, so a
    /// poisoned lock guards nothing broken.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn must_know(&self, tenant: &str) -> Result<(), SuspendError> {
        let tenants = &self.policy.config.tenants;
        match tenants.binary_search_by(|known| known.id.as_str().cmp(tenant)) {
            Ok(_) => Ok(()),
            Err(_) => Err(SuspendError::Unknown(tenant.to_owned())),
        }
    }

    fn read_events(&mut self) {
        let events = self.plane.as_mut().map_or_else(Vec::new, |plane| plane.take_events());
        for Event { at, tenant, direction, kind } in events {
            match kind {
                EventKind::Drop(reason, packet) => {
                    self.samples.add(Sample::of(tenant, at, direction, reason, &packet));
                }
                EventKind::Suspect(packet) => self.suspects.add(at, packet),
            }
        }
    }

    fn forget_samples_of_strangers(&mut self) {
        let tenants = &self.policy.config.tenants;
        self.samples.retain(|id| tenants.binary_search_by(|known| known.id.as_str().cmp(id)).is_ok());
    }

    /// Whether decisions can still take effect.
    fn must_run(&self) -> Result<(), SuspendError> {
        if self.plane.is_some() { Ok(()) } else { Err(SuspendError::Stopping) }
    }

    /// What is recorded of a fact about a tenant.
    fn record(&self, at: &Moment, actor: Actor, tenant: &str, fact: Fact) -> Record {
        let (tenant, config) = (Some(tenant.to_owned()), Some(self.policy.config.digest));
        Record { at: at.clone(), actor, tenant, config, fact }
    }

    /// Puts suspensions of these tenants into force that the store has on the disk already. They are decided,
    /// so that the policy has them even where the data plane refuses: the next comparison tries again.
    fn suspensions_changed(&mut self, tenants: &[&str]) -> Result<(), DataplaneError> {
        let policy = self.policy.with(&self.overrides, self.policy.effective.at());
        let assigned = self.plane.as_mut().map_or(Ok(()), |plane| plane.assign(&policy.effective, tenants));
        self.policy = Arc::new(policy);
        assigned
    }

    /// Puts the policy into force under these decisions: only of tenants about which something else is decided, or
    /// whose exemptions or lowered caps are over at `now`. Allowances are of no tenant, and after a step back of the
    /// wall clock exemptions of any tenant may hold again: then the whole policy is applied.
    fn put_overrides_into_force(
        &mut self,
        overrides: Overrides,
        now: Timestamp,
    ) -> Result<(), DataplaneError> {
        let Some(plane) = self.plane.as_mut() else { return Ok(()) };
        let lapsed = self.policy.effective.lapsed_at(now);
        let policy = self.policy.with(&overrides, now);
        let is_back = now < self.policy.effective.at();
        if is_back || lapsed.iter().any(|over| over.tenant().is_none()) {
            plane.apply(&policy.effective)?;
        } else {
            let mut tenants = overrides.differing(&self.overrides);
            tenants.extend(lapsed.iter().filter_map(Lapsed::tenant));
            plane.assign(&policy.effective, &tenants)?;
        }
        self.policy = Arc::new(policy);
        self.overrides = overrides;
        Ok(())
    }

    fn succeeded(&mut self) {
        let at = Timestamp::now();
        self.last_reload = LastReload { at, error: None, succeeded_at: at };
    }
}
