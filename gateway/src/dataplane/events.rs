//! What the programs report: read from their ring buffer, told whose it is.
//!
//! The ring is pinned with the tables. What was reported while no controller ran is read by the next one;
//! what did not fit is lost, and counted. Slots are given their names while they have them: before a
//! reload frees a slot, and before larger tables take the place of these, the ring is emptied.

use gateway_ebpf::abi::{self, EVENT_RING_BYTES};
use gateway_ebpf::lookup::Slot;
use gateway_ebpf::{Direction, DropReason};
use jiff::Timestamp;

use super::engine::Engine;

/// Events that one call reads at most: a ring full of them. The programs may report without end.
const AT_ONCE: usize = EVENT_RING_BYTES as usize / size_of::<abi::Event>();

/// Something that the programs found worth a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Id of the tenant that it belongs to; none: nobody's.
    pub tenant: Option<String>,
    /// Which way the packet travelled.
    pub direction: Direction,
    /// What.
    pub kind: EventKind,
}

/// What an event records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A dropped packet: one of many.
    Drop(DropReason, PacketSample),
    /// A contact of a source whose late contacts were not answered: one of many.
    Suspect(PacketSample),
}

/// The beginning of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketSample {
    /// Index of the interface that received it.
    pub ifindex: u32,
    /// Length of the Ethernet frame without FCS.
    pub frame_bytes: u32,
    /// Its first bytes.
    pub head: Vec<u8>,
}

/// Events that never arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounters {
    /// There was no room for them: nobody read the ring, or not fast enough.
    pub lost: u64,
    /// They were beyond the allowance of their tenant.
    pub suppressed: u64,
}

impl Engine {
    /// What the programs reported since the last call, in the order of their reports.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.read_events();
        std::mem::take(&mut self.events)
    }

    /// How many events never arrived.
    pub fn event_counters(&self) -> EventCounters {
        self.tables.event_counters()
    }

    /// Empties the ring, as long as slots mean what they meant when it was filled.
    pub(super) fn read_events(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(record) = self.tables.events.next() else { return };
            let event = bytemuck::try_pod_read_unaligned::<abi::Event>(&record).ok();
            // The record goes back to the kernel with this.
            drop(record);
            self.events.extend(event.and_then(|event| self.understand(&event)));
        }
    }

    /// None for an event that a newer release reported, of a kind that this one does not know.
    fn understand(&self, event: &abi::Event) -> Option<Event> {
        let reason = || DropReason::ALL.iter().copied().find(|reason| *reason as u8 == event.reason);
        let kind = match event.kind {
            abi::Event::DROP => EventKind::Drop(reason()?, packet(event)),
            abi::Event::SUSPECT => EventKind::Suspect(packet(event)),
            _ => return None,
        };
        Some(Event {
            at: self.tables.boot_clock.instant(event.time_ns),
            tenant: event
                .slot_plus_one
                .checked_sub(1)
                .and_then(|slot| self.tables.tenants.slot_name(Slot(slot))),
            direction: *Direction::ALL.get(usize::from(event.direction))?,
            kind,
        })
    }
}

fn packet(event: &abi::Event) -> PacketSample {
    let head = event.tail.get(..event.tail_bytes as usize).unwrap_or(&event.tail);
    PacketSample { ifindex: event.ifindex, frame_bytes: event.frame_bytes, head: head.to_vec() }
}
