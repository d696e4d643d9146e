//! The ledger: what tenants did and what was done about it, kept for good in `state_dir/ledger.sqlite`,
//! with the packets that prove it in `state_dir/evidence/`.
//!
//! Policing never waits for it. Entries are handed to a thread of their own; while the disk is full or
//! the file locked or damaged, they wait in memory, the operator is told, and every few seconds it is
//! tried again with the file opened anew. What does not fit into memory is counted as lost.

mod captures;
mod error;
mod queue;
mod read;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use jiff::Timestamp;

pub use error::LedgerError;
pub use queue::Health;
pub use read::{Lifted, PastEntry, PastOffence, PastSuspension, Taken};

use crate::config::{Digest, EvidenceLimits, OffenceKind};
use crate::detect::{Learned, Lift, MeasureInForce, Offence};
use crate::suspension::SuspensionChange;
use captures::Captures;
use queue::Queue;
use store::Entry;

/// The ledger of one state directory. Dropping it writes what waits, if that can be written at all.
pub struct Ledger {
    file: PathBuf,
    captures: Captures,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl Ledger {
    /// Begins to write in `state_dir`. If the file cannot be opened, that is logged and tried again later.
    #[must_use]
    pub fn open(state_dir: &Path, limits: EvidenceLimits) -> Self {
        let (file, captures) = (store::file(state_dir), Captures::of(state_dir));
        let queue = Arc::new(Queue::new(limits));
        let (shared, to) = (Arc::clone(&queue), (file.clone(), captures.clone()));
        let writer = thread::Builder::new().name("ledger".into()).spawn(move || shared.write(&to.0, &to.1));
        if let Err(error) = &writer {
            tracing::error!("the ledger cannot be written, its thread did not start: {error}");
        }
        Self { file, captures, queue, writer: writer.ok() }
    }

    /// Has an offence recorded with its packets; returns at once. `digest` is the configuration's that
    /// it was judged under.
    pub fn record(&self, offence: Offence, digest: Digest) {
        let (offence, config_digest) = (Box::new(offence), digest.to_string());
        self.queue.push(Entry::Offence { offence, config_digest, capture: None });
    }

    /// Has it recorded that measures were lifted; returns at once.
    pub fn record_lift(&self, lift: Lift) {
        self.queue.push(Entry::Lift(lift));
    }

    /// Has the begin or the end of a suspension recorded; returns at once. `digest` is the configuration's that
    /// was in force.
    pub fn record_suspension(&self, tenant: &str, change: SuspensionChange, digest: Digest) {
        let (tenant, config_digest) = (tenant.to_owned(), digest.to_string());
        self.queue.push(Entry::Suspension { tenant, change, config_digest });
    }

    /// Has what was learned of the tenants' use kept, in the place of what was kept before; returns at once.
    pub fn keep_baselines(&self, baselines: Vec<Learned>) {
        self.queue.keep_baselines(baselines);
    }

    /// What was learned of the tenants' use, as it was last written. Blocks.
    pub fn baselines(&self) -> Result<Vec<Learned>, LedgerError> {
        self.queue.settle();
        read::baselines(&self.file)
    }

    /// Changes what evidence is kept, from the next look on.
    pub fn limit_evidence(&self, limits: EvidenceLimits) {
        self.queue.limit_evidence(limits);
    }

    /// The newest `limit` entries about a tenant, newest first, with all that was recorded before the call
    /// unless it cannot be written now. Blocks.
    pub fn history(&self, tenant: &str, limit: u32) -> Result<Vec<PastEntry>, LedgerError> {
        self.queue.settle();
        let mut entries = read::history(&self.file, tenant, limit)?;
        for entry in &mut entries {
            if let PastEntry::Offence(offence) = entry {
                let file = offence.capture.as_ref().map(|name| self.captures.path(name));
                offence.capture_file = file.filter(|file| file.is_file());
            }
        }
        Ok(entries)
    }

    /// Measures that were taken and hold at `now`, one for each source, measure and kind. Blocks.
    pub fn in_force(&self, now: Timestamp) -> Result<Vec<MeasureInForce>, LedgerError> {
        self.queue.settle();
        read::in_force(&self.file, now)
    }

    /// All offences ever recorded, by tenant and kind. Blocks.
    pub fn counts(&self) -> Result<BTreeMap<(String, OffenceKind), u64>, LedgerError> {
        self.queue.settle();
        read::counts(&self.file)
    }

    /// How writing goes.
    #[must_use]
    pub fn health(&self) -> Health {
        self.queue.health()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.queue.close();
        // A panic there has been reported already.
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests;
