//! Counting packets as they are judged. A tenant's own counters are the programs'; here are the sums
//! over all packets, each counted once, and the verdicts one by one.

use std::collections::BTreeMap;

use gateway_ebpf::lookup::Slot;
use gateway_ebpf::{Direction, DropReason};

use super::capture::Packet;
use crate::config::Side;
use crate::dataplane::{Judgement, Outcome};

/// What became of a packet, all in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A tenant's, within its policy.
    Passed,
    /// Dropped, a tenant's or not.
    Dropped(DropReason),
    /// Of no tenant, and not dropped: no rule applies to it.
    Unmatched,
    /// Of a link type that is not Ethernet or IP.
    Unsupported,
}

/// One verdict on one packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) at_ns: Option<u64>,
    pub(super) tenant: Option<Slot>,
    pub(super) direction: Option<Direction>,
    pub(super) fate: Fate,
}

/// Packets so far: each is passed, dropped, unmatched or unsupported.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) packets: u64,
    pub(super) passed: u64,
    pub(super) dropped: BTreeMap<DropReason, u64>,
    pub(super) unmatched: u64,
    /// By link type.
    pub(super) unsupported: BTreeMap<u16, u64>,
    /// Packets of which a part was not captured.
    pub(super) truncated: u64,
    pub(super) first_ns: Option<u64>,
    pub(super) last_ns: Option<u64>,
    /// If they were asked for.
    pub(super) lines: Option<Vec<Line>>,
}

impl Tally {
    pub(super) fn new(per_packet: bool) -> Self {
        Self { lines: per_packet.then(Vec::new), ..Self::default() }
    }

    /// A packet was read.
    pub(super) fn arrived(&mut self, packet: &Packet<'_>) {
        self.packets += 1;
        let earlier = [self.first_ns, packet.at_ns].into_iter().flatten().min();
        (self.first_ns, self.last_ns) = (earlier, self.last_ns.max(packet.at_ns));
    }

    /// It cannot be made a frame.
    pub(super) fn unsupported(&mut self, packet: &Packet<'_>) {
        *self.unsupported.entry(packet.link_type).or_default() += 1;
        self.line(packet, None, None, Fate::Unsupported);
    }

    /// It is nobody's.
    pub(super) fn not_run(&mut self, packet: &Packet<'_>) {
        self.line(packet, None, None, Fate::Unmatched);
    }

    /// The program of one side judged it.
    pub(super) fn judged(&mut self, packet: &Packet<'_>, side: Side, judgement: Judgement) -> Fate {
        let direction = match side {
            Side::Tenant => Direction::Up,
            Side::Uplink => Direction::Down,
        };
        let fate = match judgement.outcome {
            Outcome::Passed => Fate::Passed,
            Outcome::Dropped(reason) => Fate::Dropped(reason),
            Outcome::LinkControl | Outcome::Unmatched | Outcome::UnknownSource => Fate::Unmatched,
        };
        self.line(packet, judgement.tenant, Some(direction), fate);
        fate
    }

    /// It has been judged for the last time.
    pub(super) fn end(&mut self, fate: Fate) {
        match fate {
            Fate::Passed => self.passed += 1,
            Fate::Dropped(reason) => *self.dropped.entry(reason).or_default() += 1,
            Fate::Unmatched => self.unmatched += 1,
            Fate::Unsupported => {}
        }
    }

    fn line(&mut self, packet: &Packet<'_>, tenant: Option<Slot>, direction: Option<Direction>, fate: Fate) {
        if let Some(lines) = &mut self.lines {
            lines.push(Line { number: packet.number, at_ns: packet.at_ns, tenant, direction, fate });
        }
    }
}
