//! The policy in force and the data plane that enforces it.
//!
//! A reload is all or nothing: whatever goes wrong, the policy before it stays in force, and the failure
//! is remembered until a reload succeeds. Exemptions lapse by themselves, without their file being read
//! again (policy rule M2).

mod fixed;
mod policer;
mod policy;
mod reload;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

pub use fixed::FixedSettings;
pub use policer::Policer;
pub use policy::{Lapsed, Policy};
pub use reload::{LastReload, ReloadError, Reloaded, listen_remedy};

use crate::config::{Config, Loaded};
use crate::dataplane::{DataplaneError, Snapshot, TableMemory};

/// The running gateway. All methods may block on the kernel: async code calls them through
/// [`tokio::task::spawn_blocking`].
pub struct Controller {
    started_at: Timestamp,
    state: Mutex<State>,
}

struct State {
    /// None once stopped.
    policer: Option<Box<dyn Policer>>,
    policy: Arc<Policy>,
    last_reload: LastReload,
}

/// Policy and counters that belong together, read at one moment.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// Its counters, in the order of the policy's tenants and interfaces.
    pub snapshot: Snapshot,
    /// Size of the kernel's tables.
    pub memory: TableMemory,
    /// How the last reload went.
    pub last_reload: LastReload,
    /// When the controller started.
    pub started_at: Timestamp,
}

impl Controller {
    /// Brings up the data plane by `start` with the first policy.
    pub fn start(
        loaded: Loaded,
        start: impl FnOnce(&Config) -> Result<Box<dyn Policer>, DataplaneError>,
    ) -> Result<Self, DataplaneError> {
        let loaded_at = Timestamp::now();
        let policer = Some(start(&loaded.config)?);
        let policy = Arc::new(Policy::new(loaded, loaded_at));
        let at = Timestamp::now();
        let last_reload = LastReload { at, error: None, succeeded_at: at };
        Ok(Self { started_at: at, state: Mutex::new(State { policer, policy, last_reload }) })
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.state().policy)
    }

    /// Policy and counters of this moment; none once stopped.
    pub fn observe(&self) -> Option<Observation> {
        let state = self.state();
        let policer = state.policer.as_ref()?;
        Some(Observation {
            snapshot: policer.snapshot(),
            memory: policer.memory(),
            policy: Arc::clone(&state.policy),
            last_reload: state.last_reload.clone(),
            started_at: self.started_at,
        })
    }

    /// Refuses a configuration that only a restart can bring in.
    pub fn admit(&self, config: &Config) -> Result<(), ReloadError> {
        let changed = FixedSettings::from(&self.policy().config).changed_by(&config.into());
        if changed.is_empty() { Ok(()) } else { Err(ReloadError::NeedsRestart { changed }) }
    }

    /// Puts a configuration into force in the place of the one before.
    pub fn replace(&self, loaded: Loaded) -> Result<Reloaded, ReloadError> {
        let mut state = self.state();
        let applied = state.policer.as_mut().ok_or(ReloadError::Stopping)?.apply(&loaded.config)?;
        let (digest, warnings) = (loaded.config.digest, loaded.warnings.clone());
        state.policy = Arc::new(Policy::new(loaded, Timestamp::now()));
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

    /// Takes exemptions out of force whose time is over at `now`. On an error they stay in the
    /// policy; the data plane itself does not honour them any more either way.
    pub fn lapse(&self, now: Timestamp) -> Result<Vec<Lapsed>, DataplaneError> {
        let mut state = self.state();
        if state.policy.next_lapse.is_none_or(|at| now < at) {
            return Ok(Vec::new());
        }
        let (policy, lapsed) = state.policy.at(now);
        if let Some(policer) = state.policer.as_mut() {
            policer.apply(&policy.config)?;
            state.policy = Arc::new(policy);
        }
        Ok(lapsed)
    }

    /// Ends enforcement as `gateway.on_stop` says. Further calls do nothing.
    pub fn stop(&self) -> Result<(), DataplaneError> {
        let mut state = self.state();
        let on_stop = state.policy.config.gateway.on_stop;
        state.policer.take().map_or(Ok(()), |policer| policer.stop(on_stop))
    }

    /// A panic elsewhere must not end policing: each method leaves the state whole at every step, so a
    /// poisoned lock guards nothing broken.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn succeeded(&mut self) {
        let at = Timestamp::now();
        self.last_reload = LastReload { at, error: None, succeeded_at: at };
    }
}
