//! Does what the core decides: tells the data plane, the store and the log, and reports back.
//!
//! Nothing here takes longer than a switch of policies does (20 ms for 100,000 tenants): what takes longer (the disk,
//! compiling, reading all counters) is done beside, and comes back as a job.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::core::{
    Answer, Beginning, Command, Core, Effect, Generation, Input, RequestId, Seen, of_their_tenants,
    restraints,
};
use super::{Policy, View, tell};
use crate::config::Loaded;
use crate::dataplane::{Compiled, DataplaneError, Foreign, Plane};
use crate::detect::{ContactTotals, Look, OffenceTally};
use crate::domain::Moment;
use crate::enforcement;
use crate::policy::{Effective, Overrides};
use crate::store::{Recalled, Store, StoreError};

/// Something for whoever owns the core.
pub type Job = Box<dyn FnOnce(&mut Driver) + Send>;

/// Where jobs go.
#[derive(Clone)]
pub struct Jobs(Sender<Job>);

impl Jobs {
    /// Sends a job; false: nobody will do it.
    pub fn send(&self, job: impl FnOnce(&mut Driver) + Send + 'static) -> bool {
        self.0.send(Box::new(job)).is_ok()
    }
}

/// Tells the time.
pub type Clock = fn() -> Moment;

type Reply = Box<dyn FnOnce(Answer) + Send>;

/// The core, and what it decides about.
pub struct Driver {
    core: Core,
    /// None once stopped.
    plane: Option<Box<dyn Plane>>,
    store: Arc<Store>,
    clock: Clock,
    jobs: Jobs,
    view: Arc<RwLock<Arc<View>>>,
    started_at: Timestamp,
    replies: BTreeMap<RequestId, Reply>,
    last_request: u64,
}

impl Driver {
    /// Brings up the data plane by `start` with the first policy, who is suspended, and the measures that hold, as
    /// the store says. Returns too where the jobs come from that are to be done.
    pub fn start(
        loaded: Loaded,
        store: Store,
        start: impl FnOnce(&Effective, Foreign) -> Result<Box<dyn Plane>, DataplaneError>,
        clock: Clock,
    ) -> Result<(Self, Receiver<Job>), DataplaneError> {
        let now = clock();
        let (recalled, is_readable) = recall(&store, &now);
        let in_force = of_their_tenants(recalled.measures.clone(), &loaded.config);
        let offences = OffenceTally::resume(recalled.counts.clone(), in_force);
        let in_force: Vec<_> = offences.in_force(now.wall).cloned().collect();
        let mut overrides = Overrides::of(recalled.suspensions.iter().cloned(), &in_force);
        let cases = recall_cases(&store);
        for (tenant, restraints) in restraints(&cases) {
            overrides.restrain(&tenant, restraints);
        }
        let over = overrides.take_suspensions_over_at(now.wall);
        let policy = Policy::new(loaded, &overrides, now.wall);
        let is_provisional = !is_readable || recalled.is_to_adopt;
        let foreign = if is_provisional { Foreign::Kept } else { Foreign::Ended };
        let mut plane = start(&policy.effective, foreign)?;
        plane.impose(&in_force);
        let beginning = Beginning { policy, overrides, is_provisional, offences, cases };
        let now = clock();
        let core = Core::new(beginning, &now);
        let view = View { policy: Arc::clone(core.policy()), last_reload: core.last_reload().clone() };
        let (jobs, to_do) = channel();
        let mut driver = Self {
            core,
            plane: Some(plane),
            store: Arc::new(store),
            clock,
            jobs: Jobs(jobs),
            view: Arc::new(RwLock::new(Arc::new(view))),
            started_at: now.wall,
            replies: BTreeMap::new(),
            last_request: 0,
        };
        let mut effects = Vec::new();
        driver.core.record_ends(over, &now, &mut effects);
        driver.perform_all(effects, &now);
        let seen = driver.see();
        if is_provisional {
            driver.core.hold_to_what_is_seen(&seen, &now);
        }
        if is_readable {
            driver.handle(Input::Recalled(Ok(Box::new(recalled)), seen));
        } else {
            driver.publish();
        }
        Ok((driver, to_do))
    }

    /// Who decides.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The data plane; none once stopped.
    #[must_use]
    pub fn plane(&self) -> Option<&dyn Plane> {
        self.plane.as_deref()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What everybody may read at any time.
    pub(super) fn view(&self) -> &Arc<RwLock<Arc<View>>> {
        &self.view
    }

    /// When the controller started.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Where jobs for it go.
    #[must_use]
    pub fn jobs(&self) -> Jobs {
        self.jobs.clone()
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Moment {
        (self.clock)()
    }

    /// How long there is nothing to do unless something happens.
    #[must_use]
    pub fn idle_for(&self) -> Duration {
        let now = self.now();
        self.core.next_deadline(&now).saturating_sub(now.running())
    }

    /// Hands a command in; `reply` gets the answer, perhaps later.
    pub fn command(&mut self, command: Command, reply: impl FnOnce(Answer) + Send + 'static) {
        let request = self.request(reply);
        self.handle(Input::Command(request, command));
    }

    /// Puts a configuration into force in the place of the one before.
    pub fn replace(&mut self, loaded: Loaded, reply: impl FnOnce(Answer) + Send + 'static) {
        let request = self.request(reply);
        self.handle(Input::Replace(request, Box::new(loaded)));
    }

    fn request(&mut self, reply: impl FnOnce(Answer) + Send + 'static) -> RequestId {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.replies.insert(request, Box::new(reply));
        request
    }

    /// Hands something in, and does what comes of it.
    pub fn handle(&mut self, input: Input) {
        let now = self.now();
        self.handle_at(input, &now);
    }

    /// [`Self::handle`] at a moment.
    pub fn handle_at(&mut self, input: Input, now: &Moment) {
        let effects = self.decide(input, now);
        self.perform_all(effects, now);
    }

    /// What is decided is open to everybody before anybody is answered.
    fn decide(&mut self, input: Input, now: &Moment) -> Vec<Effect> {
        let effects = self.core.handle(input, now);
        self.publish();
        effects
    }

    /// Files what the programs reported since the last call. An empty ring is looked at without a system call.
    pub fn read_events(&mut self) {
        let events = self.plane.as_mut().map_or_else(Vec::new, |plane| plane.take_events());
        if !events.is_empty() {
            self.handle(Input::Events(events));
        }
    }

    /// Polices interfaces that came back.
    pub fn follow_interfaces(&mut self) -> Vec<crate::dataplane::Followed> {
        self.plane.as_mut().map_or_else(Vec::new, |plane| plane.follow_interfaces())
    }

    /// The policy as the kernel enforces it, what nobody decided included. The core takes the kernel's word for which
    /// measures hold.
    pub fn seen_policy(&mut self) -> Arc<Policy> {
        let (seen, now) = (self.see(), self.now());
        self.core.see(&seen, &now)
    }

    /// Compares store, core and kernel at once. Blocks on the disk.
    pub fn compare(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        // Nothing is decided meanwhile.
        drop(self.core.compare());
        self.store.note(now.clone());
        let recalled = self.store.read()?.recall(&now)?;
        self.handle(Input::Recalled(Ok(Box::new(recalled)), self.see()));
        Ok(())
    }

    /// Ends enforcement as `gateway.on_stop` says. Further calls do nothing.
    pub fn stop(&mut self) -> Result<(), DataplaneError> {
        self.handle(Input::Stop);
        let on_stop = self.core.policy().config.gateway.on_stop;
        self.plane.take().map_or(Ok(()), |plane| plane.stop(on_stop))
    }

    /// Whether nothing is to be done or to be answered any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.plane.is_none() && self.replies.is_empty()
    }

    fn see(&self) -> Seen {
        let plane = self.plane.as_ref();
        Seen {
            restrictions: plane.and_then(|plane| plane.restrictions_in_force()),
            measures: plane.and_then(|plane| plane.held_measures()),
        }
    }

    fn publish(&self) {
        let view =
            View { policy: Arc::clone(self.core.policy()), last_reload: self.core.last_reload().clone() };
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    fn perform_all(&mut self, effects: Vec<Effect>, now: &Moment) {
        for effect in effects {
            if let Some(input) = self.perform(effect, now) {
                let effects = self.decide(input, now);
                self.perform_all(effects, now);
            }
        }
    }

    /// Does one thing; returns what is to be handed in before the next.
    fn perform(&mut self, effect: Effect, now: &Moment) -> Option<Input> {
        match effect {
            Effect::Commit(ticket, records) => {
                let jobs = self.jobs.clone();
                self.store.submit(records, move |written| {
                    let committed = Input::Committed(ticket, written.map(drop));
                    jobs.send(move |driver| driver.handle(committed));
                });
            }
            Effect::Observe(offence) => {
                self.store.observe(*offence, now, self.core.policy().config.digest);
            }
            Effect::Assign { policy, tenants, answer } => return self.assign(&policy, tenants, answer),
            Effect::Apply(generation, policy) => self.compile(generation, policy),
            Effect::See(request, command) => return Some(Input::Seen(request, command, self.see())),
            Effect::ReadLearned => {
                let store = Arc::clone(&self.store);
                self.beside(
                    move || store.read().and_then(|reader| reader.baselines()),
                    |driver, learned| driver.handle(Input::Learned(learned)),
                );
            }
            Effect::KeepLearned(learned) => self.store.keep_baselines(learned),
            Effect::LimitEvidence(limits) => self.store.limit_evidence(limits),
            Effect::Answer(request, answer) => self.answer(request, answer),
            Effect::Report(report) => tell::report(&report),
            Effect::Look(look) => return self.look(look, now),
            Effect::Lift(lift) => {
                if let Some(plane) = &mut self.plane {
                    plane.lift(&lift);
                }
            }
            Effect::Impose(measures) => {
                if let Some(plane) = &mut self.plane {
                    plane.impose(&measures);
                }
            }
            Effect::HoldMeasures(for_now) => {
                if let Some(plane) = &mut self.plane {
                    plane.hold_measures(for_now);
                }
            }
            Effect::ReleaseMeasures => {
                if let Some(plane) = &mut self.plane {
                    plane.release_measures();
                }
            }
        }
        None
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        if let Some(reply) = self.replies.remove(&request) {
            reply(answer);
        }
    }

    fn assign(
        &mut self,
        policy: &Policy,
        tenants: Vec<String>,
        answer: Option<(RequestId, Answer)>,
    ) -> Option<Input> {
        let ids: Vec<&str> = tenants.iter().map(String::as_str).collect();
        // A controller that stops leaves what is on the disk to the next one.
        let assigned = self.plane.as_mut().map_or(Ok(()), |plane| plane.assign(&policy.effective, &ids));
        if let Some((request, answer)) = answer {
            let answer = match (&assigned, answer) {
                (Err(error), Answer::Suspended(_)) => Answer::Suspended(Err(error.clone().into())),
                (Err(error), Answer::Restored(_)) => Answer::Restored(Err(error.clone().into())),
                (_, answer) => answer,
            };
            self.answer(request, answer);
        }
        assigned.err().map(|error| Input::NotAssigned(tenants, error))
    }

    /// Compiles a whole policy beside, and then switches to it.
    fn compile(&mut self, generation: Generation, policy: Arc<Policy>) {
        let Some(plane) = &self.plane else { return };
        let compiler = plane.compiler();
        let compile = move || {
            let compiled = catch_unwind(AssertUnwindSafe(|| compiler.compile(&policy.effective)));
            (policy, compiled.map_err(|_| crashed()))
        };
        self.beside(compile, move |driver, (policy, compiled)| driver.switch(generation, &policy, compiled));
    }

    fn switch(
        &mut self,
        generation: Generation,
        policy: &Policy,
        compiled: Result<Compiled, DataplaneError>,
    ) {
        let Some(plane) = &mut self.plane else { return };
        let before = Arc::clone(self.core.policy());
        let applied = compiled.and_then(|compiled| plane.apply_compiled(&policy.effective, compiled));
        self.handle(Input::Applied(generation, applied));
        // To let go of 100,000 tenants takes its time.
        self.beside(move || drop(before), |_, ()| {});
    }

    fn look(&mut self, look: Look, now: &Moment) -> Option<Input> {
        let plane = self.plane.as_mut()?;
        match look {
            Look::Offences => {
                // The packets that led to them first.
                let (events, offences) = (plane.take_events(), plane.take_offences());
                let effects = self.decide(Input::Events(events), now);
                self.perform_all(effects, now);
                return Some(Input::Offences(offences));
            }
            Look::Outage(elapsed) => {
                let counters = plane.detection_counters()?;
                let totals = ContactTotals { attempted: counters.attempted, answered: counters.answered };
                return Some(Input::Totals(totals, elapsed));
            }
            Look::Rises(elapsed) => {
                let (reader, config) = (plane.reader(), Arc::clone(&self.core.policy().config));
                self.beside(
                    move || reader.usage(),
                    move |driver, usage| driver.handle(Input::Used(config, usage, elapsed)),
                );
            }
            Look::Comparison => {
                let (store, now) = (Arc::clone(&self.store), now.clone());
                self.beside(
                    move || {
                        store.note(now.clone());
                        store.read().and_then(|reader| reader.recall(&now)).map(Box::new)
                    },
                    |driver, recalled| {
                        let seen = driver.see();
                        driver.handle(Input::Recalled(recalled, seen));
                    },
                );
            }
            // The core asks for them by effects of their own.
            Look::Baselines => {}
        }
        None
    }

    /// Does something in a thread of its own, then `after` with what came of it.
    fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        after: impl FnOnce(&mut Self, T) + Send + 'static,
    ) {
        let jobs = self.jobs.clone();
        let done = move || {
            let outcome = work();
            jobs.send(move |driver| after(driver, outcome));
        };
        let spawned = thread::Builder::new().name("beside".into()).spawn(done);
        if let Err(error) = spawned {
            tracing::error!("a thread did not start: {error}. What it was to do is not done");
        }
    }
}

fn crashed() -> DataplaneError {
    DataplaneError {
        what: "compiling the policy".into(),
        cause: "a part of the controller crashed".into(),
        remedy: "The old policy stays in force. This is a defect in Fairway, please report it with the log"
            .into(),
    }
}

/// What holds, as the store has it. Policing does not wait for one that cannot be read: then restrictions are
/// those of the newest backup and of the kernel, and measures those that the kernel remembers.
/// Returns too whether it could be read.
fn recall(store: &Store, now: &Moment) -> (Recalled, bool) {
    let error = match store.read().and_then(|reader| reader.recall(now)) {
        Ok(recalled) => return (recalled, true),
        Err(error) => error,
    };
    let backup = store.read_backup().and_then(|backup| backup.suspensions().ok());
    let known_from = match backup {
        Some(_) => "the newest backup and the kernel",
        None => "the kernel alone: there is no backup",
    };
    tracing::error!(
        "{error}. Until it can be read, offences are counted from zero, measures from before a reboot do not hold, \
         nor do lowered caps; who is suspended is known from {known_from}"
    );
    (Recalled { suspensions: backup.unwrap_or_default(), ..Recalled::default() }, false)
}

/// Cases as the store has them.
fn recall_cases(store: &Store) -> enforcement::State {
    let recorded = store.read().and_then(|reader| reader.case_entries(None));
    let recorded = recorded.unwrap_or_else(|error| {
        tracing::error!("{error}. Until it can be read, no case is known, nor who was noticed before");
        Vec::new()
    });
    let mut state = enforcement::State::default();
    recorded.iter().for_each(|entry| state.apply(&entry.act, entry.at));
    state
}
