//! Packets of every shape that the rules speak of, honest and otherwise, aimed at one policy.

use std::net::IpAddr;

use fairway_tests::frames::{self, Packet as Shape, number};
use fastrand::Rng;
use gateway::config::{Config, Side};

use crate::BATCH;
use crate::addresses::Addresses;
use crate::mutate::mutate;
use crate::world::{DRAIN_NS, Packet};

/// Ports with rules of their own, those next to them, and those of control protocols.
const PORTS: [u16; 18] = [0, 22, 24, 25, 26, 53, 67, 68, 80, 443, 464, 465, 546, 547, 587, 588, 2525, 65_535];

/// Protocols besides TCP and UDP: ICMP, IGMP, tunnels, ESP, AH, no next header, SCTP, and what is
/// an extension header in IPv6.
const PROTOCOLS: [u8; 17] = [0, 1, 2, 4, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 135, 140, 253];

const EXTENSIONS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

const TAGS: [u16; 3] = [number::VLAN, number::SERVICE_VLAN, 0x9100];

/// Not IP: link control and its neighbours, and encapsulations.
const ETHER_TYPES: [u16; 16] = [
    0x0000, 0x0026, 0x05dc, 0x05ff, 0x0600, 0x0806, 0x0842, 0x8035, 0x8808, 0x8809, 0x8847, 0x8864, 0x888e,
    0x88cc, 0x8902, 0x9200,
];

/// Makes packets without end, the same ones for the same seed.
pub(crate) struct Generator {
    rng: Rng,
    addresses: [Addresses; 2],
    ports: Vec<u16>,
    vids: Vec<u16>,
    /// To be mutated.
    recent: Vec<Vec<u8>>,
}

impl Generator {
    pub(crate) fn new(config: &Config, seed: u64) -> Self {
        let closed = config.closed_ports.iter().flat_map(|closed| &closed.ports);
        let edges = closed.flat_map(|(first, last)| [first - 1, *first, *last, last + 1]);
        let vlans = config.tenants.iter().filter_map(|tenant| tenant.vlan);
        Self {
            rng: Rng::with_seed(seed),
            addresses: Addresses::of(config),
            ports: PORTS.into_iter().chain(edges).collect(),
            vids: vlans
                .flat_map(|vlan| [Some(vlan.outer), vlan.inner])
                .flatten()
                .chain([0, 1, 4095])
                .collect(),
            recent: vec![vec![0; 60]; 64],
        }
    }

    /// Batch number `number` of those that begin at `start_ns`.
    pub(crate) fn batch(&mut self, start_ns: u64, number: u64) -> Vec<Packet> {
        // No batch lasts longer than this, with the gaps below.
        let mut at_ns = start_ns + number * 2 * DRAIN_NS;
        (0..BATCH)
            .map(|_| {
                // Mostly faster than the caps, at times a pause.
                at_ns += if self.rng.u8(..) == 0 {
                    self.rng.u64(..3_000_000_000)
                } else {
                    self.rng.u64(..200_000)
                };
                let side = if self.rng.bool() { Side::Tenant } else { Side::Uplink };
                Packet { side, at_ns, frame: self.frame(side) }
            })
            .collect()
    }

    fn frame(&mut self, side: Side) -> Vec<u8> {
        let slot = self.rng.usize(..self.recent.len());
        if self.rng.u8(..100) < 40 {
            let mut frame = self.recent[slot].clone();
            mutate(&mut self.rng, &mut frame, &self.recent[(slot + 1) % 64]);
            return frame;
        }
        let frame = if self.rng.u8(..100) < 4 { self.control() } else { self.packet(side) };
        self.recent[slot].clone_from(&frame);
        frame
    }

    /// Neither IPv4 nor IPv6, or so it says.
    fn control(&mut self) -> Vec<u8> {
        let tags = self.tags();
        let kind = self.pick(&ETHER_TYPES);
        frames::ethernet(&tags, kind, &vec![self.rng.u8(..); self.rng.usize(..64)])
    }

    fn packet(&mut self, side: Side) -> Vec<u8> {
        let addresses = &self.addresses[self.rng.usize(..2)];
        let (near, far) = (addresses.near(&mut self.rng), addresses.far(&mut self.rng));
        let (source, destination) = match side {
            Side::Tenant => (near, far),
            Side::Uplink => (far, near),
        };
        let (protocol, payload) = self.payload();
        let mut shape = frames::between(source, destination, protocol, payload);
        for (tag, tci) in self.tags() {
            shape = shape.tag(tag, tci);
        }
        shape = match source {
            IpAddr::V4(_) => self.v4(shape),
            IpAddr::V6(_) => self.v6(shape),
        };
        match self.rng.u8(..100) {
            0..6 => shape = shape.lie_about_length(self.rng.i32(-48..48)),
            6..8 => shape = shape.lie_about_length(self.rng.i32(-2_000..2_000)),
            8..10 => shape = shape.version(self.rng.u8(..16)),
            10..40 => shape = shape.hops(255),
            _ => {}
        }
        shape.frame()
    }

    fn v4(&mut self, mut shape: Shape) -> Shape {
        if self.chance(15) {
            let words = self.rng.usize(1..=10);
            shape = shape.options(&vec![self.rng.u8(..); words * 4]);
        }
        if self.chance(20) { self.fragment(shape) } else { shape }
    }

    fn v6(&mut self, mut shape: Shape) -> Shape {
        if !self.chance(45) {
            return shape;
        }
        // Chains up to and beyond what is looked through.
        let most = if self.chance(20) { 11 } else { 3 };
        for _ in 0..self.rng.u8(1..=most) {
            shape = if self.chance(30) { self.fragment(shape) } else { self.extension(shape) };
        }
        shape
    }

    fn extension(&mut self, shape: Shape) -> Shape {
        let kind = self.pick(&EXTENSIONS);
        // The units that the second byte counts: the longest options at times, for frames of several buffers.
        let length = if self.chance(2) { self.rng.u8(..) } else { self.rng.u8(..3) };
        let bytes = match kind {
            number::AUTHENTICATION => (usize::from(length) + 2) * 4,
            number::FRAGMENT => 8,
            _ => (usize::from(length) + 1) * 8,
        };
        let mut header = vec![0; bytes];
        // Now and then it lies.
        header[1] = if self.chance(5) { self.rng.u8(..) } else { length };
        shape.extension(kind, &header)
    }

    fn fragment(&mut self, shape: Shape) -> Shape {
        let offset_units = match self.rng.u8(..4) {
            0 | 1 => 0,
            2 => self.rng.u16(..5),
            _ => self.rng.u16(..8_192),
        };
        shape.fragment(offset_units, self.rng.bool())
    }

    fn payload(&mut self) -> (u8, Vec<u8>) {
        let data = match self.rng.u8(..100) {
            0..70 => self.rng.usize(..32),
            70..98 => self.rng.usize(..1_400),
            _ => self.rng.usize(..8_000),
        };
        let data = vec![0x19; data];
        let (source, destination) = (self.port(), self.port());
        let (protocol, mut payload) = match self.rng.u8(..100) {
            0..55 => (number::TCP, frames::tcp(source, destination, &data)),
            55..75 => (number::UDP, frames::udp(source, destination, &data)),
            // From echoes over neighbour discovery to reports.
            75..90 => (number::ICMPV6, [&[self.rng.u8(126..146)], &data[..]].concat()),
            _ => (self.pick(&PROTOCOLS), data),
        };
        if protocol == number::TCP && self.chance(12) {
            payload[12] = self.rng.u8(..);
        }
        if self.chance(10) {
            payload.truncate(self.rng.usize(..24));
        }
        (protocol, payload)
    }

    fn port(&mut self) -> u16 {
        if self.chance(25) { self.rng.u16(..) } else { self.ports[self.rng.usize(..self.ports.len())] }
    }

    fn tags(&mut self) -> Vec<(u16, u16)> {
        let count = match self.rng.u8(..100) {
            0..50 => 0,
            50..75 => 1,
            75..95 => 2,
            _ => 3,
        };
        (0..count)
            .map(|_| {
                let vid = if self.chance(10) {
                    self.rng.u16(..4096)
                } else {
                    self.vids[self.rng.usize(..self.vids.len())]
                };
                (self.pick(&TAGS), self.rng.u16(..16) << 12 | vid)
            })
            .collect()
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(..from.len())]
    }
}
