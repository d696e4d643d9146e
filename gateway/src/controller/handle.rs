//! How to ask whoever decides.

use std::net::IpAddr;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use super::core::{Answer, Command, Input};
use super::driver::{Driver, Jobs};
use super::{
    CaseError, Ended, Explained, FixedSettings, HistoryError, Observation, Overview, Policy, Release,
    ReloadError, Reloaded, SuspendError, View,
};
use crate::config::{BitRate, Config, Loaded, Restrict};
use crate::dataplane::{DataplaneError, Followed, Reader};
use crate::domain::Principal;
use crate::enforcement::{self, Case, CaseId, Resolution};
use crate::evidence::Captures;
use crate::ledger::{self, PastEntry};
use crate::store::{CaseEntry, Store, StoreError};
use crate::suspension::Suspension;

/// A reading of all counters is tried so often where configurations change meanwhile.
const READ_ATTEMPTS: usize = 3;

/// The running gateway, for everybody but the thread that decides. All methods but [`Self::policy`] may block: async
/// code calls them through [`tokio::task::spawn_blocking`].
pub struct Controller {
    jobs: Jobs,
    view: Arc<RwLock<Arc<View>>>,
    store: Arc<Store>,
}

impl Controller {
    /// Of a driver that somebody else keeps going.
    #[must_use]
    pub fn of(driver: &Driver) -> Self {
        Self { jobs: driver.jobs(), view: Arc::clone(driver.view()), store: Arc::clone(driver.store()) }
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.view().policy)
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the thread that decides do something; none: it has ended.
    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Driver) -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        // Whoever asked waits below.
        self.jobs.send(move |driver| drop(reply.send(question(driver))));
        answer.recv().ok()
    }

    /// Has something decided; none: nothing is decided any more.
    fn command(&self, command: Command) -> Option<Answer> {
        let (reply, answer) = sync_channel(1);
        self.jobs.send(move |driver| driver.command(command, move |decided| drop(reply.send(decided))));
        answer.recv().ok()
    }

    /// Policy and counters of this moment; none once stopped.
    ///
    /// Which suspensions and measures hold is what the kernel says.
    #[must_use]
    pub fn observe(&self) -> Option<Observation> {
        for attempt in 1.. {
            let (mut observation, reader) = self.ask(observe)??;
            let config = Arc::clone(&self.view().policy.config);
            observation.snapshot = reader.snapshot();
            // Else a place may be another tenant's by now.
            if attempt == READ_ATTEMPTS || Arc::ptr_eq(&config, &self.view().policy.config) {
                observation.ledger = self.store.health();
                return Some(observation);
            }
        }
        None
    }

    /// The gateway as a whole at this moment; none once stopped. Costs the same however many tenants there are.
    #[must_use]
    pub fn overview(&self) -> Option<Overview> {
        let store = Arc::clone(&self.store);
        self.ask(move |driver| {
            let plane = driver.plane()?;
            Some(Overview {
                interfaces: plane.interfaces(),
                memory: plane.memory(),
                ledger: store.health(),
                policy: Arc::clone(driver.core().policy()),
                last_reload: driver.core().last_reload().clone(),
                started_at: driver.started_at(),
            })
        })?
    }

    /// What decides about the packets of an address at this moment; none once stopped.
    #[must_use]
    pub fn explain(&self, address: IpAddr) -> Option<Explained> {
        self.ask(move |driver| {
            // Whoever asks has often just tried.
            driver.read_events();
            let (policy, at) = (driver.seen_policy(), driver.now().wall);
            Some(Explained::new(address, at, &policy, driver.core().samples(), driver.plane()?))
        })?
    }

    /// Refuses a configuration that only a restart can bring in.
    pub fn admit(&self, config: &Config) -> Result<(), ReloadError> {
        let changed = FixedSettings::from(&*self.policy().config).changed_by(&config.into());
        if changed.is_empty() { Ok(()) } else { Err(ReloadError::NeedsRestart { changed }) }
    }

    /// Puts a configuration into force in the place of the one before.
    pub fn replace(&self, loaded: Loaded) -> Result<Reloaded, ReloadError> {
        let (reply, answer) = sync_channel(1);
        self.jobs.send(move |driver| driver.replace(loaded, move |replaced| drop(reply.send(replaced))));
        match answer.recv() {
            Ok(Answer::Replaced(replaced)) => replaced,
            _ => Err(ReloadError::Stopping),
        }
    }

    /// Records that the files hold what is in force already.
    pub fn confirm(&self) {
        self.jobs.send(|driver| driver.handle(Input::Confirmed));
    }

    /// Records a reload that was refused.
    pub fn refused(&self, error: &ReloadError) {
        let error = error.to_string();
        self.jobs.send(|driver| driver.handle(Input::Refused(error)));
    }

    /// Suspends a tenant, or changes its suspension of this scope, from this moment on and across restarts;
    /// returns all that it has now. Where the data plane refuses it, it is tried again.
    pub fn suspend(
        &self,
        by: &Principal,
        tenant: &str,
        suspension: Suspension,
    ) -> Result<Vec<Suspension>, SuspendError> {
        match self.command(Command::Suspend { tenant: tenant.to_owned(), suspension, by: by.clone() }) {
            Some(Answer::Suspended(suspended)) => suspended,
            _ => Err(SuspendError::Stopping),
        }
    }

    /// Ends a tenant's suspensions and the measures against it and its sources, or one of them.
    pub fn restore(&self, tenant: &str, release: Release) -> Result<Ended, SuspendError> {
        match self.command(Command::Restore { tenant: tenant.to_owned(), release }) {
            Some(Answer::Restored(restored)) => restored,
            _ => Err(SuspendError::Stopping),
        }
    }

    /// Records that an operator has taken notice of what was lost of the ledger; returns what that was.
    pub fn acknowledge(&self, by: &Principal, reason: String) -> Result<Vec<String>, StoreError> {
        let losses = self.store.health().losses;
        match self.command(Command::Acknowledge { reason, by: by.clone(), losses }) {
            Some(Answer::Acknowledged(acknowledged)) => acknowledged,
            _ => Err(StoreError::stopping()),
        }
    }

    /// Open cases, of one tenant or of all, by their ids.
    #[must_use]
    pub fn open_cases(&self, tenant: Option<&str>) -> Vec<Case> {
        let tenant = tenant.map(str::to_owned);
        let open = self.ask(move |driver| {
            let is_asked_for = |case: &&Case| tenant.as_ref().is_none_or(|tenant| case.tenant == *tenant);
            driver.core().cases().cases().filter(is_asked_for).cloned().collect()
        });
        open.unwrap_or_default()
    }

    /// A case as it stands, if it is open, and all that was recorded of it.
    pub fn case(&self, id: CaseId) -> Result<(Option<Case>, Vec<CaseEntry>), CaseError> {
        let entries = self.store.read()?.case_entries(Some(id))?;
        if entries.is_empty() {
            return Err(CaseError::Unknown(id));
        }
        let open = self.ask(move |driver| driver.core().cases().case(id).cloned());
        Ok((open.flatten(), entries))
    }

    /// Writes something down in a case.
    pub fn note_case(&self, case: CaseId, by: &Principal, text: String) -> Result<(), CaseError> {
        self.case_command(enforcement::Command::Note { case, by: by.clone(), text })
    }

    /// Closes a case; a mistake takes its strikes back.
    pub fn close_case(
        &self,
        case: CaseId,
        resolution: Resolution,
        by: &Principal,
        reason: String,
    ) -> Result<(), CaseError> {
        self.case_command(enforcement::Command::Close { case, resolution, by: by.clone(), reason })
    }

    /// Holds a tenant to a lower cap, both ways, until a time or until it is restored.
    pub fn slow(
        &self,
        by: &Principal,
        tenant: &str,
        cap: BitRate,
        until: Option<Timestamp>,
        reason: String,
    ) -> Result<(), CaseError> {
        let (tenant, by, restrict) = (tenant.to_owned(), by.clone(), Restrict::Cap);
        self.case_command(enforcement::Command::Suspend {
            tenant,
            restrict,
            cap: Some(cap),
            until,
            by,
            reason,
        })
    }

    /// Confirms the restoration that somebody else asked for.
    pub fn confirm_case(&self, case: CaseId, by: &Principal, reason: String) -> Result<(), CaseError> {
        self.case_command(enforcement::Command::Confirm { case, by: by.clone(), reason })
    }

    /// Declines it: what the case restricts goes on.
    pub fn decline_case(&self, case: CaseId, by: &Principal, reason: String) -> Result<(), CaseError> {
        self.case_command(enforcement::Command::Decline { case, by: by.clone(), reason })
    }

    fn case_command(&self, command: enforcement::Command) -> Result<(), CaseError> {
        match self.command(Command::Case(command)) {
            Some(Answer::Case(done)) => done,
            _ => Err(CaseError::Stopping),
        }
    }

    /// The newest `limit` entries of the ledger about a tenant, newest first. A tenant that left the
    /// configuration keeps its history.
    pub fn history(&self, tenant: &str, limit: u32) -> Result<Vec<PastEntry>, HistoryError> {
        let captures = Captures::of(self.store.state_dir());
        let history = ledger::history(&self.store.read()?, &captures, tenant, limit)?;
        if history.is_empty() && self.policy().effective.tenant(tenant).is_none() {
            return Err(HistoryError::Unknown(tenant.to_owned()));
        }
        Ok(history)
    }

    /// Polices interfaces that came back; to be called whenever interfaces may have changed.
    #[must_use]
    pub fn follow_interfaces(&self) -> Vec<Followed> {
        self.ask(Driver::follow_interfaces).unwrap_or_default()
    }

    /// Ends enforcement as `gateway.on_stop` says. Further calls do nothing.
    pub fn stop(&self) -> Result<(), DataplaneError> {
        self.ask(Driver::stop).unwrap_or(Ok(()))
    }
}

/// All but the counters, and what reads these.
fn observe(driver: &mut Driver) -> Option<(Observation, Reader)> {
    let policy = driver.seen_policy();
    let (core, plane) = (driver.core(), driver.plane()?);
    let observation = Observation {
        snapshot: Default::default(),
        events: plane.event_counters(),
        detection: plane.detection_counters(),
        memory: plane.memory(),
        policy,
        offences: Arc::clone(core.offences()),
        are_measures_held: core.are_measures_held(),
        ledger: Default::default(),
        cases: core.case_counts(),
        standings: core.standings(),
        approvals_waiting: core.approvals_waiting(),
        last_reload: core.last_reload().clone(),
        started_at: driver.started_at(),
    };
    Some((observation, plane.reader()))
}
