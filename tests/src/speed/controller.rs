//! What the controller takes: acts through the ledger, a suspension while everything reloads or is scraped, and the
//! minute's look at 100,000 tenants.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fairway_tests::bench::in_force;
use fairway_tests::control::{Answer, post};
use fairway_tests::topology::Plan;
use gateway::dataplane::{Engine, ProgramClock};
use gateway::detect::{RiseDetector, SAMPLE_EVERY};
use gateway::domain::Usage;
use jiff::Timestamp;
use serde_json::json;

use crate::figure::{Aim, Figure};
use crate::measure::{Effort, Spread, Trial, in_turns, processor_time};
use crate::provider::Provider;
use crate::scale::{LARGE, id};

/// Clients that act at the same time; the socket takes twice as many.
const CLIENTS: u32 = 8;
const ROUNDS: usize = 5;
/// Acts of each client in a round.
const ACTS: u32 = 100;
/// Suspensions that are timed one by one.
const TIMED: u32 = 400;
/// Time between them: somebody at a desk, not a flood.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let topology = Plan::default().build()?;
    let provider = Provider::start(&topology, LARGE)?;
    provider.settle();
    let socket = provider.gateway.socket();
    let mut figures = acts(&socket, effort)?;

    let alone = suspensions(&socket, effort, || thread::sleep(PAUSE))?;
    let mut caps = (1..=9).cycle();
    let reloading = suspensions(&socket, effort, || {
        let cap = caps.next().unwrap_or(1);
        let written = (0..provider.files()).try_for_each(|file| provider.write(file, cap));
        if let Err(error) = written.and_then(|()| provider.reload().map(drop)) {
            eprintln!("a reload failed: {error:#}");
        }
    })?;
    let scraping = suspensions(&socket, effort, || drop(provider.gateway.metrics_text()))?;
    for (name, times) in [("while every file reloads", &reloading), ("beside scrapes", &scraping)] {
        figures.push(
            Figure::less(
                format!("controller/suspension to map and answer, {name}, 99th percentile"),
                "ms",
                p99(times),
            )
            .beside("alone", p99(&alone))
            .aim(Aim::AtMost(50.0)),
        );
        figures.push(
            Figure::less(format!("controller/suspension to map and answer, {name}"), "ms", Spread::of(times))
                .beside("alone", Spread::of(&alone)),
        );
    }
    figures.push(look(effort)?);
    Ok(figures)
}

/// Suspends or restores a tenant of mail.
fn act(socket: &Path, tenant: u32, suspends: bool) -> Result<()> {
    let (what, body) = match suspends {
        true => ("suspend", json!({ "scope": "mail", "reason": "measured" })),
        false => ("restore", json!({ "reason": "measured" })),
    };
    match post(socket, &format!("/v1/tenants/{}/{what}", id(tenant)), &body) {
        Answer::Done => Ok(()),
        Answer::Refused | Answer::CutOff => bail!("{what} was not done"),
    }
}

/// How many acts a minute are on the disk, in force and answered.
fn acts(socket: &Path, effort: Effort) -> Result<Vec<Figure>> {
    let acts = effort.repeats(ACTS) / 2 * 2;
    let minute = |clients: u32| -> Result<f64> {
        let started = Instant::now();
        thread::scope(|scope| {
            let client = |client| move || (0..acts).try_for_each(|round| act(socket, client, round % 2 == 0));
            let clients: Vec<_> = (0..clients).map(|number| scope.spawn(client(number))).collect();
            clients.into_iter().try_for_each(|client| client.join().expect("no panic in it"))
        })?;
        Ok(f64::from(clients * acts) / started.elapsed().as_secs_f64() * 60.0)
    };
    let mut trials: [Trial<'_>; 2] = [Box::new(|| minute(1)), Box::new(|| minute(CLIENTS))];
    let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
    let name = |clients: u32| format!("controller/acts through the ledger, {clients} at a time");
    Ok(vec![
        Figure::more(name(CLIENTS), "acts/min", Spread::of(&values[1]))
            .beside("one at a time", Spread::of(&values[0]))
            .aim(Aim::AtLeast(10_000.0)),
    ])
}

/// Milliseconds from a request to the answer, which comes once the kernel has it, while something else goes on.
fn suspensions(socket: &Path, effort: Effort, mut meanwhile: impl FnMut()) -> Result<Vec<f64>> {
    let stop = AtomicBool::new(false);
    let timed = effort.repeats(TIMED);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let one = |number: u32| {
                thread::sleep(PAUSE);
                let started = Instant::now();
                act(socket, 1_000 + number / 2, number.is_multiple_of(2))?;
                Ok(started.elapsed().as_secs_f64() * 1e3)
            };
            let times: Result<Vec<f64>> = (0..timed).map(one).collect();
            stop.store(true, Relaxed);
            times
        });
        while !stop.load(Relaxed) {
            meanwhile();
        }
        client.join().expect("no panic in it")
    })
}

fn p99(times: &[f64]) -> Spread {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let value = sorted[(sorted.len() - 1) * 99 / 100];
    Spread { low: value, median: value, high: value }
}

/// Processor time of a look at what 100,000 tenants have used.
fn look(effort: Effort) -> Result<Figure> {
    let policy = in_force(&LARGE.config());
    let engine = Engine::detached(&policy, ProgramClock::Virtual).context("root, and Linux 5.18")?;
    let (mut detector, now) = (RiseDetector::default(), Timestamp::now());
    let mut look = || -> Result<f64> {
        let took = processor_time(|| {
            let usage: Usage = engine.usage();
            detector.sample(&policy, &usage, SAMPLE_EVERY, now);
            Ok(())
        })?;
        Ok(took.as_secs_f64() * 1e3)
    };
    let mut trials: [Trial<'_>; 1] = [Box::new(&mut look)];
    let values = in_turns(effort.rounds(ROUNDS * 3), &mut trials)?;
    Ok(Figure::less("controller/the minute's look at 100,000 tenants", "ms", Spread::of(&values[0]))
        .aim(Aim::AtMost(200.0)))
}
