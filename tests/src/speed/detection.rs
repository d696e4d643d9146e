//! What detection adds to a packet: the same packets under the same policy, with every detector on and with
//! none.

use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fairway_tests::bench;
use fairway_tests::frames::{self, between, number};
use gateway::config::Side;
use gateway::dataplane::{DetectionCounters, Engine, ProgramClock};

use crate::figure::{Aim, Figure};
use crate::measure::{Effort, Spread, Trial, in_turns, processor_time};
use crate::packet::LOOPBACK;
use crate::traffic::Generator;

const ROUNDS: usize = 31;
const REPEATS: u32 = 100_000;
/// Networks of 256 addresses each: tables as large as they are made.
const NETWORKS: u32 = 40;
/// ACK alone: a segment of a connection that is set up.
const ACK: u8 = 0x10;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let off = engine("off")?;
    let mut figures = established(&off, effort)?;
    figures.extend(contacts(&off, effort)?);
    Ok(figures)
}

/// What is said of a figure.
fn figure(name: &str, off: &[f64], on: &[f64], aim: f64) -> Figure {
    Figure::less(format!("detection/{name}"), "ns added", Spread::of_differences(on, off))
        .beside("without detection", Spread::of(off))
        .aim(Aim::AtMost(aim))
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

/// Watching counts and judges as enforcing does, but stops nothing of what is sent here.
fn watching() -> Result<Engine> {
    engine("watch")
}

/// Packets of flows that are set up.
fn established(off: &Engine, effort: Effort) -> Result<Vec<Figure>> {
    let on = watching()?;
    let repeat = effort.repeats(REPEATS);
    let (source, peer) = (Ipv4Addr::new(10, 0, 39, 255), Ipv4Addr::new(192, 0, 2, 1));
    let mut segment = frames::tcp(40_000, 443, &[0; 10]);
    segment[13] = ACK;
    let segment = between(source.into(), peer.into(), number::TCP, segment).frame();
    let query = between(source.into(), peer.into(), number::UDP, frames::udp(40_000, 443, &[0; 22])).frame();
    let answer = between(peer.into(), source.into(), number::UDP, frames::udp(443, 40_000, &[0; 22])).frame();
    for engine in [&on, off] {
        engine.run(Side::Tenant, &query)?;
        engine.run(Side::Uplink, &answer)?;
    }
    let packets = [
        ("TCP, established", Side::Tenant, &segment),
        ("UDP, answered, from the tenant", Side::Tenant, &query),
        ("UDP, answered, to the tenant", Side::Uplink, &answer),
    ];
    let mut trials: Vec<Trial<'_>> = Vec::new();
    for (_, side, frame) in packets {
        for engine in [off, &on] {
            let all = move || Ok(engine.run_repeatedly(side, frame, repeat)?);
            trials.push(Box::new(move || Ok(processor_time(all)?.as_nanos() as f64 / f64::from(repeat))));
        }
    }
    let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
    drop(trials);
    let counted = on.detection_counters().attempted;
    ensure!(counted == 1, "{counted} contacts instead of the one of UDP");
    let pairs = packets.iter().zip(values.chunks_exact(2));
    Ok(pairs.map(|((name, ..), pair)| figure(name, &pair[0], &pair[1], 30.0)).collect())
}

/// New contacts of one kind. No source makes so many in a run as it has credit for.
struct Case {
    name: &'static str,
    frame: Vec<u8>,
    /// Addresses that turn to somebody, one after the other. Where they lie in the table is as good as random.
    sources: u32,
    /// Whether they are known before: each has made a contact.
    known: bool,
    /// Contacts in a round.
    contacts: u32,
}

impl Case {
    fn all(effort: Effort) -> [Self; CASES] {
        let tcp = frames::tcp(40_000, 443, &[0; 10]);
        let udp = frames::udp(40_000, 443, &[0; 22]);
        let case = |name, protocol, payload, known, sources, contacts| {
            let anybody = Ipv4Addr::UNSPECIFIED.into();
            let frame = between(anybody, anybody, protocol, payload).frame();
            Self { name, frame, known, sources, contacts: effort.repeats(contacts) }
        };
        // What is known of 64 sources takes 86 kB, and stays in the caches as that of a scanner does. Of 4,096 it
        // is 5 MB, and out of them when the source's turn comes again.
        [
            case("TCP, a new contact", number::TCP, tcp.clone(), true, 64, 256),
            case(
                "TCP, a new contact of a source not seen lately",
                number::TCP,
                tcp.clone(),
                true,
                4_096,
                2_048,
            ),
            case("TCP, the first contact of a source", number::TCP, tcp, false, NETWORKS * 256, 256),
            case("UDP, a new contact", number::UDP, udp.clone(), true, 64, 256),
            case("UDP, a new contact of a source not seen lately", number::UDP, udp, true, 4_096, 2_048),
        ]
    }
}

/// Cases of contacts.
const CASES: usize = 5;
/// Rounds of contacts: with the one that is thrown away, a source makes at most 48 and has credit for 64.
const ROUNDS_OF_CONTACTS: usize = 11;
/// A contact that is pushed out sooner than after three seconds counts as crowding, which suspends judgement.
/// With a pause of this length in each round, nine contacts within three seconds meet in a set once in ten
/// thousand runs.
const PAUSE: Duration = Duration::from_millis(1_500);

fn contacts(off: &Engine, effort: Effort) -> Result<Vec<Figure>> {
    let generator = RefCell::new(Generator::load()?);
    let cases = Case::all(effort);
    let engines = cases.iter().map(|_| watching()).collect::<Result<Vec<_>>>()?;
    let made = [const { Cell::new(0) }; CASES];
    let mut trials: Vec<Trial<'_>> = Vec::new();
    for ((case, on), made) in cases.iter().zip(&engines).zip(&made) {
        let send = |engine: &Engine, count| {
            let next = engine.program_fd(Side::Tenant)?;
            generator.borrow_mut().make_contacts(&case.frame, case.sources, made.get(), next, count)
        };
        if case.known {
            send(on, case.sources)?;
            made.set(case.sources);
        }
        let each = move |engine: &Engine| Ok(send(engine, case.contacts)?.as_nanos() as f64);
        trials.push(Box::new(move || each(off)));
        trials.push(Box::new(move || {
            let value = each(on);
            made.set(made.get() + case.contacts);
            value
        }));
    }
    trials.push(Box::new(|| {
        thread::sleep(PAUSE);
        Ok(0.0)
    }));
    // The sources were just made known.
    thread::sleep(2 * PAUSE);
    let values = in_turns(effort.rounds(ROUNDS_OF_CONTACTS), &mut trials)?;
    drop(trials);
    for ((case, engine), made) in cases.iter().zip(&engines).zip(&made) {
        let DetectionCounters { attempted, throttled, sources_full, crowded, sources, .. } =
            engine.detection_counters();
        let (opened, made) = (if case.known { case.sources } else { made.get() }, u64::from(made.get()));
        // In one run of thirty, nine of 4,096 sources meet in a set of eight: the ninth is not counted.
        ensure!(
            attempted + sources_full == made
                && sources_full * 1_000 < made
                && (throttled, crowded) == (0, 0)
                && u64::from(opened - sources) <= sources_full,
            "{}: {:?} after {} contacts of {opened} sources",
            case.name,
            engine.detection_counters(),
            made,
        );
    }
    let pairs = cases.iter().zip(values.chunks_exact(2));
    Ok(pairs.map(|(case, pair)| figure(case.name, &pair[0], &pair[1], 600.0)).collect())
}
