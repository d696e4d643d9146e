//! What Prometheus gets when every tenant is active: all series, and what the packets notice of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::programs::{ProgramFd, loaded_programs};
use fairway_tests::config::METRICS;
use fairway_tests::frames::{self, between, number};
use fairway_tests::namespace::Namespace;
use fairway_tests::topology::{Plan, Topology, UPLINK};
use gateway::config::Side;
use gateway::dataplane::pinned_programs;
use nix::net::if_::if_nametoindex;

use crate::figure::{Aim, Figure};
use crate::measure::{Effort, Spread, Trial, elapsed, in_turns, processor_time};
use crate::provider::Provider;
use crate::scale::LARGE;
use crate::traffic::Generator;

const ROUNDS: usize = 9;
const ROUNDS_UNDER_SCRAPES: usize = 15;
/// Enough for every one of 100,000 tenants to be picked, but once in five million times.
const ENOUGH_FOR_ALL: u32 = 2_700_000;
/// Packets that are sent before it is looked whether the scrape is over.
const BATCH: u32 = 20_000;
/// ACK alone: nothing that a detector looks at.
const ACK: u8 = 0x10;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let topology = Plan::default().build()?;
    let provider = Provider::start(&topology, LARGE)?;
    provider.settle();
    let router = &topology.router;
    let mut traffic = Traffic::towards(&topology, &provider)?;
    let idle = scrape(router)?.1;
    router.enter(|| traffic.reach_everybody())??;
    let before = provider.memory_mb("RssAnon")?;
    let mut text = String::new();
    let mut took = Vec::new();
    for _ in 0..effort.rounds(ROUNDS) {
        let (time, all) = scrape(router)?;
        took.push(time.as_secs_f64() * 1e3);
        text = all;
    }
    let after = provider.memory_mb("RssAnon")?;
    ensure_all_are_active(&text)?;
    let megabytes = |text: &str| Spread::of(&[text.len() as f64 / 1e6]);
    let mut figures = vec![
        Figure::less("scrape/100,000 active tenants", "ms", Spread::of(&took)).aim(Aim::AtMost(1_000.0)),
        Figure::less("scrape/100,000 active tenants, size", "MB", megabytes(&text))
            .beside("tenants that sent nothing", megabytes(&idle)),
        Figure::less("scrape/memory of the controller, after", "MB", Spread::of(&[after]))
            .beside("before", Spread::of(&[before])),
    ];
    figures.push(router.enter(|| packets(router, &mut traffic, effort))??);
    Ok(figures)
}

/// Every tenant has passed and dropped packets, both ways.
fn ensure_all_are_active(text: &str) -> Result<()> {
    for family in ["fairway_tenant_packets_total", "fairway_tenant_dropped_packets_total"] {
        let lines =
            text.lines().filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with('{')));
        let active = lines.filter(|line| !line.ends_with(" 0")).count();
        let wanted = 2 * LARGE.tenants as usize;
        ensure!(active == wanted, "{active} of {wanted} series of {family} have packets");
    }
    Ok(())
}

/// What a packet costs while somebody scrapes without a pause, and while nobody does.
fn packets(router: &Namespace, traffic: &mut Traffic, effort: Effort) -> Result<Figure> {
    let traffic = std::cell::RefCell::new(traffic);
    let send = || {
        let nanoseconds = processor_time(|| traffic.borrow_mut().pass(BATCH))?.as_nanos() as f64;
        anyhow::Ok(nanoseconds / f64::from(BATCH))
    };
    let mut trials: [Trial<'_>; 2] = [
        Box::new(|| average(std::iter::repeat_with(send).take(20))),
        Box::new(|| {
            let is_over = AtomicBool::new(false);
            thread::scope(|scope| {
                let scraper = scope.spawn(|| {
                    let scraped = scrape(router);
                    is_over.store(true, Relaxed);
                    scraped.map(drop)
                });
                let during = average(std::iter::repeat_with(send).take_while(|_| !is_over.load(Relaxed)));
                scraper.join().expect("no panic in it")?;
                during
            })
        }),
    ];
    let values = in_turns(effort.rounds(ROUNDS_UNDER_SCRAPES), &mut trials)?;
    Ok(Figure::less("scrape/a packet from a random tenant, meanwhile", "ns", Spread::of(&values[1]))
        .beside("nobody scrapes", Spread::of(&values[0])))
}

fn average(values: impl Iterator<Item = Result<f64>>) -> Result<f64> {
    let values = values.collect::<Result<Vec<_>>>()?;
    ensure!(!values.is_empty(), "the scrape was over before a packet was sent");
    Ok(values.iter().sum::<f64>() / values.len() as f64)
}

/// A scrape from its first byte to its last. Over a connection of our own: a program that fetches would
/// have its start in the figure.
fn scrape(router: &Namespace) -> Result<(Duration, String)> {
    router.enter(|| {
        elapsed(|| {
            let mut connection = TcpStream::connect(METRICS)?;
            connection.write_all(b"GET /metrics HTTP/1.0\r\nHost: router\r\n\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            let (head, body) = answer.split_once("\r\n\r\n").context("no end of the headers")?;
            ensure!(head.starts_with("HTTP/1.0 200"), "the endpoint answers: {head}");
            Ok(body.to_owned())
        })
    })?
}

/// Sends through the gateway's own programs, as if packets came in by its interfaces.
struct Traffic {
    generator: Generator,
    /// The programs of both sides, each with an interface.
    sides: [(Side, u32, ProgramFd); 2],
}

impl Traffic {
    fn towards(topology: &Topology, provider: &Provider<'_>) -> Result<Self> {
        let programs = pinned_programs(&provider.gateway.pin_directory())?;
        let side = |side, name: &str| {
            let ifindex = topology.router.enter(|| if_nametoindex(name))??;
            let id = *programs.get(&ifindex).with_context(|| format!("{name} has no program"))?;
            let mut loaded = loaded_programs().filter_map(Result::ok);
            let program = loaded.find(|program| program.id() == id).context("the program is gone")?;
            anyhow::Ok((side, ifindex, program.fd()?))
        };
        let sides = [side(Side::Tenant, &topology.tenants[0].router_interface)?, side(Side::Uplink, UPLINK)?];
        Ok(Self { generator: Generator::load()?, sides })
    }

    /// Has every tenant pass packets, and packets to port 25 dropped, both ways. To be called on the router.
    fn reach_everybody(&mut self) -> Result<()> {
        for side in 0..self.sides.len() {
            for port in [443, 25] {
                self.send(side, port, ENOUGH_FOR_ALL)?;
            }
        }
        Ok(())
    }

    /// Packets that pass, from tenants picked at random. To be called on the router.
    fn pass(&mut self, packets: u32) -> Result<()> {
        self.send(0, 443, packets)
    }

    fn send(&mut self, side: usize, port: u16, packets: u32) -> Result<()> {
        let mut segment = frames::tcp(40_000, port, &[0; 10]);
        segment[13] = ACK;
        let (tenant, other) = ([10, 0, 0, 1], [192, 0, 2, 1]);
        let (side, ifindex, program) = &self.sides[side];
        let (from, to) = if *side == Side::Tenant { (tenant, other) } else { (other, tenant) };
        let frame = between(from.into(), to.into(), number::TCP, segment).frame();
        self.generator.send_by((*side, *ifindex), &frame, LARGE, program, packets)
    }
}
