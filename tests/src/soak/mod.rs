//! Kills the running controller at random moments under load, starts the next one, and compares what was
//! answered with what holds then.
//!
//! ```text
//! act, act, act ─┐                                     ┌─ what was answered is in force, and in the ledger once
//! reload ────────┼─► controller ─✗ SIGKILL ─► the next ┼─ what was refused is not
//! offences ──────┘                                     └─ kernel, store and answers agree; the chain verifies
//! ```

mod acts;
mod kernel;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::config::Config;
use crate::control::{Answer, post};
use crate::gateway::{self, Gateway};
use crate::process::Process;
use crate::topology::{Plan, Topology};

use acts::Actor;
use kernel::restrictions;

/// Tenants that are suspended and restored, each by one thread.
const ACTED_ON: [&str; 3] = ["acme", "beta", "gamma"];
/// The tenant that floods, and whose measures are lifted.
const FLOODER: &str = "flooder";
/// The longest that a controller lives after it answers.
const LIFE: Duration = Duration::from_millis(600);
const PROMPT: Duration = Duration::from_secs(60);

/// What a soak came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Controllers that were killed.
    pub kills: u64,
    /// Acts that were answered.
    pub acknowledged: u64,
    /// Acts whose answer the kill cut off; done or not.
    pub cut_off: u64,
    /// Reloads that were answered.
    pub reloads: u64,
    /// Entries of the ledger in the end.
    pub entries: u64,
}

/// The network of a soak.
#[must_use]
pub fn plan() -> Plan {
    let tenants = ACTED_ON.into_iter().chain([FLOODER]).map(|id| (id, None)).collect();
    Plan { tenants, ..Plan::default() }
}

/// Kills `rounds` controllers in the network of [`plan`].
///
/// # Errors
/// If anything that was answered is lost, doubled, or not what the kernel enforces.
pub fn soak(topology: &Topology, rounds: u64, seed: u64) -> Result<Report> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut config = Config::of(topology);
    config.set("gateway.on_stop = 'keep'\n[detect.syn_flood]\nfor = '1m'\nsyns_per_second = 10\nexcess = 50");
    let mut gateway = Gateway::start(&topology.router, &config)?;
    topology.router.ip("route add blackhole 192.0.2.0/24")?;
    let flood = ["hping3", "--quiet", "--syn", "--interval", "u2000", "--destport", "80", "192.0.2.9"];
    let _flood = topology.tenant(FLOODER).host.namespace.start(&flood)?;
    let mut actors = ACTED_ON.map(|tenant| Actor::new(tenant, random.fork()));
    let mut report = Report::default();
    for round in 0..rounds {
        let life = Duration::from_micros(random.u64(0..LIFE.as_micros() as u64));
        one_life(&mut gateway, &config, &mut actors, life, &mut report)?;
        gateway.launch().with_context(|| format!("round {round}"))?;
        check(&gateway, &mut actors).with_context(|| {
            format!(
                "round {round}, killed after {life:?}, seed {seed}; the next controller's log:\n{}",
                gateway.log()
            )
        })?;
    }
    report.entries = check_entries(&gateway, &actors)?;
    report.acknowledged = actors.iter().map(|actor| actor.acknowledged.len() as u64).sum();
    report.cut_off = actors.iter().map(|actor| actor.cut_off.len() as u64).sum();
    Ok(report)
}

/// Loads the controller, and kills it.
fn one_life(
    gateway: &mut Gateway<'_>,
    config: &Config,
    actors: &mut [Actor],
    life: Duration,
    report: &mut Report,
) -> Result<()> {
    let (socket, is_over, reloads) = (gateway.socket(), AtomicBool::new(false), AtomicU64::new(0));
    let killed = thread::scope(|scope| {
        for actor in actors {
            scope.spawn(|| actor.act(&socket, &is_over));
        }
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                let lift = serde_json::json!({ "reason": "soak" });
                // There may be nothing to lift at the moment.
                let _ = post(&socket, &format!("/v1/tenants/{FLOODER}/restore"), &lift);
                thread::sleep(Duration::from_millis(20));
            }
        });
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                let answer = post(&socket, "/v1/reload", &Value::Null);
                reloads.fetch_add(u64::from(matches!(answer, Answer::Done)), Relaxed);
            }
        });
        thread::sleep(life);
        let killed = gateway.kill();
        is_over.store(true, Relaxed);
        killed
    });
    killed?;
    report.kills += 1;
    report.reloads += reloads.into_inner();
    // A change for the next life's reloads, which the next start reads already.
    let mut config = config.clone();
    config.set(&format!("metrics.top_tenants = {}", 10 + report.kills % 2));
    gateway.write(&config)
}

/// Whether answers, controller and kernel agree.
fn check(gateway: &Gateway<'_>, actors: &mut [Actor]) -> Result<()> {
    let tenants = gateway.tenants()?;
    let held = restrictions(&gateway.pin_directory())?;
    for actor in actors {
        let shown = tenants["tenants"].as_array().into_iter().flatten();
        let shown = shown.clone().find(|tenant| tenant["id"] == actor.tenant).context("it is not there")?;
        let suspensions = shown["suspensions"].as_array().into_iter().flatten();
        let scopes: BTreeSet<String> =
            suspensions.filter_map(|suspension| Some(suspension["scope"].as_str()?.to_owned())).collect();
        actor.compare(&scopes)?;
        let held = held.get(actor.tenant).copied().unwrap_or_default();
        ensure!(
            held == acts::bits(&scopes),
            "{} is shown suspended for {scopes:?}, but the kernel's bits are {held:#b}",
            actor.tenant
        );
    }
    fairway(gateway, &["ledger", "verify"])?;
    let log = gateway.log();
    ensure!(!log.contains("panicked"), "it panicked:\n{log}");
    Ok(())
}

/// Whether each act that was answered is in the ledger once, each that was cut off at most once, and nothing
/// else. Returns how many entries there are.
fn check_entries(gateway: &Gateway<'_>, actors: &[Actor]) -> Result<u64> {
    let exported = fairway(gateway, &["ledger", "export"])?;
    let entries: Vec<Value> = exported.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut recorded: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["line"] == "entry") {
        if let Some(reason) = entry["data"]["reason"].as_str() {
            *recorded.entry(reason).or_default() += 1;
        }
    }
    for actor in actors {
        for reason in &actor.acknowledged {
            let times = recorded.get(reason.as_str()).copied().unwrap_or_default();
            ensure!(times == 1, "the act {reason:?} was answered, and is in the ledger {times} times");
        }
        for reason in &actor.cut_off {
            let times = recorded.get(reason.as_str()).copied().unwrap_or_default();
            ensure!(times <= 1, "the act {reason:?} is in the ledger {times} times");
        }
        for reason in &actor.refused {
            ensure!(
                !recorded.contains_key(reason.as_str()),
                "the act {reason:?} was refused, and is in the ledger"
            );
        }
    }
    // The first and the last line are none.
    Ok(entries.len() as u64 - 2)
}

/// Runs a command that reads the configuration, and not the socket.
fn fairway(gateway: &Gateway<'_>, arguments: &[&str]) -> Result<String> {
    let (program, config) = (gateway::binary()?, gateway.config_file());
    let config = config.to_string_lossy();
    let command = [&[&program[..]], arguments, &["--config", &config]].concat();
    Process::start(&command)?.finish(PROMPT)?.success()
}

/// Where randomness comes from, for a failure to be repeated as far as it can be.
pub fn seed() -> Result<u64> {
    use std::io::Read as _;
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
