//! A gateway whose data plane is a record of what it was told.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gateway::clock;
use gateway::config::{Config, Loaded, OnStop};
use gateway::controller::{
    Controller as Handle, Driver, Ended, Input, Job, Observation, Policy as PolicyInForce, Release,
    ReloadError, Reloaded, SuspendError,
};
use gateway::dataplane::{
    Applied, Backlog, DataplaneError, DetectionCounters, DirectionCounters, Event, EventCounters, Followed,
    Foreign, InterfaceCounters, Plane, QueueDrops, Reader, Snapshot, TableMemory, Tally, TenantCounters,
};
use gateway::detect::{HeldMeasure, Lift, MeasureInForce, Offence};
use gateway::domain::{Moment, Principal, Role, Way};
use gateway::ledger::PastEntry;
use gateway::policy::Effective;
use gateway::run::{RunError, Signal, run};
use gateway::store::{Store, StoreError};
use gateway::suspension::Suspension;
use gateway_ebpf::restriction::Restriction;
use gateway_ebpf::{Direction, DropReason};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// What tenants are forbidden, by id.
type Restrictions = HashMap<String, Restriction>;

/// What the data plane was told, and what it shall say.
#[derive(Default)]
pub(crate) struct Record {
    /// Policies in the order they came, the first at the start.
    pub(crate) policies: Vec<Policy>,
    /// Why further policies are refused.
    pub(crate) refusal: Option<&'static str>,
    /// What tenants are forbidden.
    pub(crate) restrictions: Restrictions,
    /// Measures that hold in fact; none: it is not to be asked.
    pub(crate) held: Option<Vec<HeldMeasure>>,
    /// What its programs report next.
    pub(crate) events: Vec<Event>,
    /// What it will say that it saw.
    pub(crate) offences: Vec<Offence>,
    /// Measures that it was told to take.
    pub(crate) imposed: Vec<MeasureInForce>,
    /// How detection fares.
    pub(crate) detection: Option<DetectionCounters>,
    /// How long it was told to hold measures back, time after time; none: to take them again.
    pub(crate) holds: Vec<Option<Duration>>,
    /// What it was told to lift.
    pub(crate) lifts: Vec<Lift>,
    /// How it was stopped.
    pub(crate) stopped: Option<OnStop>,
}

/// The gist of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) tenants: Vec<String>,
    pub(crate) exemptions: usize,
    /// Of each tenant, up and down, in bits per second.
    pub(crate) caps: Vec<[u64; 2]>,
}

impl Policy {
    fn of(policy: &Effective) -> Self {
        let config = policy.config();
        Self {
            tenants: config.tenants.iter().map(|tenant| tenant.id.clone()).collect(),
            exemptions: policy.tenants().map(|tenant| tenant.exemptions().count()).sum(),
            caps: policy
                .tenants()
                .map(|tenant| Direction::ALL.map(|direction| tenant.cap(direction).value.bits_per_sec()))
                .collect(),
        }
    }
}

/// The data plane that only records.
pub(crate) struct Fake {
    record: Arc<Mutex<Record>>,
    config: Arc<Config>,
}

fn restrictions(policy: &Effective) -> Restrictions {
    let restricted = policy.overridden().filter(|tenant| tenant.restriction() != Restriction::NONE);
    restricted.map(|tenant| (tenant.configured().id.clone(), tenant.restriction())).collect()
}

fn refused(refusal: &str) -> DataplaneError {
    DataplaneError { what: "writing the tables".into(), cause: refusal.into(), remedy: "Make room".into() }
}

impl Fake {
    pub(crate) fn start(record: Arc<Mutex<Record>>, policy: &Effective, foreign: Foreign) -> Box<dyn Plane> {
        let mut recorded = record.lock().unwrap();
        recorded.policies.push(Policy::of(policy));
        recorded.restrictions = match foreign {
            Foreign::Ended => restrictions(policy),
            Foreign::Kept => restrictions(&policy.and_found(&recorded.restrictions)),
        };
        drop(recorded);
        Box::new(Self { record, config: Arc::clone(policy.config()) })
    }
}

impl Plane for Fake {
    fn apply(&mut self, policy: &Effective) -> Result<Applied, DataplaneError> {
        let mut record = self.record.lock().unwrap();
        if let Some(refusal) = record.refusal {
            return Err(refused(refusal));
        }
        record.policies.push(Policy::of(policy));
        record.restrictions = restrictions(policy);
        self.config = Arc::clone(policy.config());
        let config = policy.config();
        let prefixes = config.tenants.iter().map(|tenant| tenant.prefixes.len()).sum();
        let took = Duration::from_micros(1_500);
        Ok(Applied { tenants: config.tenants.len(), prefixes, took, missing_interfaces: Vec::new() })
    }

    fn follow_interfaces(&mut self) -> Vec<Followed> {
        Vec::new()
    }

    fn assign(&mut self, policy: &Effective, tenants: &[&str]) -> Result<(), DataplaneError> {
        let mut record = self.record.lock().unwrap();
        if let Some(refusal) = record.refusal {
            return Err(refused(refusal));
        }
        let mut restricted = restrictions(policy);
        for &tenant in tenants {
            match restricted.remove(tenant) {
                Some(restriction) => record.restrictions.insert(tenant.to_owned(), restriction),
                None => record.restrictions.remove(tenant),
            };
        }
        let (before, mut after) = (record.policies.last().unwrap().clone(), Policy::of(policy));
        // Of tenants that were not named, everything stays as it is.
        for (index, tenant) in after.tenants.iter().enumerate() {
            if !tenants.contains(&tenant.as_str()) {
                after.caps[index] = before.caps[index];
            }
        }
        if before != after {
            record.policies.push(after);
        }
        Ok(())
    }

    fn counters(&self, tenant: &str) -> Option<TenantCounters> {
        self.snapshot().tenants.into_iter().find(|counters| counters.id == tenant)
    }

    fn restrictions_in_force(&self) -> Option<Restrictions> {
        let mut held = self.record.lock().unwrap().restrictions.clone();
        held.retain(|tenant, _| self.config.tenants.iter().any(|policed| policed.id == *tenant));
        Some(held)
    }

    fn held_measures(&self) -> Option<Vec<HeldMeasure>> {
        self.record.lock().unwrap().held.clone()
    }

    fn take_offences(&mut self) -> Vec<Offence> {
        std::mem::take(&mut self.record.lock().unwrap().offences)
    }

    fn impose(&mut self, measures: &[MeasureInForce]) {
        self.record.lock().unwrap().imposed.extend_from_slice(measures);
    }

    fn lift(&mut self, lift: &Lift) {
        let mut record = self.record.lock().unwrap();
        record.lifts.push(lift.clone());
        let is_ended = |held: &HeldMeasure| lift.source.is_none_or(|source| source == held.source);
        if let Some(held) = &mut record.held {
            held.retain(|held| held.tenant != lift.tenant || !is_ended(held));
        }
    }

    fn detection_counters(&self) -> Option<DetectionCounters> {
        self.record.lock().unwrap().detection
    }

    fn hold_measures(&mut self, for_now: Duration) {
        self.record.lock().unwrap().holds.push(Some(for_now));
    }

    fn release_measures(&mut self) {
        self.record.lock().unwrap().holds.push(None);
    }

    fn reader(&self) -> Reader {
        self.snapshot().into()
    }

    fn interfaces(&self) -> Vec<InterfaceCounters> {
        self.snapshot().interfaces
    }

    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.record.lock().unwrap().events)
    }

    fn event_counters(&self) -> EventCounters {
        EventCounters { lost: 8, suppressed: 9 }
    }

    fn backlogs(&self, _: &str) -> Result<Option<[Backlog; 2]>, DataplaneError> {
        let backlog = |total, queues: &[u64]| Backlog {
            total: Duration::from_millis(total),
            queues: queues.iter().map(|queue| Duration::from_millis(*queue)).collect(),
        };
        Ok(Some([backlog(100, &[]), backlog(526, &[10, 516])]))
    }

    fn memory(&self) -> TableMemory {
        TableMemory { bytes: 12_345_678, tenant_capacity: 1_024 }
    }

    fn stop(self: Box<Self>, on_stop: OnStop) -> Result<(), DataplaneError> {
        self.record.lock().unwrap().stopped = Some(on_stop);
        Ok(())
    }
}

impl Fake {
    /// The same traffic for everybody.
    fn snapshot(&self) -> Snapshot {
        let tally = |packets, bytes| Tally { packets, bytes };
        let tenant = |id: &str| TenantCounters {
            id: id.into(),
            up: DirectionCounters {
                passed: tally(1_000, 1_234_567),
                dropped: vec![
                    (DropReason::SmtpBlocked, tally(3, 180)),
                    (DropReason::OverCap, tally(40, 60_000)),
                ],
                queue_drops: QueueDrops { signals: 3, full: 30 },
            },
            down: DirectionCounters { passed: tally(2_000, 2_900_000), ..Default::default() },
        };
        Snapshot {
            tenants: self.config.tenants.iter().map(|configured| tenant(&configured.id)).collect(),
            interfaces: self
                .config
                .interfaces
                .iter()
                .map(|interface| InterfaceCounters {
                    name: interface.name.clone(),
                    side: interface.side,
                    mode: interface.mode,
                    attached: true,
                    link_control: tally(5, 300),
                    unmatched: tally(6, 600),
                    unknown_source_passed: tally(2, 200),
                    forwarded: tally(900, 800_000),
                    dropped: vec![(DropReason::UnknownSource, tally(7, 700))],
                })
                .collect(),
        }
    }
}

/// A directory with a configuration of two tenants, `acme` and `beta`.
pub(crate) struct Files {
    directory: TempDir,
    pub(crate) metrics: SocketAddr,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap(), metrics: free_port() };
        fs::create_dir(files.path("tenants.d")).unwrap();
        files.write("gateway.toml", &files.gateway_toml(""));
        files.write("tenants.d/acme.toml", &tenant("acme", 1));
        files.write("tenants.d/beta.toml", &tenant("beta", 2));
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("gateway.toml")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/control.sock")
    }

    /// The main file, with more keys in `[gateway]`.
    pub(crate) fn gateway_toml(&self, more: &str) -> String {
        format!(
            "[gateway]\nname = \"edge1\"\ntenants = [\"tenants.d/*.toml\"]\nstate_dir = \"{}\"\n\
             control_socket = \"{}\"\n{more}\n\
             [[interface]]\nname = \"eth1\"\nside = \"tenant\"\n\
             [[interface]]\nname = \"eth0\"\nside = \"uplink\"\n\
             [metrics]\nlisten = \"{}\"\n",
            self.path("state").display(),
            self.socket().display(),
            self.metrics,
        )
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// As editors do: a new file, renamed over the old one.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let new = self.path(".new~");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }
}

/// A tenant with a network of its own for each number.
pub(crate) fn tenant(id: &str, number: u8) -> String {
    format!(
        "[[tenant]]\nid = \"{id}\"\nname = \"{id} Ltd\"\nprefixes = [\"198.51.100.{}/32\"]\n\
         contact = \"admin@{id}.example\"\n",
        number
    )
}

/// Its mail exemption.
pub(crate) fn exemption(expires: &str) -> String {
    format!(
        "[[tenant.smtp_exemption]]\ndirection = \"out\"\nticket = \"SMTP-1\"\napproved_by = \"j.doe\"\n\
         expires = {expires}\n"
    )
}

/// An address that nothing listens on, most likely for the rest of the test.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Runs the service on the calling thread.
pub(crate) fn serve(
    config: &Path,
    record: Arc<Mutex<Record>>,
    signals: impl FnOnce() -> mpsc::Receiver<Signal>,
) -> Result<(), RunError> {
    let start = |policy: &Effective, foreign| Ok(Fake::start(record, policy, foreign));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { run(config, start, signals()).await })
}

/// Who asks in tests.
pub(crate) fn operator(name: &str) -> Principal {
    Principal { name: name.into(), way: Way::Socket, role: Role::Operate }
}

/// The controller without its thread: it does what a call leads to before the call returns, and nothing else.
pub(crate) struct Controller {
    driver: RefCell<Driver>,
    jobs: Receiver<Job>,
    handle: Handle,
}

/// A controller that no service runs.
pub(crate) fn controller(files: &Files) -> (Controller, Arc<Mutex<Record>>) {
    controller_over(files, Record::default())
}

/// The same over a data plane that an earlier one left.
pub(crate) fn controller_over(files: &Files, left: Record) -> (Controller, Arc<Mutex<Record>>) {
    let record = Arc::new(Mutex::new(left));
    let loaded = gateway::config::load(&files.config()).unwrap();
    let store = Store::open(&files.path("state"), loaded.config.evidence);
    let start = |policy: &Effective, foreign| Ok(Fake::start(Arc::clone(&record), policy, foreign));
    let (driver, jobs) = Driver::start(loaded, store, start, clock::now).unwrap();
    let (handle, driver) = (Handle::of(&driver), RefCell::new(driver));
    let controller = Controller { driver, jobs, handle };
    controller.settle();
    (controller, record)
}

impl Controller {
    /// Hands something in at a time by the wall clock, and sees it through.
    pub(crate) fn handle_at(&self, input: Input, wall: Timestamp) {
        let now = clock::now();
        self.driver.borrow_mut().handle_at(input, &Moment { wall, ..now.at(wall) });
        self.settle();
    }

    /// The same now.
    pub(crate) fn handle(&self, input: Input) {
        self.handle_at(input, Timestamp::now());
    }

    /// Does what is on its way.
    fn settle(&self) {
        let is_settled = || self.driver.borrow().core().is_settled();
        while let Ok(job) =
            self.jobs.recv_timeout(Duration::from_millis(if is_settled() { 0 } else { 10_000 }))
        {
            job(&mut self.driver.borrow_mut());
        }
    }

    /// What somebody is told who asks.
    fn ask<T: Send>(&self, question: impl FnOnce(&Handle) -> T + Send) -> T {
        thread::scope(|scope| {
            let handle = &self.handle;
            let asking = scope.spawn(move || question(handle));
            while !asking.is_finished() {
                if let Ok(job) = self.jobs.recv_timeout(Duration::from_millis(1)) {
                    job(&mut self.driver.borrow_mut());
                }
            }
            asking.join().unwrap()
        })
    }

    pub(crate) fn compare(&self) -> Result<(), StoreError> {
        let compared = self.driver.borrow_mut().compare();
        self.settle();
        compared
    }

    pub(crate) fn suspend(
        &self,
        tenant: &str,
        suspension: Suspension,
    ) -> Result<Vec<Suspension>, SuspendError> {
        self.ask(|handle| handle.suspend(&operator("j.doe"), tenant, suspension))
    }

    pub(crate) fn restore(&self, tenant: &str, release: Release) -> Result<Ended, SuspendError> {
        self.ask(|handle| handle.restore(tenant, release))
    }

    pub(crate) fn replace(&self, loaded: Loaded) -> Result<Reloaded, ReloadError> {
        self.ask(|handle| handle.replace(loaded))
    }

    pub(crate) fn observe(&self) -> Observation {
        self.ask(|handle| handle.observe().unwrap())
    }

    pub(crate) fn policy(&self) -> Arc<PolicyInForce> {
        self.handle.policy()
    }

    pub(crate) fn history(&self, tenant: &str) -> Vec<PastEntry> {
        self.ask(|handle| handle.history(tenant, 99).unwrap())
    }

    /// What the data plane reports, seen through.
    pub(crate) fn offended(&self, offence: Offence) {
        self.handle(Input::Offences(vec![offence]));
    }
}

/// A gateway that runs until it is stopped.
pub(crate) struct Gateway {
    pub(crate) files: Files,
    pub(crate) record: Arc<Mutex<Record>>,
    signals: mpsc::Sender<Signal>,
    service: JoinHandle<Result<(), RunError>>,
}

impl Gateway {
    pub(crate) fn start(files: Files) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let (signals, receiver) = mpsc::channel(1);
        let (config, told) = (files.config(), Arc::clone(&record));
        let service = thread::spawn(move || serve(&config, told, || receiver));
        let gateway = Self { files, record, signals, service };
        eventually("the gateway to answer", || gateway.fairway(&["status"]).status.success());
        gateway
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.signals.blocking_send(signal).unwrap();
    }

    pub(crate) fn stop(self) -> (Files, Result<(), RunError>) {
        self.signal(Signal::Stop);
        (self.files, self.service.join().unwrap())
    }

    /// The policy that the data plane was told last.
    pub(crate) fn policy(&self) -> Policy {
        self.record.lock().unwrap().policies.last().unwrap().clone()
    }

    pub(crate) fn applied(&self) -> usize {
        self.record.lock().unwrap().policies.len()
    }

    /// A command over this gateway's control socket.
    pub(crate) fn fairway(&self, args: &[&str]) -> Output {
        fairway(args).arg("--socket").arg(self.files.socket()).output().unwrap()
    }

    pub(crate) fn json(&self, command: &str) -> Value {
        let output = self.fairway(&[command, "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    pub(crate) fn scrape(&self) -> String {
        let (head, body) = http_get(self.files.metrics, "/metrics");
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        body
    }
}

/// The built binary, away from settings of whoever runs the tests.
pub(crate) fn fairway(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command.args(args).env_remove("FAIRWAY_LOG").env_remove("NO_COLOR");
    command
}

/// Head and body of the answer.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    // Under HTTP/1.0 the body comes in one piece and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.into(), body.into())
}

/// Waits for what will come true unless something is broken.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
