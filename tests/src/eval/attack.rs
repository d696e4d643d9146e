//! Scanners: a grid of shapes, rates and shares of hosts that answer.

use std::net::Ipv4Addr;

use anyhow::Result;
use fastrand::Rng;
use serde::Serialize;

use crate::wire::{Answer, End, Over, Peer};
use crate::world::{Fate, SECOND_NS, Verdict, World};

/// What a scanner looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// Telnet on every host.
    Sensitive,
    /// HTTPS on every host.
    Horizontal,
    /// All ports of one host.
    Vertical,
    /// Many ports of many hosts.
    Block,
    /// SNMP on every host.
    Udp,
    /// Echo requests to every host.
    Ping,
    /// FIN segments to many hosts and ports.
    Stealth,
}

impl Shape {
    pub(crate) const ALL: [Self; 7] = [
        Self::Sensitive,
        Self::Horizontal,
        Self::Vertical,
        Self::Block,
        Self::Udp,
        Self::Ping,
        Self::Stealth,
    ];

    fn over(self) -> Over {
        match self {
            Self::Sensitive | Self::Horizontal | Self::Vertical | Self::Block => Over::Tcp,
            Self::Udp => Over::Udp,
            Self::Ping => Over::Ping,
            Self::Stealth => Over::Fin,
        }
    }

    fn target(self, n: u32, rng: &mut Rng) -> Peer {
        let host = |number: u32| Ipv4Addr::from_bits(Ipv4Addr::new(20, 0, 0, 0).to_bits() + number);
        let any = rng.u32(0..1 << 28);
        match self {
            Self::Sensitive => Peer { address: host(any), port: 23 },
            Self::Horizontal => Peer { address: host(any), port: 443 },
            Self::Vertical => Peer { address: host(1), port: (n % 65_535) as u16 + 1 },
            Self::Block | Self::Stealth => Peer { address: host(any), port: rng.u16(1..) },
            Self::Udp => Peer { address: host(any), port: 161 },
            Self::Ping => Peer { address: host(any), port: 0 },
        }
    }
}

/// One cell of the grid.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) shape: Shape,
    /// New targets a second that the scanner tries.
    pub(crate) per_second: f64,
    /// Share of targets that answer, in percent.
    pub(crate) answered_percent: u8,
    /// Whether the scanner keeps its kernel from resetting what answers.
    pub(crate) silent: bool,
}

/// What came of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) verdict: Option<Verdict>,
    /// Targets reached before the verdict, or before the run was given up.
    pub(crate) reached: u32,
    pub(crate) took_ns: u64,
    /// From the verdict to the first packet dropped after it; none if none was within the minute after.
    pub(crate) to_drop_ns: Option<u64>,
}

/// A run is given up after this many targets...
const MOST_REACHED: u32 = 1_000;
/// ...or this long.
const LONGEST_NS: u64 = 4 * 3_600 * SECOND_NS;
/// Round trip to a target.
const ROUND_TRIP_NS: u64 = 80_000_000;
/// From the gateway to the scanner and back.
const RESET_NS: u64 = 1_000_000;

/// Scans from a fresh source until it is caught.
pub(crate) fn run(world: &mut World, cell: Cell, rng: &mut Rng) -> Result<Run> {
    let source = world.fresh_source();
    let (start_ns, over) = (world.now_ns(), cell.shape.over());
    let gap_ns = 1e9 / cell.per_second;
    let mut reached = 0;
    for n in 0.. {
        // A scanner sends evenly, but for its host's own disturbances.
        let at_ns = start_ns + (f64::from(n) * gap_ns + rng.f64() * gap_ns) as u64;
        if at_ns > start_ns + LONGEST_NS || reached >= MOST_REACHED {
            break;
        }
        let mut verdict = world.advance(at_ns)?;
        if verdict.is_none() {
            let peer = cell.shape.target(n, rng);
            let fate = world.send(over, source, peer)?;
            verdict = world.verdict();
            if fate == Fate::Passed {
                reached += 1;
                answer(world, cell, over, source, peer, rng);
            }
        }
        if verdict.is_some() {
            let took_ns = world.now_ns() - start_ns;
            let to_drop_ns = first_drop(world, cell, source, rng)?;
            return Ok(Run { verdict, reached, took_ns, to_drop_ns });
        }
    }
    Ok(Run { verdict: None, reached, took_ns: world.now_ns() - start_ns, to_drop_ns: None })
}

fn answer(world: &mut World, cell: Cell, over: Over, source: Ipv4Addr, peer: Peer, rng: &mut Rng) {
    if rng.u8(0..100) < cell.answered_percent {
        world.answer_after(ROUND_TRIP_NS, over, source, peer, Answer::Accept);
        if over == Over::Tcp && !cell.silent {
            world.end_after(ROUND_TRIP_NS + RESET_NS, source, peer, End::Reset);
        }
    } else if matches!(over, Over::Tcp) && rng.u8(0..100) < 20 {
        // Some closed ports say so.
        world.answer_after(ROUND_TRIP_NS, over, source, peer, Answer::Reject);
    }
}

/// How long it takes until the gateway drops a packet of a scanner that goes on as fast as it can: one
/// packet a millisecond.
fn first_drop(world: &mut World, cell: Cell, source: Ipv4Addr, rng: &mut Rng) -> Result<Option<u64>> {
    let from_ns = world.now_ns();
    for n in 0..60_000 {
        world.advance(from_ns + u64::from(n) * 1_000_000)?;
        let peer = cell.shape.target(100_000 + n, rng);
        if world.send(cell.shape.over(), source, peer)? == Fate::Dropped {
            return Ok(Some(world.now_ns() - from_ns));
        }
    }
    Ok(None)
}
