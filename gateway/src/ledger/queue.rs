//! What waits to be written, and the thread that writes it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::captures::Captures;
use super::error::LedgerError;
use super::store::{Entry, Store};
use crate::config::EvidenceLimits;
use crate::detect::Learned;

/// Time before what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How often evidence is looked through for what is too old.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// What a reader waits for entries to be written: longer than the writer waits for a lock.
const SETTLE: Duration = Duration::from_secs(10);

/// How writing the ledger goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Entries that are not on the disk yet.
    pub waiting: usize,
    /// Entries that never will be, since the start.
    pub lost: u64,
    /// Offences whose packets could not be kept, since the start.
    pub captures_lost: u64,
    /// Why the last try to write failed; none: it did not.
    pub trouble: Option<String>,
}

impl Health {
    /// Entries that may wait: days of trouble where offences are rare, and some megabytes.
    pub const MAX_WAITING: usize = 1_000;
}

/// What the writer takes in hand at a time.
struct Batch {
    entries: Vec<Entry>,
    baselines: Option<Vec<Learned>>,
    limits: EvidenceLimits,
    /// Whether nothing comes after it.
    is_last: bool,
}

pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<Entry>,
    /// Taken out of `waiting` by the writer, and not written yet.
    in_hand: usize,
    /// To be kept; only the latest are worth it.
    baselines: Option<Vec<Learned>>,
    lost: u64,
    captures_lost: u64,
    trouble: Option<String>,
    limits: EvidenceLimits,
    /// When the writer has something to do even if nothing waits.
    due: Instant,
    closing: bool,
}

impl Queue {
    pub(super) fn new(limits: EvidenceLimits) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            in_hand: 0,
            baselines: None,
            lost: 0,
            captures_lost: 0,
            trouble: None,
            limits,
            // Trouble is told at the start, not with the first offence.
            due: Instant::now(),
            closing: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn push(&self, entry: Entry) {
        let mut state = self.state();
        if state.waiting.len() + state.in_hand >= Health::MAX_WAITING {
            if state.lost == 0 {
                tracing::error!("entries of the ledger are lost: too many wait to be written");
            }
            state.lost += 1;
            return;
        }
        state.waiting.push_back(entry);
        self.changed.notify_all();
    }

    pub(super) fn keep_baselines(&self, baselines: Vec<Learned>) {
        self.state().baselines = Some(baselines);
        self.changed.notify_all();
    }

    pub(super) fn limit_evidence(&self, limits: EvidenceLimits) {
        self.state().limits = limits;
    }

    pub(super) fn health(&self) -> Health {
        let state = self.state();
        Health {
            waiting: state.waiting.len() + state.in_hand,
            lost: state.lost,
            captures_lost: state.captures_lost,
            trouble: state.trouble.clone(),
        }
    }

    /// Waits until everything is written or cannot be.
    pub(super) fn settle(&self) {
        let unsettled = |state: &mut State| {
            let to_do = state.waiting.len() + state.in_hand > 0 || state.due <= Instant::now();
            to_do && (state.trouble.is_none() || state.in_hand > 0)
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
    pub(super) fn write(&self, file: &Path, captures: &Captures) {
        let mut store = None;
        loop {
            let mut batch = self.next_batch();
            let captures_lost = keep_captures(captures, batch.limits, &mut batch.entries);
            let written = batch.write(&mut store, file);
            let (lost, is_last) = (batch.entries.len(), batch.is_last);
            self.finish(batch, captures_lost, written);
            if is_last {
                if lost > 0 {
                    tracing::error!("the ledger was not written before the end: {lost} entries are lost");
                }
                return;
            }
        }
    }

    /// Waits for something to do.
    fn next_batch(&self) -> Batch {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let has_work = !state.waiting.is_empty() || state.baselines.is_some();
            let is_ready = state.trouble.is_none() && has_work;
            if is_ready || state.closing || state.due <= now {
                break;
            }
            let wait = state.due - now;
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        let entries: Vec<_> = state.waiting.drain(..).collect();
        state.in_hand = entries.len();
        let baselines = state.baselines.take();
        Batch { entries, baselines, limits: state.limits, is_last: state.closing }
    }

    /// Takes back what of the batch was not written.
    fn finish(&self, batch: Batch, captures_lost: u64, written: Result<(), LedgerError>) {
        let mut state = self.state();
        state.in_hand = 0;
        state.captures_lost += captures_lost;
        match written {
            Ok(()) => {
                if state.trouble.take().is_some() {
                    tracing::info!("the ledger is written again");
                }
                state.due = Instant::now() + PRUNE_EVERY;
            }
            Err(error) => {
                let told = error.to_string();
                if state.trouble.as_ref() != Some(&told) {
                    tracing::error!("{told}. Policing goes on; what happens waits in memory to be recorded");
                }
                batch.entries.into_iter().rev().for_each(|entry| state.waiting.push_front(entry));
                state.baselines = state.baselines.take().or(batch.baselines);
                state.trouble = Some(told);
                state.due = Instant::now() + RETRY;
            }
        }
        self.changed.notify_all();
    }

    /// No method leaves the state half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// Writes what it holds, and lets go of what is written: entries first, which matter more. Opens the
    /// file if need be, and anew after a failure: it may have been replaced.
    fn write(&mut self, store: &mut Option<Store>, file: &Path) -> Result<(), LedgerError> {
        let mut open = match store.take() {
            Some(open) => open,
            None => Store::open(file)?,
        };
        open.append(&self.entries)?;
        self.entries.clear();
        if let Some(baselines) = &self.baselines {
            open.keep_baselines(baselines)?;
            self.baselines = None;
        }
        *store = Some(open);
        Ok(())
    }
}

/// Writes packets to files, once: what cannot be kept then is let go, and memory with it. Returns how
/// many offences lost theirs.
fn keep_captures(captures: &Captures, limits: EvidenceLimits, batch: &mut [Entry]) -> u64 {
    let mut lost = 0;
    for entry in batch {
        let Entry::Offence { offence, capture, .. } = entry else { continue };
        if offence.frames.is_empty() {
            continue;
        }
        match captures.write(offence) {
            Ok(name) => *capture = name,
            Err(error) => {
                lost += 1;
                tell(&error, "keep the packets of an offence in");
            }
        }
        offence.frames = Vec::new();
    }
    if let Err(error) = captures.prune(limits, SystemTime::now()) {
        tell(&error, "remove old captures from");
    }
    lost
}

fn tell(error: &io::Error, what: &str) {
    tracing::warn!(
        "cannot {what} evidence/ of [gateway] state_dir: {error}. Make room, or check who owns it"
    );
}
