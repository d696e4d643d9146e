//! What it takes to change the policy: the command `fairway reload` from its start to its end, the
//! gateway's memory, and packets at full speed meanwhile.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use anyhow::{Context, Result};
use fairway_tests::bench::in_force;
use fairway_tests::topology::Plan;
use gateway::config::{BitRate, Side};
use gateway::dataplane::{Engine, ProgramClock};
use gateway_ebpf::DropReason;

use crate::figure::{Aim, Figure};
use crate::measure::{Effort, Spread, Trial, elapsed, in_turns};
use crate::notation;
use crate::packet::{LOOPBACK, tcp};
use crate::provider::Provider;
use crate::scale::LARGE;
use crate::traffic::Generator;

const ROUNDS: usize = 9;
const RELOADS_UNDER_TRAFFIC: u32 = 100;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = commands(effort)?;
    figures.extend(notation::measure(effort)?);
    figures.extend(under_traffic(effort)?);
    Ok(figures)
}

fn commands(effort: Effort) -> Result<Vec<Figure>> {
    let topology = Plan::default().build()?;
    let provider = Provider::start(&topology, LARGE)?;
    provider.settle();
    let milliseconds = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    // Another value each time, so that there is something to change.
    let mut next_cap = (1..=9).cycle();
    let mut cap = move || next_cap.next().unwrap_or(1);
    let mut cap_of_all = cap.clone();
    let mut trials: [Trial<'_>; 3] = [
        Box::new(|| Ok(milliseconds(provider.status()?))),
        Box::new(|| {
            provider.write(provider.files() / 2, cap())?;
            let took = provider.reload()?;
            provider.settle();
            Ok(milliseconds(took))
        }),
        Box::new(|| {
            let cap = cap_of_all();
            (0..provider.files()).try_for_each(|file| provider.write(file, cap))?;
            let took = provider.reload()?;
            provider.settle();
            Ok(milliseconds(took))
        }),
    ];
    let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
    drop(trials);
    let status = Spread::of(&values[0]);
    let figure = |name: &str, values: &[f64], most| {
        Figure::less(format!("reload/100,000 tenants in 100 files, {name}"), "ms", Spread::of(values))
            .beside("fairway status", status)
            .aim(Aim::AtMost(most))
    };
    let memory = |name: &str, line| {
        let mb = provider.memory_mb(line)?;
        let name = format!("reload/100,000 tenants, memory of the controller, {name}");
        // What it has of the kernel's tables in its own address space is counted, too.
        anyhow::Ok(Figure::less(name, "MB", Spread::of(&[mb])))
    };
    Ok(vec![
        figure("one tenant changed", &values[1], 100.0),
        figure("a tenant of every file changed", &values[2], 1_000.0),
        memory("now", "RssAnon")?.aim(Aim::AtMost(300.0)),
        memory("at most, with the kernel's tables that it has mapped", "VmHWM")?,
    ])
}

/// Packets that pass and packets to port 25, from all tenants, while one policy replaces another.
fn under_traffic(effort: Effort) -> Result<Vec<Figure>> {
    let policies = [10_000_000, 9_000_000].map(|bits_per_sec| {
        let mut config = LARGE.config();
        config.tenants.iter_mut().map(Arc::make_mut).for_each(|tenant| {
            tenant.cap_down = BitRate::from_bits_per_sec(bits_per_sec).unwrap_or(BitRate::MAX);
        });
        in_force(&config)
    });
    let mut engine = Engine::detached(&policies[0], ProgramClock::Kernel).context("root, and Linux 5.18")?;
    engine.register(&policies[0].config().interfaces[0], LOOPBACK)?;
    let program = engine.program_fd(Side::Tenant)?.try_clone()?;
    let stop = AtomicBool::new(false);
    let flood = || {
        let mut generator = Generator::load()?;
        let mut sent = 0_u64;
        while !stop.load(Relaxed) {
            for port in [443, 25] {
                generator.send(&tcp(4, 64, port), LARGE, &program, 10_000)?;
            }
            sent += 10_000;
        }
        anyhow::Ok(sent)
    };
    let reloads = effort.repeats(RELOADS_UNDER_TRAFFIC);
    let (sent, times) = thread::scope(|scope| {
        let flood = scope.spawn(flood);
        let apply = |index: u32| {
            Ok(elapsed(|| Ok(engine.apply(&policies[(1 - index % 2) as usize])?))?.0.as_secs_f64() * 1e3)
        };
        let times: Result<Vec<f64>> = (0..reloads).map(apply).collect();
        stop.store(true, Relaxed);
        (flood.join().expect("no panic in it"), times)
    });
    let (sent, times) = (sent?, times?);
    let snapshot = engine.snapshot();
    let passed: u64 = snapshot.tenants.iter().map(|tenant| tenant.up.passed.packets).sum();
    let drops = snapshot.tenants.iter().flat_map(|tenant| &tenant.up.dropped);
    let refused: u64 =
        drops.filter(|(reason, _)| *reason == DropReason::SmtpBlocked).map(|(_, tally)| tally.packets).sum();
    let wrong = (sent.abs_diff(passed) + sent.abs_diff(refused)) as f64;
    let sent = (2 * sent) as f64;
    Ok(vec![
        Figure::less(
            "reload/100,000 tenants, every one changed, under traffic: compiled and applied",
            "ms",
            Spread::of(&times),
        ),
        Figure::less(
            format!("reload/lost or misjudged during {reloads} reloads"),
            "packets",
            Spread::of(&[wrong]),
        )
        .beside("packets sent", Spread::of(&[sent]))
        .aim(Aim::AtMost(0.0)),
    ])
}
