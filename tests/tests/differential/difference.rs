//! A packet that the programs and the model judge differently.

use std::fmt;

use fairway_tests::model::Arrival;
use fairway_tests::outcome::{Outcome, take_queue_drops};
use gateway::dataplane::Snapshot;
use gateway_ebpf::DropReason;

use crate::world::Packet;

/// Which packet, where it came from, and both answers.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) policy: String,
    pub(crate) seed: u64,
    pub(crate) batch: u64,
    /// From 1, within the batch.
    pub(crate) number: usize,
    pub(crate) packet: Packet,
    pub(crate) model: String,
    pub(crate) programs: String,
}

impl Difference {
    /// Where the packet came from.
    pub(crate) fn of(self, seed: u64, batch: u64) -> Box<Self> {
        Box::new(Self { seed, batch, ..self })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, seed, batch, number, packet, model, programs } = self;
        let Packet { side, at_ns, frame } = packet;
        writeln!(f, "policy {policy:?}, seed {seed}, batch {batch}, packet {number}:")?;
        writeln!(f, "  {side:?} side at {at_ns} ns, {} bytes", frame.len())?;
        writeln!(f, "  model:    {model}\n  programs: {programs}")?;
        frame.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the programs counted a packet as: the only outcome that moves the counters so.
pub(crate) fn counted(before: &Snapshot, after: &Snapshot, packet: &Arrival<'_>) -> Option<Outcome<usize>> {
    let tenants = 0..before.tenants.len();
    let reasons = DropReason::ALL.iter().copied();
    let of_tenants = tenants.flat_map(|tenant| {
        let dropped = reasons.clone().map(move |reason| Outcome::Dropped(tenant, reason));
        dropped.chain([Outcome::Passed(tenant)])
    });
    let of_nobody = [Outcome::LinkControl, Outcome::Unmatched, Outcome::UnknownSourcePassed];
    let refused = reasons.clone().map(Outcome::Refused);
    of_tenants.chain(of_nobody).chain(refused).find(|outcome| {
        let mut moved = before.clone();
        take_queue_drops(&mut moved, after);
        outcome.count(&mut moved, packet.side, packet.bytes());
        moved == *after
    })
}
