//! Ordinary programs that look like scanners from afar, in a closed loop: what is dropped is sent again,
//! and what is not sent gets no answer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;

use anyhow::Result;
use fastrand::Rng;
use serde::Serialize;

use crate::wire::{Answer, End, Over, Peer};
use crate::world::{Fate, SECOND_NS, World};

/// Which hosts a stream of contacts goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hosts {
    /// A new one each time.
    New,
    /// These many, over and over.
    Pool(u32),
}

/// Which ports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ports {
    /// One of these.
    Of(&'static [u16]),
    /// Any above 1,023: peers choose theirs.
    Any,
}

/// Contacts of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) over: Over,
    pub(crate) per_second: f64,
    pub(crate) answered_percent: u8,
    pub(crate) rejected_percent: u8,
    /// Share of its connections that it ends without having sent anything, in percent.
    pub(crate) unused_percent: u8,
    pub(crate) hosts: Hosts,
    pub(crate) ports: Ports,
}

/// A program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) streams: &'static [Stream],
    /// Settings that an operator has made for it; a source that needs none has none.
    pub(crate) config: &'static str,
}

const WEB: Ports = Ports::Of(&[443, 443, 443, 80]);

const fn stream(over: Over, per_second: f64, answered_percent: u8, hosts: Hosts, ports: Ports) -> Stream {
    Stream { over, per_second, answered_percent, rejected_percent: 3, unused_percent: 2, hosts, ports }
}

impl Stream {
    const fn with_unused(self, unused_percent: u8) -> Self {
        Self { unused_percent, ..self }
    }
}

/// A relay has an approved exemption and may send in bulk.
const RELAY: &str = r#"
[[detect.allow]]
sources = ["10.0.0.0/8"]
kinds = ["bulk_mail", "smtp_rate"]
reason = "mail"
ticket = "SMTP-4711"
approved_by = "j.doe"
expires = 2027-03-31
"#;

/// The programs, at the rates that they are judged by.
pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "crawler, 50 hosts/s",
        streams: &[stream(Over::Tcp, 50.0, 92, Hosts::New, WEB)],
        config: "",
    },
    Program {
        name: "crawler, 500 hosts/s",
        streams: &[stream(Over::Tcp, 500.0, 92, Hosts::New, WEB)],
        config: "",
    },
    Program {
        name: "crawler, 2,000 hosts/s",
        streams: &[stream(Over::Tcp, 2_000.0, 92, Hosts::New, WEB)],
        config: "",
    },
    Program {
        name: "resolver, 500 queries/s",
        streams: &[
            stream(Over::Udp, 500.0, 95, Hosts::Pool(20_000), Ports::Of(&[53])),
            stream(Over::Tcp, 5.0, 90, Hosts::Pool(20_000), Ports::Of(&[53])),
        ],
        config: "",
    },
    Program {
        name: "mail relay, 5 hosts/s",
        streams: &[
            stream(Over::Tcp, 5.0, 85, Hosts::Pool(30_000), Ports::Of(&[25])),
            stream(Over::Udp, 10.0, 97, Hosts::Pool(4), Ports::Of(&[53])),
        ],
        config: RELAY,
    },
    Program {
        name: "P2P node, 40 % answer",
        streams: &[
            // It meets itself, or has found enough peers meanwhile.
            stream(Over::Tcp, 5.0, 40, Hosts::New, Ports::Any).with_unused(20),
            stream(Over::Udp, 20.0, 50, Hosts::New, Ports::Any),
        ],
        config: "",
    },
    Program {
        name: "load test, 200 connections/s",
        streams: &[stream(Over::Tcp, 200.0, 99, Hosts::Pool(2), Ports::Of(&[80, 443]))],
        config: "",
    },
    Program {
        name: "monitoring, 1,000 hosts",
        streams: &[
            stream(Over::Ping, 15.0, 97, Hosts::Pool(1_000), Ports::Of(&[0])),
            // It only sees whether the port is open.
            stream(Over::Tcp, 15.0, 95, Hosts::Pool(1_000), Ports::Of(&[22, 80, 443])).with_unused(100),
        ],
        config: "",
    },
];

/// What came of one program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Hour {
    pub(crate) program: &'static str,
    pub(crate) simulated_s: u64,
    /// First packets of contacts.
    pub(crate) contacts: u64,
    /// Of these, dropped, and so delayed to their first repetition or later.
    pub(crate) delayed: u64,
    /// Kinds of the verdicts, which are all false.
    pub(crate) verdicts: Vec<&'static str>,
}

/// What is sent when: time, order, stream, peer's address and port, how often it was sent before.
type Sending = (u64, u64, usize, u32, u16, usize);

/// When a SYN is repeated (RFC 6298, 2.1 and 5.5).
const REPEATS_NS: [u64; 3] = [SECOND_NS, 2 * SECOND_NS, 4 * SECOND_NS];

/// Runs a program for a time from a fresh source.
pub(crate) fn run(
    world: &mut World,
    program: &Program,
    more: &str,
    duration_s: u64,
    rng: &mut Rng,
) -> Result<Hour> {
    world.configure(&format!("{}\n{more}", program.config))?;
    let source = world.fresh_source();
    let end_ns = world.now_ns() + duration_s * SECOND_NS;
    let mut hour = Hour {
        program: program.name,
        simulated_s: duration_s,
        contacts: 0,
        delayed: 0,
        verdicts: Vec::new(),
    };
    let mut queue: BinaryHeap<Reverse<Sending>> = BinaryHeap::new();
    let mut order = 0;
    for (index, stream) in program.streams.iter().enumerate() {
        queue.push(Reverse((next(world.now_ns(), stream, rng), order, index, 0, 0, 0)));
        order += 1;
    }
    while let Some(Reverse((at_ns, _, index, address, port, sent_before))) = queue.pop() {
        if at_ns >= end_ns {
            continue;
        }
        hour.verdicts.extend(world.advance(at_ns)?.map(|verdict| verdict.kind.label()));
        let stream = &program.streams[index];
        let peer = if sent_before == 0 {
            hour.contacts += 1;
            queue.push(Reverse((next(at_ns, stream, rng), order, index, 0, 0, 0)));
            order += 1;
            peer(stream, rng)
        } else {
            Peer { address: Ipv4Addr::from_bits(address), port }
        };
        let fate = world.send(stream.over, source, peer)?;
        hour.verdicts.extend(world.verdict().map(|verdict| verdict.kind.label()));
        let mut repeat = fate == Fate::Dropped;
        hour.delayed += u64::from(repeat && sent_before == 0);
        if fate == Fate::Passed {
            // Whether a peer answers is a property of the peer, not of the try.
            let dice = (hash(peer) % 100) as u8;
            // Round trips of 20 to 300 ms, most of them short.
            let round_trip_ns = 20_000_000 + (rng.f64().powi(3) * 280_000_000.0) as u64;
            if dice < stream.answered_percent {
                world.answer_after(round_trip_ns, stream.over, source, peer, Answer::Accept);
                if stream.over == Over::Tcp {
                    let end = if rng.u8(0..100) < stream.unused_percent { End::Unused } else { End::Used };
                    world.end_after(2 * round_trip_ns, source, peer, end);
                }
            } else if dice < stream.answered_percent + stream.rejected_percent && stream.over == Over::Tcp {
                world.answer_after(round_trip_ns, stream.over, source, peer, Answer::Reject);
            } else {
                repeat = stream.over == Over::Tcp;
            }
        }
        if repeat && let Some(delay_ns) = REPEATS_NS.get(sent_before) {
            let (address, port) = (peer.address.to_bits(), peer.port);
            queue.push(Reverse((at_ns + delay_ns, order, index, address, port, sent_before + 1)));
            order += 1;
        }
    }
    hour.verdicts.extend(world.advance(end_ns + 5 * SECOND_NS)?.map(|verdict| verdict.kind.label()));
    Ok(hour)
}

/// Contacts come as a Poisson process.
fn next(now_ns: u64, stream: &Stream, rng: &mut Rng) -> u64 {
    now_ns + (-(1.0 - rng.f64()).ln() / stream.per_second * 1e9) as u64
}

fn peer(stream: &Stream, rng: &mut Rng) -> Peer {
    let number = match stream.hosts {
        Hosts::New => rng.u32(0..1 << 28),
        Hosts::Pool(size) => rng.u32(0..size) * 257,
    };
    let port = match stream.ports {
        Ports::Of(ports) => ports[rng.usize(0..ports.len())],
        Ports::Any => rng.u16(1_024..),
    };
    Peer { address: Ipv4Addr::from_bits(Ipv4Addr::new(20, 0, 0, 0).to_bits() + number), port }
}

fn hash(peer: Peer) -> u64 {
    let word = u64::from(peer.address.to_bits()) << 16 | u64::from(peer.port);
    Rng::with_seed(word).u64(..)
}
