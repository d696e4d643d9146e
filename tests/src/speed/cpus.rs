//! All processors on one tenant: whether its cap still holds, and how much they get done together.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fairway_tests::bench::in_force;
use gateway::config::{BitRate, Config, Side};
use gateway::dataplane::{Engine, ProgramClock};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::figure::{Aim, Figure};
use crate::measure::{Effort, Spread, Trial, elapsed, in_turns};
use crate::packet::{LOOPBACK, tcp};
use crate::scale::Scale;

const ROUNDS: usize = 9;
const REPEATS: u32 = 2_000_000;
const FRAME_BYTES: usize = 1_500;
const CAP_BITS_PER_SEC: u64 = 10_000_000;
const BURST: Duration = Duration::from_millis(250);

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let all = thread::available_parallelism()?.get();
    let mut figures = vec![cap_error(effort, all)?];
    let scale = Scale { tenants: 1, networks_each: 1 };
    for (what, config) in [("passing", scale.config()), ("over the cap", scale.config_over_cap())] {
        let engine = engine(&config)?;
        let repeat = effort.repeats(REPEATS);
        let rate = |processors: usize| {
            let (took, ()) = elapsed(|| flood(&engine, processors, repeat, || false))?;
            Ok(processors as f64 * f64::from(repeat) / took.as_secs_f64())
        };
        let mut trials: [Trial<'_>; 2] = [Box::new(|| rate(1)), Box::new(|| rate(all))];
        let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
        let name = format!("cpus/one tenant, {what}, {all} processors");
        let figure = Figure::more(name, "packets/s", Spread::of(&values[1]));
        figures.push(figure.beside("one processor", Spread::of(&values[0])));
    }
    Ok(figures)
}

/// How far what passes lies from what the cap allows, in percent, with all processors sending as fast as
/// they can.
fn cap_error(effort: Effort, processors: usize) -> Result<Figure> {
    let scale = Scale { tenants: 1, networks_each: 1 };
    let mut config = scale.config();
    let rate = BitRate::from_bits_per_sec(CAP_BITS_PER_SEC).context("a rate")?;
    let tenant = Arc::make_mut(&mut config.tenants[0]);
    (tenant.cap_up, tenant.burst) = (rate, BURST);
    let engine = engine(&config)?;
    let time = Duration::from_secs(if effort.quick { 1 } else { 4 });
    let trial = || {
        let stop = AtomicBool::new(false);
        let passed = || engine.snapshot().tenants[0].up.passed.bytes as f64;
        thread::scope(|scope| {
            let flood = scope.spawn(|| flood(&engine, processors, 1_000, || !stop.load(Relaxed)));
            // Until the burst is spent.
            thread::sleep(BURST * 2);
            let (start, before) = (Instant::now(), passed());
            thread::sleep(time);
            let (took, passed) = (start.elapsed(), passed() - before);
            stop.store(true, Relaxed);
            flood.join().expect("no panic in it")?;
            let allowed = took.as_secs_f64() * CAP_BITS_PER_SEC as f64 / 8.0;
            Ok((passed / allowed - 1.0).abs() * 100.0)
        })
    };
    let values = in_turns(effort.rounds(5), &mut [Box::new(trial)])?;
    let name = format!("cpus/error of a cap of 10 Mbit/s, {processors} processors on one tenant");
    Ok(Figure::less(name, "%", Spread::of(&values[0])).aim(Aim::AtMost(1.0)))
}

fn engine(config: &Config) -> Result<Engine> {
    let mut engine =
        Engine::detached(&in_force(config), ProgramClock::Kernel).context("root, and Linux 5.18")?;
    engine.register(&config.interfaces[0], LOOPBACK)?;
    Ok(engine)
}

/// Runs the tenant's packets on so many processors at once: `repeat` of them each, and so on as long as
/// they are to do it `again`.
fn flood(engine: &Engine, processors: usize, repeat: u32, again: impl Fn() -> bool + Sync) -> Result<()> {
    let frame = tcp(4, FRAME_BYTES, 443);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..processors)
            .map(|processor| {
                let (frame, again) = (&frame, &again);
                scope.spawn(move || {
                    let mut set = CpuSet::new();
                    set.set(processor)?;
                    sched_setaffinity(Pid::from_raw(0), &set)?;
                    loop {
                        engine.run_repeatedly(Side::Tenant, frame, repeat)?;
                        if !again() {
                            return anyhow::Ok(());
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic in it"))
    })
}
