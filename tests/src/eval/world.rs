//! A gateway on the virtual clock, and hosts that answer it: the loop that makes an evaluation closed.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use fairway_tests::bench;
use fairway_tests::bench::in_force;
use gateway::config::{OffenceKind, Side};
use gateway::dataplane::{Engine, Outcome, ProgramClock};
use gateway::detect::{Look, Offence, Second};

use crate::wire::{Answer, End, Over, Peer, Wire};

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// The tenant whose servers are tried: one source address for each run.
const TENANT: &str = r#"
[smtp]
default = "allow"
[fair_use]
ceiling = "10 Gbit/s"
[[tenant]]
id = "acme"
prefixes = ["10.0.0.0/8"]
contact = "admin@acme.example"
cap = { up = "10 Gbit/s", down = "10 Gbit/s" }
"#;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Passed,
    Dropped,
}

/// A verdict on the source under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: OffenceKind,
    pub(crate) at_ns: u64,
}

fn first(offences: &[Offence]) -> Option<Verdict> {
    let first = offences.first()?;
    Some(Verdict { kind: first.kind, at_ns: u64::try_from(first.at.as_nanosecond()).unwrap_or(0) })
}

/// What is to come of a contact.
#[derive(Clone, Copy, Debug)]
enum Event {
    Answer(Over, Answer),
    End(End),
}

/// An event: when, in which order, which source and peer, and what.
struct Due {
    at_ns: u64,
    order: u64,
    source: Ipv4Addr,
    peer: Peer,
    event: Event,
}

impl Due {
    fn key(&self) -> (u64, u64) {
        (self.at_ns, self.order)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The programs, the time, and what is on its way.
pub(crate) struct World {
    engine: Engine,
    wire: Wire,
    now_ns: u64,
    second: Second,
    due: BinaryHeap<Reverse<Due>>,
    order: u64,
    next_source: u32,
}

impl World {
    /// Fresh tables under the default thresholds.
    pub(crate) fn new() -> Result<Self> {
        let config = bench::config(TENANT);
        let mut engine = Engine::detached(&in_force(&config), ProgramClock::Virtual)?;
        engine.register(&config.interfaces[0], 1)?;
        Ok(Self {
            engine,
            wire: Wire::new(),
            now_ns: 1_000 * SECOND_NS,
            second: Second::default(),
            due: BinaryHeap::new(),
            order: 0,
            next_source: Ipv4Addr::new(10, 0, 0, 1).to_bits(),
        })
    }

    /// Goes on under the default thresholds and `more`. To load the programs anew would take longer than
    /// most runs do.
    pub(crate) fn configure(&mut self, more: &str) -> Result<()> {
        self.engine.apply(&in_force(&bench::config(&format!("{TENANT}\n{more}"))))?;
        Ok(())
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// An address that was not used before. What earlier sources left is gone: the clock moves on by more than
    /// the hour that contacts and measures last, so that their places are free. Not by far more, or the
    /// programs' allowances would expire before the last of thousands of runs.
    pub(crate) fn fresh_source(&mut self) -> Ipv4Addr {
        self.due.clear();
        self.now_ns += 2 * 3_600 * SECOND_NS;
        // What is still to be said of an earlier source is not this one's.
        drop(self.engine.look([self.now_ns]));
        self.next_source += 1;
        Ipv4Addr::from_bits(self.next_source)
    }

    /// Moves on to `at_ns`; what is due happens on the way, and every second the controller looks.
    /// Returns the first verdict on the way, if there is one.
    pub(crate) fn advance(&mut self, at_ns: u64) -> Result<Option<Verdict>> {
        let mut verdict = None;
        while self.due.peek().is_some_and(|Reverse(due)| due.at_ns <= at_ns)
            && let Some(Reverse(due)) = self.due.pop()
        {
            self.look(due.at_ns, &mut verdict);
            self.engine.set_clock(due.at_ns);
            match due.event {
                Event::Answer(over, answer) => {
                    self.engine.run(Side::Uplink, self.wire.answer(over, due.source, due.peer, answer))?;
                }
                Event::End(end) => {
                    self.engine.run(Side::Tenant, self.wire.end(due.source, due.peer, end))?;
                }
            }
        }
        self.look(at_ns, &mut verdict);
        Ok(verdict)
    }

    fn look(&mut self, at_ns: u64, verdict: &mut Option<Verdict>) {
        self.now_ns = self.now_ns.max(at_ns);
        let looks = self.second.due(Duration::from_nanos(self.now_ns));
        if looks.contains(&Look::Offences) {
            let offences = self.engine.look([self.now_ns]);
            *verdict = verdict.or(first(&offences));
        }
    }

    /// A verdict that came since the last time.
    pub(crate) fn verdict(&mut self) -> Option<Verdict> {
        first(&self.engine.take_offences())
    }

    /// Sends the first packet of a contact now.
    pub(crate) fn send(&mut self, over: Over, source: Ipv4Addr, peer: Peer) -> Result<Fate> {
        self.engine.set_clock(self.now_ns);
        self.engine.run(Side::Tenant, self.wire.contact(over, source, peer))?;
        Ok(match self.engine.last_judgement().outcome {
            Outcome::Dropped(_) => Fate::Dropped,
            _ => Fate::Passed,
        })
    }

    /// An answer that will arrive after `delay_ns`.
    pub(crate) fn answer_after(
        &mut self,
        delay_ns: u64,
        over: Over,
        source: Ipv4Addr,
        peer: Peer,
        answer: Answer,
    ) {
        self.happen_after(delay_ns, source, peer, Event::Answer(over, answer));
    }

    /// The end of a connection, by the source, that will come after `delay_ns`.
    pub(crate) fn end_after(&mut self, delay_ns: u64, source: Ipv4Addr, peer: Peer, end: End) {
        self.happen_after(delay_ns, source, peer, Event::End(end));
    }

    fn happen_after(&mut self, delay_ns: u64, source: Ipv4Addr, peer: Peer, event: Event) {
        self.order += 1;
        self.due.push(Reverse(Due { at_ns: self.now_ns + delay_ns, order: self.order, source, peer, event }));
    }
}
