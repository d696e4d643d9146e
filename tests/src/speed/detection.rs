//! What detection adds to a packet: the same packets under the same policy, with every detector on and with
//! none.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fairway_tests::bench;
use fairway_tests::bench::in_force;
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
/// TCP's control bits (RFC 9293, 3.1). ACK alone: a segment of a connection that is set up.
const ACK: u8 = 0x10;
const SYN: u8 = 0x02;
const FIN: u8 = 0x01;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let off = engine("off")?;
    let mut figures = established(&off, effort)?;
    figures.extend(contacts(&off, effort)?);
    Ok(figures)
}

/// What is said of a figure.
fn figure(name: &str, off: &[f64], on: &[f64], aim: Option<f64>) -> Figure {
    let figure = Figure::less(format!("detection/{name}"), "ns added", Spread::of_differences(on, off))
        .beside("without detection", Spread::of(off));
    Figure { aim: aim.map(Aim::AtMost), ..figure }
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
    let mut engine =
        Engine::detached(&in_force(&config), ProgramClock::Kernel).context("root, and Linux 5.18")?;
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
    let tcp = |(from, to): (Ipv4Addr, Ipv4Addr), ports: (u16, u16), flags, sequence: u32| {
        let mut header = frames::tcp(ports.0, ports.1, &[]);
        header[4..8].copy_from_slice(&sequence.to_be_bytes());
        header[13] = flags;
        between(from.into(), to.into(), number::TCP, header).frame()
    };
    let open = tcp((source, peer), (40_001, 443), SYN, 0);
    let accept = tcp((peer, source), (443, 40_001), SYN | ACK, 0);
    // After some thousand bytes: it was not only probed, but that takes a look.
    let end = tcp((source, peer), (40_001, 443), FIN | ACK, 5_000);
    let end_of_served = tcp((source, peer), (443, 40_001), FIN | ACK, 5_000);
    for engine in [&on, off] {
        for (side, frame) in
            [(Side::Tenant, &query), (Side::Uplink, &answer), (Side::Tenant, &open), (Side::Uplink, &accept)]
        {
            engine.run(side, frame)?;
        }
    }
    let packets = [
        ("TCP, established", Side::Tenant, &segment, Some(30.0)),
        ("UDP, answered, from the tenant", Side::Tenant, &query, Some(30.0)),
        ("UDP, answered, to the tenant", Side::Uplink, &answer, Some(30.0)),
        ("TCP, the end of a connection that another made", Side::Tenant, &end_of_served, None),
        ("TCP, the end of a connection of its own", Side::Tenant, &end, None),
    ];
    let mut trials: Vec<Trial<'_>> = Vec::new();
    for (_, side, frame, _) in packets {
        for engine in [off, &on] {
            let all = move || Ok(engine.run_repeatedly(side, frame, repeat)?);
            trials.push(Box::new(move || Ok(processor_time(all)?.as_nanos() as f64 / f64::from(repeat))));
        }
    }
    let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
    drop(trials);
    let counted = on.detection_counters();
    let counted = (counted.attempted, counted.answered);
    ensure!(
        counted == (2, 2),
        "{counted:?} contacts made and answered, not the one of UDP and the one of TCP"
    );
    let pairs = packets.iter().zip(values.chunks_exact(2));
    Ok(pairs.map(|((name, .., aim), pair)| figure(name, &pair[0], &pair[1], *aim)).collect())
}

/// New contacts of one kind. No source makes more of them than it has credit for.
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
    fn all(effort: Effort) -> Vec<Self> {
        let tcp = frames::tcp(40_000, 443, &[0; 10]);
        let udp = frames::udp(40_000, 443, &[0; 22]);
        let case = |name, protocol, payload: &Vec<u8>, known, sources, contacts| {
            let anybody = Ipv4Addr::UNSPECIFIED.into();
            let frame = between(anybody, anybody, protocol, payload.clone()).frame();
            Self { name, frame, known, sources, contacts: effort.repeats(contacts) }
        };
        // What is known of 64 sources takes 86 kB, and stays in the caches as that of a scanner does. Of 4,096 it
        // is 5 MB, and out of them when the source's turn comes again.
        //
        // The first contacts of a run find neither code nor branches in the processor's caches: it begins with some 30
        // microseconds more than it goes on with. So runs are as long as credit (48 contacts of each of 64 sources)
        // and the sets of contacts let them be: a contact that is pushed out of one sooner than after three seconds
        // counts as crowding, which suspends judgement. Among 6,144 contacts that happens once in a thousand runs.
        let (anybody, first) = (NETWORKS * 256, 4_096);
        vec![
            case("TCP, a new contact", number::TCP, &tcp, true, 64, 3_072),
            case("TCP, a new contact of a source not seen lately", number::TCP, &tcp, true, 4_096, 2_048),
            case("TCP, the first contact of a source", number::TCP, &tcp, false, anybody, first),
            case("UDP, a new contact", number::UDP, &udp, true, 64, 3_072),
            case("UDP, a new contact of a source not seen lately", number::UDP, &udp, true, 4_096, 2_048),
            case("UDP, the first contact of a source", number::UDP, &udp, false, anybody, first),
        ]
    }

    /// Contacts that are made before anything is measured: one of each source that is to be known.
    fn before(&self) -> u32 {
        if self.known { self.sources } else { 0 }
    }

    /// Makes the contacts under a policy that does not detect. Returns nanoseconds a contact, as the other does.
    fn make_unseen(&self, generator: &mut Generator, off: &Engine) -> Result<f64> {
        self.send(generator, off, self.before(), self.contacts)
    }

    /// Makes them under one that does, with tables where nothing is but the sources that are to be known.
    fn make(&self, generator: &mut Generator) -> Result<f64> {
        let on = watching()?;
        if self.known {
            self.send(generator, &on, 0, self.before())?;
        }
        let value = self.send(generator, &on, self.before(), self.contacts)?;
        self.check(&on)?;
        Ok(value)
    }

    /// Makes `count` contacts, number `first` and those that follow.
    fn send(&self, generator: &mut Generator, engine: &Engine, first: u32, count: u32) -> Result<f64> {
        let next = engine.program_fd(Side::Tenant)?;
        let each = generator.make_contacts(&self.frame, self.sources, first, next, count)?;
        Ok(each.as_nanos() as f64)
    }

    /// An error unless every contact was counted, and none held back or pushed out.
    fn check(&self, engine: &Engine) -> Result<()> {
        let counters = engine.detection_counters();
        let DetectionCounters { attempted, throttled, sources_full, crowded, sources, .. } = counters;
        let made = u64::from(self.before() + self.contacts);
        let opened = if self.known { self.sources } else { self.contacts };
        // In one run of thirty, nine of 4,096 sources meet in a set of eight: the ninth is not counted.
        ensure!(
            attempted + sources_full == made
                && sources_full * 1_000 < made
                && (throttled, crowded) == (0, 0)
                && u64::from(opened - sources) <= sources_full,
            "{}: {counters:?} after {made} contacts of {opened} sources",
            self.name,
        );
        Ok(())
    }
}

/// Rounds of contacts. Each loads the programs anew: how fast they are differs with the place in memory that the
/// kernel gives their code.
const ROUNDS_OF_CONTACTS: usize = 11;

fn contacts(off: &Engine, effort: Effort) -> Result<Vec<Figure>> {
    let generator = RefCell::new(Generator::load()?);
    let cases = Case::all(effort);
    let mut trials: Vec<Trial<'_>> = Vec::new();
    for case in &cases {
        trials.push(Box::new(|| case.make_unseen(&mut generator.borrow_mut(), off)));
        trials.push(Box::new(|| case.make(&mut generator.borrow_mut())));
    }
    let values = in_turns(effort.rounds(ROUNDS_OF_CONTACTS), &mut trials)?;
    drop(trials);
    let pairs = cases.iter().zip(values.chunks_exact(2));
    Ok(pairs.map(|(case, pair)| figure(case.name, &pair[0], &pair[1], Some(600.0))).collect())
}
