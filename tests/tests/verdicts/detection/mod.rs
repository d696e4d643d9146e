//! Detection on a virtual clock: who is found out by which packet, what is done about it, and who is not
//! (policy rules M4, S1, S2). Thresholds are written out, so that what is tried here does not hang on the
//! built-in ones.

mod contacts;
mod credit;
mod floods;
mod kernel_clock;
mod lasting;
mod measures;
mod probing;
mod shares;
mod sparing;
mod tables;
mod thresholds;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use fairway_tests::frames::{Packet, datagram, number, packet, segment, syn};
use gateway::config::{Config, Measure, OffenceKind, Side};
use gateway::dataplane::{Engine, Outcome, ProgramClock, Verdict};
use gateway::detect::Offence;
use gateway_ebpf::DropReason;

use crate::TENANTS;
use crate::bench::{Bench, START_NS, config};

/// An address of the tenant `acme`.
const ACME: &str = "203.0.113.1";
/// One of the same tenant that does nothing wrong.
const SIBLING: &str = "203.0.113.2";
/// One of another tenant.
const NESTED: &str = "198.18.0.1";
/// The walled garden.
const PORTAL: &str = "198.51.100.80";

const SECOND_NS: u64 = 1_000_000_000;

/// Control bits (RFC 9293, 3.1).
const RST_ACK: u8 = 0x14;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

/// Some detector, so that contacts are watched at all.
const WATCHING: &str = "[detect.listed_contact]\nmode = \"watch\"\n";

/// Found out by the fourth host or port that a NULL, FIN or XMAS segment goes to.
const QUICK: &str = "[detect.scan_stealth]\nmode = \"enforce\"\nports_per_5_minutes = 4\n";

/// The programs under some detectors, and the time that it is.
struct Scene {
    bench: Bench,
    now_ns: u64,
}

/// A policy with nothing in `[detect]` but this, and no cap in the way.
fn policy(detect: &str) -> Config {
    let garden = format!("[walled_garden]\nhosts = [\"{PORTAL}/32\"]\n");
    let fair_use = "[fair_use]\nceiling = \"1 Gbit/s\"\n";
    config(&format!("{fair_use}{garden}[detect]\nmode = \"off\"\n{detect}\n{TENANTS}"))
}

impl Scene {
    fn new(detect: &str) -> Self {
        Self { bench: Bench::of(policy(detect)), now_ns: START_NS }
    }

    fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
    }

    fn run(&mut self, side: Side, packet: &Packet) -> Option<DropReason> {
        self.bench.engine().set_clock(self.now_ns);
        let verdict = self.bench.engine().run(side, &packet.frame()).unwrap();
        let reason = match self.bench.engine().last_judgement().outcome {
            Outcome::Dropped(reason) => Some(reason),
            _ => None,
        };
        assert_eq!(verdict == Verdict::Pass, reason.is_none(), "{packet:?}");
        reason
    }

    /// What a packet from a tenant is dropped for; none: it passes.
    fn up(&mut self, packet: &Packet) -> Option<DropReason> {
        self.run(Side::Tenant, packet)
    }

    /// What a packet to a tenant is dropped for.
    fn down(&mut self, packet: &Packet) -> Option<DropReason> {
        self.run(Side::Uplink, packet)
    }

    /// Packets from a tenant, all of which pass.
    fn pass(&mut self, packets: impl IntoIterator<Item = Packet>) {
        for (number, packet) in packets.into_iter().enumerate() {
            assert_eq!(self.up(&packet), None, "packet {number}: {packet:?}");
        }
    }

    /// How many of these packets pass at this moment; the others must be throttled.
    fn admitted(&mut self, packets: impl IntoIterator<Item = Packet>) -> usize {
        let reasons: Vec<_> = packets.into_iter().map(|packet| self.up(&packet)).collect();
        assert!(reasons.iter().all(|reason| matches!(reason, None | Some(DropReason::Throttled))));
        reasons.iter().filter(|reason| reason.is_none()).count()
    }

    /// Offences since the last call, those of sources that went quiet included.
    fn offences(&mut self) -> Vec<Offence> {
        self.bench.engine().confirm(self.now_ns);
        self.bench.engine().take_offences()
    }

    fn kinds(&mut self) -> Vec<(OffenceKind, Measure)> {
        self.offences().iter().map(|offence| (offence.kind, offence.measure)).collect()
    }

    /// New contacts, and of these the answered ones.
    fn contacts(&mut self) -> (u64, u64) {
        let counters = self.bench.engine().detection_counters();
        (counters.attempted, counters.answered)
    }

    fn engine(&mut self) -> &mut Engine {
        self.bench.engine()
    }
}

/// The `n`th host somewhere on the Internet.
fn host(n: u32) -> String {
    Ipv4Addr::from_bits(0x0808_0000 + n).to_string()
}

/// A SYN to the `n`th host.
fn connect(n: u32, port: u16) -> Packet {
    syn(ACME, &host(n), 40_000, port)
}

/// Its SYN-ACK.
fn accept(n: u32, port: u16) -> Packet {
    segment(&host(n), ACME, (port, 40_000), SYN_ACK)
}

/// Its reset.
fn refuse(n: u32, port: u16) -> Packet {
    segment(&host(n), ACME, (port, 40_000), RST_ACK)
}

/// A datagram to the `n`th host.
fn send(n: u32, port: u16) -> Packet {
    datagram(ACME, &host(n), (40_000, port), 20)
}

/// One from it.
fn reply(n: u32, port: u16) -> Packet {
    datagram(&host(n), ACME, (port, 40_000), 20)
}

/// An ICMP message: 8 asks for an echo, 0 is one.
fn icmp(source: &str, destination: &str, message: u8) -> Packet {
    packet(source, destination, 1, vec![message, 0, 0, 0, 0, 1, 0, 1])
}

/// The same of ICMPv6: 128 and 129.
fn icmp6(source: &str, destination: &str, message: u8) -> Packet {
    packet(source, destination, number::ICMPV6, vec![message, 0, 0, 0, 0, 1, 0, 1])
}

/// The `n`th segment of a stealth scan, of NULL, FIN, XMAS and SYN+FIN in turn.
fn probe(source: &str, n: u32) -> Packet {
    segment(source, &host(n), (40_000, 80), [0x00, 0x01, 0x29, 0x03][n as usize % 4])
}

/// Counters of the only offence.
fn only(offences: &[Offence]) -> &BTreeMap<String, u64> {
    assert_eq!(offences.len(), 1, "{offences:?}");
    &offences[0].counters
}
