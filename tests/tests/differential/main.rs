//! The same packets to the programs and to the reference model; any difference is a failure.
//!
//! Packets come in batches. Within one, each verdict is compared; after it, every counter is compared
//! with what the model says must have moved. On a difference the batch runs again packet by packet, to
//! find the one and what the programs counted it as. Everything follows from a seed, which is printed.
//!
//! The model has no detector, so all policies say `[detect] mode = "off"`; that the programs then act as
//! if they had none is compared along with the rest. What detection does has fixtures of its own.
//!
//! | environment | |
//! |---|---|
//! | `FAIRWAY_DIFFERENTIAL_PACKETS` | packets to generate; a quarter as many again are made from captures |
//! | `FAIRWAY_DIFFERENTIAL_SEED` | another stream of packets |
//! | `FAIRWAY_PCAPS` | where captures lie, in any depth |

#![expect(clippy::unwrap_used, reason = "a test may fall over")]

mod addresses;
mod captured;
mod compared;
mod difference;
mod generate;
mod mutate;
mod policies;
mod world;

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use compared::Compared;
use difference::Difference;
use fairway_tests::captures;
use world::World;

/// With the captures, two minutes on two busy cores.
const DEFAULT_PACKETS: u64 = 10_000_000;

/// What the generated packets and the mutations follow from.
const DEFAULT_SEED: u64 = 1;

/// Packets of a batch: enough that comparing some hundred counters costs next to nothing.
const BATCH: usize = 4_096;

/// Portions that captures are shared out in.
const PORTIONS: usize = 16;

fn setting(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

fn packets() -> u64 {
    setting("FAIRWAY_DIFFERENTIAL_PACKETS", DEFAULT_PACKETS)
}

fn seed() -> u64 {
    setting("FAIRWAY_DIFFERENTIAL_SEED", DEFAULT_SEED)
}

/// Does the jobs on as many threads as there are CPUs; returns what was counted.
fn share<J: Sync>(
    jobs: &[J],
    work: impl Fn(usize, &J) -> Result<Compared, Box<Difference>> + Sync,
) -> Compared {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut compared = Compared::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return Ok(compared) };
            compared += work(index, job)?;
        }
    };
    let shares: Result<Vec<Compared>, Box<Difference>> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker that did not panic")).collect()
    });
    let mut compared = Compared::default();
    shares
        .unwrap_or_else(|difference| panic!("{difference}"))
        .into_iter()
        .for_each(|share| compared += share);
    compared
}

#[test]
#[ignore = "needs root: BPF programs"]
fn generated_packets() {
    let (packets, seed) = (packets(), seed());
    let jobs = policies::all();
    let batches = packets.div_ceil((jobs.len() * BATCH) as u64);
    let compared = share(&jobs, |index, policy| {
        let mut world = World::new(policy);
        let mut generator = generate::Generator::new(world.config(), seed ^ (index as u64) << 32);
        for batch in 0..batches {
            let packets = generator.batch(policy.start_ns, batch);
            world.compare(&packets).map_err(|difference| difference.of(seed, batch))?;
        }
        Ok(world.compared())
    });
    eprintln!("{} generated packets agree, seed {seed}: {compared}", compared.packets());
    assert!(compared.packets() >= packets);
    // What is never decided is not compared either.
    let rare: Vec<_> = compared.rarer_than(compared.packets() / 10_000);
    assert!(rare.is_empty(), "{rare:?} of {compared}");
}

#[test]
#[ignore = "needs root: BPF programs"]
fn captured_packets() {
    let (wanted, seed) = (packets() / 4, seed());
    let Some(captures) = captures::all() else {
        eprintln!("SKIPPED: no captures in {}; set FAIRWAY_PCAPS", captures::directory().display());
        return;
    };
    let frames: u64 = captures.iter().map(|capture| capture.frames.len() as u64).sum();
    assert!(frames > 0, "no packet in {} captures", captures.len());
    // Each packet on both sides, once as it is and then mutated.
    let rounds = wanted.div_ceil(2 * frames).max(1);
    // To load the programs takes longer than to run through a capture.
    let portions: Vec<_> = captures.chunks(captures.len().div_ceil(PORTIONS)).collect();
    let compared = share(&portions, |index, portion| {
        let mut world = World::new(&captured::no_policy());
        for (capture, number) in portion.iter().zip(0..) {
            let seed = seed ^ (index as u64) << 32 ^ number << 48;
            captured::compare(&mut world, capture, seed, rounds)?;
        }
        Ok(world.compared())
    });
    let count = captures.len();
    eprintln!("{} packets from {count} captures agree, seed {seed}: {compared}", compared.packets());
    assert!(compared.packets() >= wanted.max(2 * frames) * 99 / 100, "frames that the kernel does not run");
}

/// The check itself: a model of another policy must not agree.
#[test]
#[ignore = "needs root: BPF programs"]
fn a_wrong_model_is_found_out() {
    let policies = policies::all();
    let mut world = World::new(&policies[0]);
    world.misunderstand(|config| {
        config.tenants.iter_mut().for_each(|tenant| Arc::make_mut(tenant).open.clear())
    });
    let mut generator = generate::Generator::new(world.config(), seed());
    let packets = generator.batch(policies[0].start_ns, 0);
    let difference = world.compare(&packets).expect_err("the programs hold to another policy");
    let text = difference.to_string();
    assert!(text.contains("port_blocked") && text.contains("Passed"), "{text}");
}
