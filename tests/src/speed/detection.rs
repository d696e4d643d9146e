//! What detection adds to a packet: the same packets under the same policy, with every detector on and with
//! none.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fairway_tests::bench;
use fairway_tests::frames::{self, between, number};
use gateway::config::Side;
use gateway::dataplane::{Engine, ProgramClock};

use crate::figure::{Aim, Figure};
use crate::measure::{Effort, Spread, Trial, in_turns, processor_time};
use crate::packet::LOOPBACK;

const ROUNDS: usize = 31;
const REPEATS: u32 = 100_000;
/// Networks of 256 sources each.
const NETWORKS: u32 = 40;
/// New contacts in a round, and how many of them each source makes: fewer than its credit, and than any
/// threshold.
const CONTACTS: u32 = 4_000;
const CONTACTS_EACH: u32 = 25;
/// ACK alone: a segment of a connection that is set up.
const ACK: u8 = 0x10;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    // Watching counts and judges as enforcing does; but what is sent here is a flood, and must not be stopped.
    let (on, off) = (engine("watch")?, engine("off")?);
    let repeat = effort.repeats(REPEATS);
    let (source, peer) = (Ipv4Addr::new(10, 0, 39, 255), Ipv4Addr::new(192, 0, 2, 1));
    let mut segment = frames::tcp(40_000, 443, &[0; 10]);
    segment[13] = ACK;
    let segment = between(source.into(), peer.into(), number::TCP, segment).frame();
    let query = between(source.into(), peer.into(), number::UDP, frames::udp(40_000, 443, &[0; 22])).frame();
    let answer = between(peer.into(), source.into(), number::UDP, frames::udp(443, 40_000, &[0; 22])).frame();
    for engine in [&on, &off] {
        engine.run(Side::Tenant, &query)?;
        engine.run(Side::Uplink, &answer)?;
    }
    let established = [
        ("TCP, established", Side::Tenant, &segment),
        ("UDP, answered, from the tenant", Side::Tenant, &query),
        ("UDP, answered, to the tenant", Side::Uplink, &answer),
    ];
    let made = [Cell::new(0), Cell::new(0)];
    let mut trials: Vec<Trial<'_>> = Vec::new();
    for (_, side, frame) in established {
        for engine in [&off, &on] {
            let all = move || Ok(engine.run_repeatedly(side, frame, repeat)?);
            trials.push(Box::new(move || Ok(processor_time(all)?.as_nanos() as f64 / f64::from(repeat))));
        }
    }
    for (engine, made) in [&off, &on].into_iter().zip(&made) {
        trials.push(Box::new(|| contacts(engine, made)));
    }
    let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
    drop(trials);
    let counted = on.detection_counters().attempted;
    // And the one of UDP.
    let sent = u64::from(made[1].get()) + 1;
    ensure!(counted == sent, "of {sent} new contacts {counted} were counted");
    let aims = [30.0, 30.0, 30.0, 600.0];
    let names = established.iter().map(|(name, ..)| *name).chain(["TCP, a new contact"]);
    let figures = names.zip(values.chunks_exact(2)).zip(aims).map(|((name, pair), aim)| {
        Figure::less(format!("detection/{name}"), "ns added", Spread::of_differences(&pair[1], &pair[0]))
            .beside("without detection", Spread::of(&pair[0]))
            .aim(Aim::AtMost(aim))
    });
    Ok(figures.collect())
}

/// The programs under a policy with every detector in one mode.
fn engine(mode: &str) -> Result<Engine> {
    let networks: Vec<_> = (0..NETWORKS).map(|n| format!("'10.0.{n}.0/24'")).collect();
    let mut config = bench::config(&format!(
        "[fair_use]\nceiling = '10 Gbit/s'\n[detect]\nmode = '{mode}'\n[[tenant]]\nid = 'a'\n\
         prefixes = [{}]\ncontact = 'a@b.example'\ncap = {{ up = '10 Gbit/s', down = '10 Gbit/s' }}",
        networks.join(", ")
    ));
    // None of what is sent is to meet the cap.
    config.tenants.iter_mut().for_each(|tenant| Arc::make_mut(tenant).burst = Duration::from_secs(3_600));
    let mut engine = Engine::detached(&config, ProgramClock::Kernel).context("root, and Linux 5.18")?;
    engine.register(&config.interfaces[0], LOOPBACK)?;
    Ok(engine)
}

/// Nanoseconds that each of [`CONTACTS`] new contacts takes, its system call included.
fn contacts(engine: &Engine, made: &Cell<u32>) -> Result<f64> {
    let first = made.get();
    made.set(first + CONTACTS);
    let frames: Vec<_> = (first..first + CONTACTS)
        .map(|n| {
            let source = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + n / CONTACTS_EACH);
            let peer = Ipv4Addr::from_bits(Ipv4Addr::new(20, 0, 0, 0).to_bits() + n);
            between(source.into(), peer.into(), number::TCP, frames::tcp(40_000, 443, &[])).frame()
        })
        .collect();
    let run = || frames.iter().try_for_each(|frame| engine.run(Side::Tenant, frame).map(drop));
    Ok(processor_time(|| Ok(run()?))?.as_nanos() as f64 / f64::from(CONTACTS))
}
