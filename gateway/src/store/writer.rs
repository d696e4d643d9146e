//! The thread that owns the database, and what waits for it.
//!
//! Acts come with somebody who waits for the answer: they are written at once, or refused. Observations have
//! happened already: while the disk is full or the database locked, they wait in memory. Whatever waits
//! together is one transaction, observations first.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::chain::Head;
use super::database::Database;
use super::error::StoreError;
use super::fact::{Fact, OffenceFact, Record};
use super::files::Files;
use super::recovery;
use crate::clock;
use crate::config::EvidenceLimits;
use crate::detect::{Learned, Offence};
use crate::domain::Moment;
use crate::evidence::Captures;

/// Time before what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How often evidence and backups are looked through for what is too old.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// How often the database is looked for where it should be.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What a reader waits for observations to be written: longer than the writer waits for a lock.
const SETTLE: Duration = Duration::from_secs(10);

/// How writing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Observations that are not on the disk yet.
    pub waiting: usize,
    /// Observations that never will be, since the start.
    pub lost: u64,
    /// Offences whose packets could not be kept, since the start.
    pub captures_lost: u64,
    /// Why the last try to write failed; none: it did not.
    pub trouble: Option<String>,
    /// Where the chain ends; none: the database has not been opened yet.
    pub head: Option<Head>,
    /// What of the ledger was lost, as long as no operator has acknowledged it.
    pub losses: Vec<String>,
}

impl Health {
    /// Observations that may wait: days of trouble where offences are rare, and some megabytes.
    pub const MAX_WAITING: usize = 1_000;
}

/// Acts that are on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Where the chain ended then.
    pub head: Head,
}

/// What the data plane did by itself.
pub(super) struct Observation {
    pub(super) offence: Box<Offence>,
    /// Without the name of the capture, as long as there are packets in the offence.
    pub(super) record: Record,
}

/// Is told how it went, on the writer's thread; nothing: the writer is gone.
type Told = Box<dyn FnOnce(Option<Result<Committed, StoreError>>) + Send>;

/// Acts that are to be written together, and whoever waits for it.
struct Request {
    records: Vec<Record>,
    reply: Reply,
}

/// Tells whoever waits once, whatever happens.
struct Reply(Option<Told>);

impl Reply {
    fn tell(mut self, answer: Result<Committed, StoreError>) {
        if let Some(told) = self.0.take() {
            told(Some(answer));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(None);
        }
    }
}

/// What the writer takes in hand at a time.
struct Batch {
    requests: Vec<Request>,
    observations: Vec<Observation>,
    baselines: Option<Vec<Learned>>,
    seen: Option<Moment>,
    limits: EvidenceLimits,
    /// Whether nothing comes after it.
    is_last: bool,
    /// Once its entries are on the disk.
    committed: Option<Committed>,
}

pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    requests: VecDeque<Request>,
    observations: VecDeque<Observation>,
    /// Taken out of `observations` by the writer, and not written yet.
    in_hand: usize,
    /// To be kept; only the latest are worth it.
    baselines: Option<Vec<Learned>>,
    /// The latest moment that is to be noted.
    seen: Option<Moment>,
    limits: EvidenceLimits,
    health: Health,
    /// When the writer has something to do even if nothing waits.
    due: Instant,
    closing: bool,
    /// Whether nobody writes any more.
    is_over: bool,
}

impl Queue {
    pub(super) fn new(limits: EvidenceLimits) -> Self {
        let state = State {
            requests: VecDeque::new(),
            observations: VecDeque::new(),
            in_hand: 0,
            baselines: None,
            seen: None,
            limits,
            health: Health::default(),
            // Trouble is told at the start, not with the first entry.
            due: Instant::now(),
            closing: false,
            is_over: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Queues acts; `told` hears how it went.
    pub(super) fn request(&self, records: Vec<Record>, told: Told) {
        let request = Request { records, reply: Reply(Some(told)) };
        let mut state = self.state();
        if state.is_over {
            // It is told without the lock.
            drop(state);
            drop(request);
            return;
        }
        state.requests.push_back(request);
        self.changed.notify_all();
    }

    /// Queues an observation, unless too many wait.
    pub(super) fn observe(&self, observation: Observation) {
        let mut state = self.state();
        if state.waiting() >= Health::MAX_WAITING {
            if state.health.lost == 0 {
                tracing::error!("entries of the ledger are lost: too many wait to be written");
            }
            state.health.lost += 1;
            return;
        }
        state.observations.push_back(observation);
        self.changed.notify_all();
    }

    pub(super) fn keep_baselines(&self, baselines: Vec<Learned>) {
        self.state().baselines = Some(baselines);
        self.changed.notify_all();
    }

    pub(super) fn note(&self, now: Moment) {
        self.state().seen = Some(now);
        self.changed.notify_all();
    }

    pub(super) fn limit_evidence(&self, limits: EvidenceLimits) {
        self.state().limits = limits;
    }

    pub(super) fn health(&self) -> Health {
        let state = self.state();
        Health { waiting: state.waiting(), ..state.health.clone() }
    }

    /// Waits until everything is written or cannot be.
    pub(super) fn settle(&self) {
        let unsettled = |state: &mut State| {
            let to_do = state.waiting() > 0 || state.due <= Instant::now();
            to_do && (state.health.trouble.is_none() || state.in_hand > 0)
        };
        // If it takes too long, the reader sees what is there.
        drop(self.changed.wait_timeout_while(self.state(), SETTLE, unsettled));
    }

    /// Lets [`Self::write`] return when it has tried once more.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.changed.notify_all();
    }

    /// Writes what comes, until closed.
    pub(super) fn write(&self, files: &Files, captures: &Captures) {
        let _over = Over(self);
        let (mut database, mut backup, mut pruned_at) = (None, None, None);
        loop {
            let mut batch = self.next_batch();
            let captures_lost = keep_captures(captures, &mut batch.observations);
            if pruned_at.is_none_or(|at: Instant| at.elapsed() >= PRUNE_EVERY) {
                prune_captures(captures, batch.limits);
                pruned_at = Some(Instant::now());
            }
            let written = batch.write(&mut database, files);
            let (lost, is_last) = (batch.observations.len(), batch.is_last);
            let losses = database.as_ref().and_then(|open: &Database| open.losses().ok());
            self.finish(batch, captures_lost, written, database.as_ref().map(Database::head).zip(losses));
            if is_last {
                if lost > 0 {
                    tracing::error!("the ledger was not written before the end: {lost} entries are lost");
                }
                return end(backup);
            }
            let has_entries = database.as_ref().is_some_and(|open| open.head().number > 0);
            if has_entries
                && backup.as_ref().is_none_or(JoinHandle::is_finished)
                && recovery::is_backup_due(files)
            {
                backup = begin_backup(files);
            }
        }
    }

    /// Waits for something to do.
    fn next_batch(&self) -> Batch {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let has_work =
                !state.observations.is_empty() || state.baselines.is_some() || state.seen.is_some();
            let is_ready = state.health.trouble.is_none() && has_work;
            // Whoever acts waits for the answer, and may have mended what was wrong.
            if is_ready || !state.requests.is_empty() || state.closing || state.due <= now {
                break;
            }
            let wait = state.due - now;
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        let observations: Vec<_> = state.observations.drain(..).collect();
        state.in_hand = observations.len();
        Batch {
            requests: state.requests.drain(..).collect(),
            observations,
            baselines: state.baselines.take(),
            seen: state.seen.take(),
            limits: state.limits,
            is_last: state.closing,
            committed: None,
        }
    }

    /// Answers, and takes back what of the batch was not written.
    fn finish(
        &self,
        batch: Batch,
        captures_lost: u64,
        written: Result<(), StoreError>,
        end: Option<(Head, Vec<String>)>,
    ) {
        let mut state = self.state();
        state.in_hand = 0;
        state.health.captures_lost += captures_lost;
        if let Some((head, losses)) = end {
            (state.health.head, state.health.losses) = (Some(head), losses);
        }
        let answer = match (batch.committed, &written) {
            (None, Err(error)) => Err(error.clone()),
            (committed, _) => Ok(committed.unwrap_or_default()),
        };
        match written {
            Ok(()) => {
                if state.health.trouble.take().is_some() {
                    tracing::info!("the ledger is written again");
                }
                state.due = Instant::now() + LOOK_EVERY;
            }
            Err(error) => {
                let told = error.to_string();
                if state.health.trouble.as_ref() != Some(&told) {
                    tracing::error!("{told}. Policing goes on; what happens waits in memory to be recorded");
                }
                batch
                    .observations
                    .into_iter()
                    .rev()
                    .for_each(|waiting| state.observations.push_front(waiting));
                state.baselines = state.baselines.take().or(batch.baselines);
                state.seen = state.seen.take().or(batch.seen);
                state.health.trouble = Some(told);
                state.due = Instant::now() + RETRY;
            }
        }
        drop(state);
        batch.requests.into_iter().for_each(|request| request.reply.tell(answer.clone()));
        self.changed.notify_all();
    }

    /// No method leaves the state half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets nobody wait for an answer that will not come, however the writer ended.
struct Over<'q>(&'q Queue);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_over = true;
        let untold = std::mem::take(&mut state.requests);
        drop(state);
        drop(untold);
    }
}

impl State {
    fn waiting(&self) -> usize {
        self.observations.len() + self.in_hand
    }
}

impl Batch {
    /// Writes what it holds, and lets go of what is written: entries first, which matter more. Opens the
    /// database if need be, and anew after a failure: it may have been replaced.
    fn write(&mut self, database: &mut Option<Database>, files: &Files) -> Result<(), StoreError> {
        keep_in_place(database, files)?;
        let open = match database.take() {
            Some(open) => open,
            None => recovery::open(files)?,
        };
        *database = Some(self.write_entries(open, files)?);
        // It may have been removed in between; nothing is answered before it is where the next controller looks.
        keep_in_place(database, files)?;
        let mut open = match database.take() {
            Some(open) => open,
            None => recovery::open(files)?,
        };
        self.committed = Some(Committed { head: open.head() });
        self.observations.clear();
        self.seen = None;
        if let Some(baselines) = &self.baselines {
            open.keep_baselines(baselines)?;
            self.baselines = None;
        }
        *database = Some(open);
        Ok(())
    }

    /// Writes all entries, or none.
    fn write_entries(&self, mut database: Database, files: &Files) -> Result<Database, StoreError> {
        let observed = self.observations.iter().map(|observation| &observation.record);
        let acts = self.requests.iter().flat_map(|request| &request.records);
        let records: Vec<_> = observed.chain(acts).collect();
        if records.is_empty() && self.seen.is_none() {
            return Ok(database);
        }
        let Err(error) = database.append(&records, self.seen.as_ref()) else { return Ok(database) };
        // A commit that failed at the very end may be on the disk all the same: what was refused must not be
        // found in force by the next controller.
        let attempted = database.attempted();
        drop(database);
        match (attempted, recovery::open(files)) {
            (Some(attempted), Ok(again)) if again.head() == attempted => Ok(again),
            _ => Err(error),
        }
    }
}

/// Gives the open database its name again if it has lost it. If that fails, it stays open: nobody else has what it
/// holds.
fn keep_in_place(database: &mut Option<Database>, files: &Files) -> Result<(), StoreError> {
    if let Some(open) = database
        && !open.is_in_place()
    {
        recovery::put_back(open, files)?;
        // Closed before it is opened anew: SQLite removes its log by name.
        *database = None;
    }
    Ok(())
}

/// Writes packets to files, once: what cannot be kept then is let go, and memory with it. Returns how
/// many offences lost theirs.
fn keep_captures(captures: &Captures, batch: &mut [Observation]) -> u64 {
    let mut lost = 0;
    for Observation { offence, record } in batch.iter_mut().filter(|seen| !seen.offence.frames.is_empty()) {
        match captures.write(offence) {
            Ok(name) => {
                if let Fact::Offence(OffenceFact { capture, .. }) = &mut record.fact {
                    *capture = name;
                }
            }
            Err(error) => {
                lost += 1;
                tell(&error, "keep the packets of an offence in");
            }
        }
        offence.frames = Vec::new();
    }
    lost
}

fn prune_captures(captures: &Captures, limits: EvidenceLimits) {
    if let Err(error) = captures.prune(limits, clock::wall().into()) {
        tell(&error, "remove old captures from");
    }
}

fn tell(error: &io::Error, what: &str) {
    tracing::warn!(
        "cannot {what} evidence/ of [gateway] state_dir: {error}. Make room, or check who owns it"
    );
}

fn begin_backup(files: &Files) -> Option<JoinHandle<()>> {
    let files = files.clone();
    let back_up = move || {
        if let Err(error) = recovery::back_up(&files) {
            tracing::warn!("{error}. It is tried again within the hour");
        }
    };
    thread::Builder::new().name("ledger-backup".into()).spawn(back_up).ok()
}

fn end(backup: Option<JoinHandle<()>>) {
    // A panic there has been reported already.
    let _ = backup.map(JoinHandle::join);
}
