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
pub use read::{Lifted, PastOffence, Taken};

use crate::config::{Digest, EvidenceLimits, OffenceKind};
use crate::detect::{Lift, MeasureInForce, Offence};
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

    /// Changes what evidence is kept, from the next look on.
    pub fn limit_evidence(&self, limits: EvidenceLimits) {
        self.queue.limit_evidence(limits);
    }

    /// The newest `limit` offences of a tenant, newest first, with all that was recorded before the call
    /// unless it cannot be written now. Blocks.
    pub fn history(&self, tenant: &str, limit: u32) -> Result<Vec<PastOffence>, LedgerError> {
        self.queue.settle();
        read::history(&self.file, tenant, limit)
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

    /// Where the capture of this name is, or was until it had to go.
    #[must_use]
    pub fn capture(&self, name: &str) -> PathBuf {
        self.captures.path(name)
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
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::config::{DetectMode, Measure};
    use crate::detect::fake::{at, offence};

    const LIMITS: EvidenceLimits =
        EvidenceLimits { max_bytes: u64::MAX, keep: Duration::from_secs(u64::MAX) };
    const DIGEST: Digest = Digest([0xab; 32]);

    fn lift(tenant: &str, source: Option<&str>, seconds: i64) -> Lift {
        Lift {
            tenant: tenant.into(),
            source: source.map(|source| source.parse().unwrap()),
            at: at(seconds),
            by: "j.doe".into(),
            reason: "cleaned up".into(),
        }
    }

    #[test]
    fn history_tells_offences_measures_and_captures_newest_first_and_survives() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path(), LIMITS);
        ledger.record(offence("acme", "192.0.2.1/32", 0), DIGEST);
        ledger.record(offence("beta", "192.0.2.17/32", 1), DIGEST);
        let watched = Offence {
            source: None,
            kind: OffenceKind::SuddenRise,
            mode: DetectMode::Watch,
            measure: Measure::None,
            until: None,
            targets: Vec::new(),
            frames: Vec::new(),
            ..offence("acme", "192.0.2.1/32", 2)
        };
        ledger.record(watched, DIGEST);
        ledger.record_lift(lift("acme", None, 3));
        drop(ledger);

        let ledger = Ledger::open(directory.path(), LIMITS);
        let history = ledger.history("acme", 10).unwrap();
        assert_eq!(history.len(), 2);
        let (newest, first) = (&history[0], &history[1]);
        assert_eq!((newest.at, newest.source, newest.kind), (at(2), None, OffenceKind::SuddenRise));
        assert_eq!((newest.mode, &newest.taken, &newest.capture), (DetectMode::Watch, &None, &None));
        assert_eq!((first.at, first.measure), (at(0), Measure::Quarantine));
        let lifted = Lifted { at: at(3), by: "j.doe".into(), reason: "cleaned up".into() };
        assert_eq!(first.taken, Some(Taken { since: at(0), until: at(3_600), lifted: Some(lifted) }));
        assert_eq!(first.targets, ["198.51.100.7:22", "2001:db8::7"]);
        assert_eq!(first.counters, BTreeMap::from([("ports".into(), 32), ("ports_answered".into(), 1)]));
        assert_eq!(first.config_digest, "ab".repeat(32));
        assert!(ledger.capture(first.capture.as_ref().unwrap()).is_file());
        assert_eq!(ledger.history("acme", 1).unwrap().len(), 1);
        assert_eq!(ledger.history("nobody", 10).unwrap(), []);
        let counts = BTreeMap::from([
            (("acme".into(), OffenceKind::ScanVertical), 1),
            (("acme".into(), OffenceKind::SuddenRise), 1),
            (("beta".into(), OffenceKind::ScanVertical), 1),
        ]);
        assert_eq!(ledger.counts().unwrap(), counts);
    }

    #[test]
    fn what_is_in_force_ends_by_time_and_by_lift_and_is_prolonged_by_repetition() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path(), LIMITS);
        for (source, seconds) in
            [("192.0.2.1/32", 0), ("192.0.2.1/32", 600), ("192.0.2.2/32", 0), ("2001:db8:10::/64", 0)]
        {
            ledger.record(offence("acme", source, seconds), DIGEST);
        }
        let in_force = |seconds| -> Vec<_> {
            let held = ledger.in_force(at(seconds)).unwrap();
            held.iter()
                .map(|held| (held.source.to_string(), held.until.as_second() - at(0).as_second()))
                .collect()
        };
        let held = |source: &str, until| (source.to_owned(), until);
        let all = [held("192.0.2.1/32", 4_200), held("192.0.2.2/32", 3_600), held("2001:db8:10::/64", 3_600)];
        assert_eq!(in_force(601), all);
        ledger.record_lift(lift("acme", Some("192.0.2.2/32"), 602));
        assert_eq!(in_force(603), [all[0].clone(), all[2].clone()]);
        ledger.record_lift(lift("beta", None, 604));
        assert_eq!(in_force(3_599).len(), 2);
        assert_eq!(in_force(3_600), [all[0].clone()]);
        ledger.record_lift(lift("acme", None, 3_601));
        assert_eq!(in_force(3_602), []);
    }

    /// What waited in memory is written once the file can be written again.
    #[test]
    fn a_damaged_file_is_told_and_what_waited_is_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let file = store::file(directory.path());
        fs::write(&file, "this is no database, and long enough to be taken for one ".repeat(100)).unwrap();
        let ledger = Ledger::open(directory.path(), LIMITS);
        ledger.record(offence("acme", "192.0.2.1/32", 0), DIGEST);
        let error = ledger.history("acme", 10).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read the ledger ") && error.contains("Move the file away"),
            "{error}"
        );
        let health = ledger.health();
        assert_eq!((health.waiting, health.lost), (1, 0));
        let trouble = health.trouble.unwrap();
        assert!(trouble.contains("file is not a database"), "{trouble}");

        fs::remove_file(&file).unwrap();
        // The end is one more try.
        drop(ledger);
        let ledger = Ledger::open(directory.path(), LIMITS);
        assert_eq!(ledger.history("acme", 10).unwrap().len(), 1);
        assert_eq!(ledger.health(), Health::default());
    }

    #[test]
    fn a_full_disk_keeps_nobody_waiting_and_what_does_not_fit_into_memory_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        // A directory in the file's place: nothing can be written, whoever runs the test.
        fs::create_dir(store::file(directory.path())).unwrap();
        let ledger = Ledger::open(directory.path(), LIMITS);
        let small = Offence { frames: Vec::new(), ..offence("acme", "192.0.2.1/32", 0) };
        for _ in 0..Health::MAX_WAITING + 7 {
            ledger.record(small.clone(), DIGEST);
        }
        ledger.queue.settle();
        let health = ledger.health();
        assert_eq!((health.waiting, health.lost), (Health::MAX_WAITING, 7));
        assert!(health.trouble.unwrap().contains("Check [gateway] state_dir"));
    }

    #[test]
    fn a_ledger_of_a_newer_release_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(Ledger::open(directory.path(), LIMITS));
        let connection = rusqlite::Connection::open(store::file(directory.path())).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let ledger = Ledger::open(directory.path(), LIMITS);
        ledger.record_lift(lift("acme", None, 0));
        ledger.queue.settle();
        let trouble = ledger.health().trouble.unwrap();
        assert!(trouble.contains("newer release"), "{trouble}");
    }
}
