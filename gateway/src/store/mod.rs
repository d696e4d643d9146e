//! The store: the only owner of the database in `state_dir/ledger.sqlite`.
//!
//! One thread writes, over one connection. What happens becomes entries of one chain that is only ever added
//! to; what follows from them (suspensions, measures in force, counts) is written in the same transaction.
//!
//! ```text
//!  commit(acts)      ─┐ refused or on the disk          ┌─► entries + bodies   the chain
//!  observe(offences) ─┼─► writer ─ one transaction ─────┤
//!  keep(baselines)   ─┘ may wait in memory, bounded     └─► projections        what holds
//! ```
//!
//! Policing never waits for it. A decision is committed before it takes effect, and is refused if it cannot
//! be; what the data plane did by itself is observed, and may wait.

mod cases;
mod chain;
mod columns;
mod database;
mod error;
mod fact;
mod files;
mod import;
mod migration;
mod projection;
mod reader;
mod recall;
mod recovery;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

pub use cases::CaseEntry;
pub use chain::{Hash, Head, Header, body_digest, hex, link, time, unhex};
pub(crate) use columns::{needed_time, time as time_column};
pub use error::StoreError;
pub use fact::{
    Acknowledged, Adopted, BodiesRemoved, Expired, Fact, Imported, Lost, OffenceFact, Record, Restored,
    Suspended,
};
pub(crate) use reader::stored;
pub use reader::{Body, Reader, Selection, Stored};
pub use recall::Recalled;
pub use writer::{Committed, Health};

use crate::clock::Earlier;
use crate::config::{Digest, EvidenceLimits};
use crate::detect::{Learned, Offence};
use crate::domain::{Actor, Moment};
use crate::evidence::Captures;
use files::Files;
use writer::{Observation, Queue};

/// The store of one state directory. Dropping it writes what waits, if that can be written at all.
pub struct Store {
    state_dir: PathBuf,
    files: Files,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Begins to write in `state_dir`. If the database cannot be opened, that is logged and tried again later.
    #[must_use]
    pub fn open(state_dir: &Path, limits: EvidenceLimits) -> Self {
        let (files, captures) = (Files::of(state_dir), Captures::of(state_dir));
        let queue = Arc::new(Queue::new(limits));
        let (shared, of) = (Arc::clone(&queue), files.clone());
        let writer = thread::Builder::new().name("store".into()).spawn(move || shared.write(&of, &captures));
        if let Err(error) = &writer {
            tracing::error!("the ledger cannot be written, its thread did not start: {error}");
        }
        Self { state_dir: state_dir.to_owned(), files, queue, writer: writer.ok() }
    }

    /// Records acts, all or none: they are on the disk when it returns. Blocks.
    pub fn commit(&self, acts: Vec<Record>) -> Result<Committed, StoreError> {
        let (reply, answer) = sync_channel(1);
        // Whoever asked waits below.
        self.submit(acts, move |written| drop(reply.send(written)));
        answer.recv().unwrap_or_else(|_| Err(StoreError::stopped(&self.files.database())))
    }

    /// [`Self::commit`] without waiting: `told` hears how it went, on the writer's thread. What is submitted while the
    /// disk is busy is written together.
    pub fn submit(
        &self,
        acts: Vec<Record>,
        told: impl FnOnce(Result<Committed, StoreError>) + Send + 'static,
    ) {
        let database = self.files.database();
        let told =
            move |written: Option<_>| told(written.unwrap_or_else(|| Err(StoreError::stopped(&database))));
        if self.writer.is_none() {
            return told(None);
        }
        self.queue.request(acts, Box::new(told));
    }

    /// Queues an offence and its packets for recording; does not block. `now` is the moment at which it was
    /// read, `config` what it was judged under.
    pub fn observe(&self, offence: Offence, now: &Moment, config: Digest) {
        let record = offence_record(&offence, now, config);
        self.queue.observe(Observation { offence: Box::new(offence), record });
    }

    /// Keeps what was learned of the tenants' use, in the place of what was kept before; does not block.
    pub fn keep_baselines(&self, baselines: Vec<Learned>) {
        self.queue.keep_baselines(baselines);
    }

    /// Notes how far the boot clock has run, for measures that outlast the boot; does not block.
    pub fn note(&self, now: Moment) {
        self.queue.note(now);
    }

    /// Changes what evidence is kept, from the next look on.
    pub fn limit_evidence(&self, limits: EvidenceLimits) {
        self.queue.limit_evidence(limits);
    }

    /// Reads what is stored, with all that was observed before the call unless it cannot be written now.
    /// Blocks.
    pub fn read(&self) -> Result<Reader, StoreError> {
        self.queue.settle();
        Reader::of(&self.files.database())
    }

    /// The last moment that the ledger knows of; none: it has no entry, or cannot be read.
    #[must_use]
    pub fn last_seen(&self, now: &Moment) -> Option<Earlier> {
        self.read().and_then(|reader| reader.last_seen(now)).ok().flatten()
    }

    /// Reads the newest backup that can be read: where [`Self::read`] fails, better than nothing.
    #[must_use]
    pub fn read_backup(&self) -> Option<Reader> {
        recovery::newest_backup(&self.files)
    }

    /// The directory that it is the store of.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// How writing goes.
    #[must_use]
    pub fn health(&self) -> Health {
        self.queue.health()
    }
}

/// An offence as it is recorded; for those that are an act of the controller's.
#[must_use]
pub fn offence_record(offence: &Offence, now: &Moment, config: Digest) -> Record {
    let is_the_controllers = offence.source.is_none();
    Record {
        at: now.at(offence.at),
        actor: if is_the_controllers { Actor::controller() } else { Actor::kernel() },
        tenant: Some(offence.tenant.clone()),
        config: Some(config),
        fact: Fact::Offence(offence.into()),
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.close();
        // A panic there has been reported already.
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests;
