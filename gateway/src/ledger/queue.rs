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

pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<Entry>,
    /// Taken out of `waiting` by the writer, and not written yet.
    in_hand: usize,
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
            let (mut batch, limits, is_last) = self.next_batch();
            let lost = keep_captures(captures, limits, &mut batch);
            let written = append(&mut store, file, &batch);
            let is_lost = is_last && written.is_err() && !batch.is_empty();
            self.finish(batch, lost, written);
            if is_lost {
                tracing::error!(
                    "the ledger was not written before the end: {} entries are lost",
                    self.health().waiting
                );
            }
            if is_last {
                return;
            }
        }
    }

    /// Waits for something to do; also tells whether it is the last.
    fn next_batch(&self) -> (Vec<Entry>, EvidenceLimits, bool) {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let is_ready = state.trouble.is_none() && !state.waiting.is_empty();
            if is_ready || state.closing || state.due <= now {
                break;
            }
            let wait = state.due - now;
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        let batch: Vec<_> = state.waiting.drain(..).collect();
        state.in_hand = batch.len();
        (batch, state.limits, state.closing)
    }

    fn finish(&self, batch: Vec<Entry>, captures_lost: u64, written: Result<(), LedgerError>) {
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
                batch.into_iter().rev().for_each(|entry| state.waiting.push_front(entry));
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

/// Opens the file if need be, and anew after a failure: it may have been replaced.
fn append(store: &mut Option<Store>, file: &Path, batch: &[Entry]) -> Result<(), LedgerError> {
    let mut open = match store.take() {
        Some(open) => open,
        None => Store::open(file)?,
    };
    open.append(batch)?;
    *store = Some(open);
    Ok(())
}
