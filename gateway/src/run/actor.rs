//! The thread that owns all that is decided: it does the jobs that come, and whatever is due, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::Loaded;
use crate::controller::{Controller, Driver, Input, Job};
use crate::dataplane::{DataplaneError, Foreign, Plane};
use crate::policy::Effective;
use crate::store::Store;

/// The ring of events holds some 6,000, so it overflows at 60,000 a second, which takes 12,000 tenants at the
/// limit of theirs. By the clock, and not when an event arrives: to wake the controller would cost the
/// programs an interrupt.
const READ_EVENTS_EVERY: Duration = Duration::from_millis(100);

/// What is still to be answered at the end is given up after this time.
const END: Duration = Duration::from_secs(10);

/// Starts it. Ends when the controller is stopped.
pub(super) fn start(
    loaded: Loaded,
    store: Store,
    start: impl FnOnce(&Effective, Foreign) -> Result<Box<dyn Plane>, DataplaneError>,
) -> Result<(Arc<Controller>, JoinHandle<()>), DataplaneError> {
    let (driver, jobs) = Driver::start(loaded, store, start, clock::now)?;
    let controller = Arc::new(Controller::of(&driver));
    let thread = thread::Builder::new().name("controller".into()).spawn(move || drive(driver, &jobs));
    let thread = thread.map_err(|error| DataplaneError {
        what: "starting the controller's thread".into(),
        cause: error.to_string(),
        remedy: "Raise the limit of processes, or end others".into(),
    })?;
    Ok((controller, thread))
}

fn drive(mut driver: Driver, jobs: &Receiver<Job>) {
    let (mut read_at, mut ends_at) = (Instant::now(), None);
    loop {
        let events_in = READ_EVENTS_EVERY.saturating_sub(read_at.elapsed());
        match jobs.recv_timeout(driver.idle_for().min(events_in)) {
            Ok(job) => alive(|| job(&mut driver)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if read_at.elapsed() >= READ_EVENTS_EVERY {
            read_at = Instant::now();
            alive(|| driver.read_events());
        }
        if driver.plane().is_none() {
            let ends_at = *ends_at.get_or_insert_with(|| Instant::now() + END);
            if driver.is_over() || Instant::now() >= ends_at {
                return;
            }
        } else if driver.idle_for().is_zero() {
            alive(|| driver.handle(Input::Tick));
        }
    }
}

/// A defect in one thing must not end policing: what is decided is whole at every step.
fn alive(work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!(
            "a part of the controller crashed; this is a defect in Fairway, please report it with the log"
        );
    }
}
