//! What one packet costs: processor time over that of a program that only lets it pass.
//!
//! `BPF_PROG_TEST_RUN` repeats a program on one frame, which keeps one tenant hot. For tenants picked at
//! random a program writes the frame anew each time and calls the next one; the same with a next one
//! that does nothing is the baseline, so that neither the writing nor the picking is in the figure.
//!
//! The kernel places the code that it compiles at random within a page (`bpf_jit_binary_pack_alloc`), and where its
//! branches come to lie in the processor's lines makes 2 ns for one hot tenant over IPv4 and 8 over IPv6. So programs for few
//! tenants are loaded several times, and each round runs another of them.

use std::cell::RefCell;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use fairway_tests::bench::in_force;
use fairway_tests::frames::{self, between, number};
use gateway::config::{Config, Side};
use gateway::dataplane::{Engine, ProgramClock};

use crate::figure::{Aim, Figure};
use crate::measure::{Effort, Spread, Trial, in_turns, processor_time};
use crate::scale::{LARGE, Scale, networks_of};
use crate::traffic::Generator;

/// The interface that test runs are received on.
pub(crate) const LOOPBACK: u32 = 1;
const ROUNDS: usize = 31;
const REPEATS: u32 = 100_000;
/// How often programs are loaded, where the tables are small.
const LOADS: usize = 7;

/// Providers from one server to a million networks.
const SCALES: [(&str, Scale); 4] = [
    ("1 tenant", Scale { tenants: 1, networks_each: 1 }),
    ("1,000 tenants", Scale { tenants: 1_000, networks_each: 1 }),
    ("100,000 tenants", LARGE),
    ("100,000 tenants, 1,000,000 networks", Scale { tenants: 100_000, networks_each: 5 }),
];

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, scale) in SCALES {
        let bench = Bench::new(scale.config(), scale)?;
        figures.extend(bench.run(name, effort, &passing(scale == LARGE), &picked())?);
    }
    let bench = Bench::new(LARGE.config(), LARGE)?;
    figures.extend(bench.run("parts", effort, &other_ends(), &[])?);
    let bench = Bench::new(LARGE.config_over_cap(), LARGE)?;
    figures.extend(bench.run("over its cap", effort, &over_cap(), &[])?);
    figures.extend(primitives(effort)?);
    Ok(figures)
}

/// A frame, and how it must end.
struct Case {
    name: &'static str,
    side: Side,
    frame: Vec<u8>,
    end: End,
    aim: Option<Aim>,
}

/// How a frame must end: by this the counters tell that what was measured is what was meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Passed,
    Dropped,
    /// Nobody's: counted for the interface.
    Nobodys,
}

fn case(name: &'static str, frame: Vec<u8>) -> Case {
    Case { name, side: Side::Tenant, frame, end: End::Passed, aim: None }
}

/// Packets of the first tenant that pass, by protocol, family, length and tag.
fn passing(all: bool) -> Vec<Case> {
    let hot = Some(Aim::AtMost(20.0));
    let mut cases = vec![
        Case { aim: hot, ..case("TCP over IPv4, 64 B", tcp(4, 64, 443)) },
        case("TCP over IPv6, 74 B", tcp(6, 74, 443)),
    ];
    if all {
        cases.extend([
            Case { aim: hot, ..case("UDP over IPv4, 64 B", udp(4, 64)) },
            case("UDP over IPv6, 64 B", udp(6, 64)),
            case("TCP over IPv4, 1,500 B", tcp(4, 1_500, 443)),
            case("TCP over IPv6, 1,500 B", tcp(6, 1_500, 443)),
            case("TCP over IPv4, 64 B, one VLAN tag", tagged(&[number::VLAN])),
            case("TCP over IPv4, 64 B, two VLAN tags", tagged(&[number::SERVICE_VLAN, number::VLAN])),
            Case { side: Side::Uplink, ..case("TCP over IPv4, 64 B, to the tenant", to_tenant()) },
        ]);
    }
    cases
}

/// Packets from tenants picked at random.
fn picked() -> Vec<Case> {
    vec![
        Case { aim: Some(Aim::AtMost(60.0)), ..case("TCP over IPv4, 64 B", tcp(4, 64, 443)) },
        case("TCP over IPv6, 74 B", tcp(6, 74, 443)),
    ]
}

/// Packets whose way ends earlier: what they cost less is what they leave out.
fn other_ends() -> Vec<Case> {
    let arp = frames::ethernet(&[], number::ARP, &[0; 46]);
    let stranger = ip(4, number::UDP, frames::udp(1, 2, &[]), ("198.51.100.1", "198.51.100.2"), &[], 64);
    vec![
        Case { end: End::Nobodys, ..case("ARP: parsed no further than Ethernet", arp) },
        Case { end: End::Nobodys, side: Side::Uplink, ..case("nobody's: parsed and looked up", stranger) },
        Case { end: End::Dropped, ..case("to port 25: no cap, dropped", tcp(4, 64, 25)) },
        case("ICMP: no ports", ip(4, 1, vec![8, 0, 0, 0, 0, 0, 0, 0], hosts(4), &[], 64)),
        case("TCP: all", tcp(4, 64, 443)),
    ]
}

fn over_cap() -> Vec<Case> {
    vec![Case { end: End::Dropped, ..case("TCP over IPv4, 64 B", tcp(4, 64, 443)) }]
}

fn hosts(family: u8) -> (&'static str, &'static str) {
    if family == 4 { ("10.0.0.1", "192.0.2.1") } else { ("2a00::1", "2001:db8::1") }
}

fn ip(
    family: u8,
    protocol: u8,
    mut payload: Vec<u8>,
    (source, destination): (&str, &str),
    tags: &[u16],
    bytes: usize,
) -> Vec<u8> {
    let headers = 14 + 4 * tags.len() + if family == 4 { 20 } else { 40 };
    payload.resize(payload.len().max(bytes - headers), 0);
    if protocol == number::UDP {
        let length = payload.len() as u16;
        payload[4..6].copy_from_slice(&length.to_be_bytes());
    }
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let packet = between(address(source), address(destination), protocol, payload);
    tags.iter().fold(packet, |packet, tag| packet.tag(*tag, 110)).frame()
}

/// A TCP segment of the first tenant.
pub(crate) fn tcp(family: u8, bytes: usize, port: u16) -> Vec<u8> {
    ip(family, number::TCP, frames::tcp(40_000, port, &[]), hosts(family), &[], bytes)
}

fn udp(family: u8, bytes: usize) -> Vec<u8> {
    ip(family, number::UDP, frames::udp(40_000, 443, &[]), hosts(family), &[], bytes)
}

fn tagged(tags: &[u16]) -> Vec<u8> {
    ip(4, number::TCP, frames::tcp(40_000, 443, &[]), hosts(4), tags, 64 + 4 * tags.len())
}

fn to_tenant() -> Vec<u8> {
    let (tenant, other) = hosts(4);
    ip(4, number::TCP, frames::tcp(40_000, 443, &[]), (other, tenant), &[], 64)
}

/// One policy, loaded, with what sends to it.
struct Bench {
    /// The same in each.
    engines: Vec<Engine>,
    generator: RefCell<Generator>,
    scale: Scale,
}

impl Bench {
    fn new(config: Config, scale: Scale) -> Result<Self> {
        debug_assert!(config.tenants[0].prefixes[..2] == networks_of(0));
        let load = || -> Result<Engine> {
            let mut engine =
                Engine::detached(&in_force(&config), ProgramClock::Kernel).context("root, and Linux 5.18")?;
            engine.register(&config.interfaces[0], LOOPBACK)?;
            Ok(engine)
        };
        let loads = if scale.networks() > 1_000 { 1 } else { LOADS };
        let engines = (0..loads).map(|_| load()).collect::<Result<_>>()?;
        Ok(Self { engines, generator: RefCell::new(Generator::load()?), scale })
    }

    /// Each engine in its turn.
    fn engines_in_turns(&self) -> impl Iterator<Item = &Engine> {
        self.engines.iter().cycle()
    }

    /// Measures `hot` cases and those from tenants picked at random in turns, each against its baseline.
    fn run(&self, group: &str, effort: Effort, hot: &[Case], picked: &[Case]) -> Result<Vec<Figure>> {
        let repeat = effort.repeats(REPEATS);
        let mut trials: Vec<Trial<'_>> = Vec::new();
        for case in hot {
            let idle = move || self.generator.borrow().run("empty", &case.frame, repeat);
            trials.push(Box::new(move || nanoseconds_each(repeat, idle)));
            let mut engines = self.engines_in_turns();
            trials.push(Box::new(move || {
                let engine = engines.next().context("an engine")?;
                let all = || Ok(engine.run_repeatedly(case.side, &case.frame, repeat)?);
                checked(engine, case, repeat, || nanoseconds_each(repeat, all))
            }));
        }
        for case in picked {
            let (empty, mut engines) = (self.generator.borrow().empty()?, self.engines_in_turns());
            let send =
                move |next: &_| self.generator.borrow_mut().send(&case.frame, self.scale, next, repeat);
            trials.push(Box::new(move || nanoseconds_each(repeat, || send(&empty))));
            trials.push(Box::new(move || {
                let engine = engines.next().context("an engine")?;
                let program = engine.program_fd(case.side)?;
                checked(engine, case, repeat, || nanoseconds_each(repeat, || send(program)))
            }));
        }
        let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
        drop(trials);
        let kinds = std::iter::repeat_n("one tenant", hot.len()).chain(std::iter::repeat("random tenants"));
        let figures =
            hot.iter().chain(picked).zip(values.chunks_exact(2)).zip(kinds).map(|((case, pair), kind)| {
                let (baseline, all) = (&pair[0], &pair[1]);
                let name = format!("packet/{group}/{kind}/{}", case.name);
                let mut figure = Figure::less(name, "ns over empty", Spread::of_differences(all, baseline))
                    .beside("empty program", Spread::of(baseline));
                figure.aim = case.aim;
                figure
            });
        Ok(figures.collect())
    }
}

/// Makes sure that all packets that `work` sends end as they must.
fn checked(engine: &Engine, case: &Case, sent: u32, work: impl FnOnce() -> Result<f64>) -> Result<f64> {
    let before = ends(engine);
    let value = work()?;
    let after = ends(engine);
    let moved = [after[0] - before[0], after[1] - before[1], after[2] - before[2]];
    let all = u64::from(sent);
    let wanted = match case.end {
        End::Passed => [all, 0, 0],
        End::Dropped => [0, all, 0],
        End::Nobodys => [0, 0, all],
    };
    // The first round of a cap's burst passes.
    ensure!(
        moved == wanted || case.end == End::Dropped && moved[0] < all / 100 && moved[2] == 0,
        "{}: of {all} packets {} passed, {} were dropped, {} were nobody's",
        case.name,
        moved[0],
        moved[1],
        moved[2],
    );
    Ok(value)
}

/// Packets passed, dropped, and nobody's.
fn ends(engine: &Engine) -> [u64; 3] {
    let snapshot = engine.snapshot();
    let directions = || snapshot.tenants.iter().flat_map(|tenant| [&tenant.up, &tenant.down]);
    [
        directions().map(|direction| direction.passed.packets).sum(),
        directions().map(|direction| direction.dropped_total().packets).sum(),
        snapshot.interfaces.iter().map(|i| i.link_control.packets + i.unmatched.packets).sum(),
    ]
}

/// Nanoseconds of processor time that each of `repeat` runs takes.
fn nanoseconds_each(repeat: u32, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    Ok(processor_time(work)?.as_nanos() as f64 / f64::from(repeat))
}

/// What single steps cost, in programs that do nothing else.
fn primitives(effort: Effort) -> Result<Vec<Figure>> {
    const STEPS: [(&str, &str); 5] = [
        ("clock_jiffies", "jiffies, the clock of the caps"),
        ("clock_coarse", "coarse clock"),
        ("clock_nanoseconds", "nanosecond clock"),
        ("add_plain", "look up a word, add"),
        ("add_by_swap", "look up a word, add by compare-and-swap"),
    ];
    let (generator, frame) = (Generator::load()?, tcp(4, 64, 443));
    let repeat = effort.repeats(REPEATS * 10);
    let names = std::iter::once("empty").chain(STEPS.map(|(program, _)| program));
    let mut trials: Vec<Trial<'_>> = Vec::new();
    for name in names {
        let run = || generator.run(name, &frame, repeat);
        trials.push(Box::new(move || nanoseconds_each(repeat, run)));
    }
    let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
    let figures = STEPS.iter().zip(&values[1..]).map(|((_, name), step)| {
        Figure::less(
            format!("packet/single steps/{name}"),
            "ns over empty",
            Spread::of_differences(step, &values[0]),
        )
        .beside("empty program", Spread::of(&values[0]))
    });
    Ok(figures.collect())
}
