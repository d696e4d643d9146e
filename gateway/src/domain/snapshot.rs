//! What a data plane has counted, at one moment.

use std::time::Duration;

use gateway_ebpf::DropReason;

use super::{Mode, Side};

/// Counters of every tenant and interface, read without stopping the programs: each figure is exact,
/// figures of different tenants may be some microseconds apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// One entry per configured tenant, in the config's order.
    pub tenants: Vec<TenantCounters>,
    /// One entry per configured interface, in the config's order.
    pub interfaces: Vec<InterfaceCounters>,
}

/// What everybody puts on the uplinks, up and down, in bytes since the tables were made: what leaves, and what
/// arrives, dropped here or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// One entry per configured tenant, in the config's order.
    pub tenants: Vec<[u64; 2]>,
    /// Packets that are no tenant's.
    pub others: [u64; 2],
}

impl Usage {
    /// What of interfaces' counters is no tenant's.
    #[must_use]
    pub fn of_others(interfaces: &[InterfaceCounters]) -> [u64; 2] {
        let mut bytes = [0, 0];
        for interface in interfaces {
            match interface.side {
                Side::Tenant => bytes[0] += interface.unknown_source_passed.bytes,
                Side::Uplink => {
                    let dropped: u64 = interface.dropped.iter().map(|(_, tally)| tally.bytes).sum();
                    bytes[1] += interface.unmatched.bytes + interface.link_control.bytes + dropped;
                }
            }
        }
        bytes
    }
}

impl From<&Snapshot> for Usage {
    fn from(snapshot: &Snapshot) -> Self {
        let used = |TenantCounters { up, down, .. }: &TenantCounters| {
            [up.passed.bytes, down.passed.bytes + down.dropped_total().bytes]
        };
        Self {
            tenants: snapshot.tenants.iter().map(used).collect(),
            others: Self::of_others(&snapshot.interfaces),
        }
    }
}

/// Packets and bytes (Ethernet frames without FCS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Wrapping, as the programs count.
impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantCounters {
    /// The tenant's id.
    pub id: String,
    /// From the tenant to the Internet.
    pub up: DirectionCounters,
    /// From the Internet to the tenant.
    pub down: DirectionCounters,
}

/// One direction of one tenant: packets in = passed + dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectionCounters {
    /// Let through.
    pub passed: Tally,
    /// Dropped, per reason that occurred, in the order of [`DropReason::ALL`].
    pub dropped: Vec<(DropReason, Tally)>,
    /// Those over the cap that a queue of `cap.algorithm = "fair"` dropped.
    pub queue_drops: QueueDrops,
}

/// Packets over the cap that one flow's queue dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDrops {
    /// As signals to their senders.
    pub signals: u64,
    /// Because the queue was full.
    pub full: u64,
}

/// Wrapping, as the programs count.
impl std::ops::AddAssign for QueueDrops {
    fn add_assign(&mut self, other: Self) {
        self.signals = self.signals.wrapping_add(other.signals);
        self.full = self.full.wrapping_add(other.full);
    }
}

/// Where a tenant's cap stands in one direction, as time at the cap's rate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How far it is ahead, all flows together.
    pub total: Duration,
    /// Backlog of each phantom queue that is not empty; none with plain buckets, or far below the cap.
    pub queues: Vec<Duration>,
}

/// Packets over the cap, by the state that they met. Plain buckets only know the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverCap {
    /// Dropped early, one for many, so that the sender slows down.
    pub signals: u64,
    /// The queue of their flow was full.
    pub queue_full: u64,
    /// The credit of all flows together was used up.
    pub credit_used: u64,
}

impl OverCap {
    /// Each state's label, and how many packets met it.
    #[must_use]
    pub const fn by_state(self) -> [(&'static str, u64); 3] {
        [("signal", self.signals), ("queue_full", self.queue_full), ("credit_used", self.credit_used)]
    }
}

impl DirectionCounters {
    /// Packets over the cap, by the state that they met.
    pub fn over_cap(&self) -> OverCap {
        let all = self.dropped.iter().find(|(reason, _)| *reason == DropReason::OverCap);
        let all = all.map_or(0, |(_, tally)| tally.packets);
        let QueueDrops { signals, full } = self.queue_drops;
        // A packet is counted by its queue just before it is counted as dropped.
        let credit_used = all.saturating_sub(signals.saturating_add(full));
        OverCap { signals, queue_full: full, credit_used }
    }

    /// Everything dropped, whatever the reason.
    pub fn dropped_total(&self) -> Tally {
        let mut total = Tally::default();
        self.dropped.iter().for_each(|(_, tally)| total += *tally);
        total
    }
}

/// One interface: packets that belong to no tenant, and those that were forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Kernel name.
    pub name: String,
    /// Side.
    pub side: Side,
    /// Mode it is to be attached in.
    pub mode: Mode,
    /// Whether an interface of this name exists and is policed.
    pub attached: bool,
    /// Link-local control (ARP, neighbour discovery, DHCP, LLDP, spanning tree...), always let through.
    pub link_control: Tally,
    /// Uplink: for no tenant, let through unpoliced.
    pub unmatched: Tally,
    /// Tenant side with `unknown_sources = "count"`: from no tenant, counted and let through.
    pub unknown_source_passed: Tally,
    /// Tenants' packets that the program forwarded, past the router's stack (`forwarding = "xdp"`).
    pub forwarded: Tally,
    /// Dropped before a tenant was identified, per reason that occurred.
    pub dropped: Vec<(DropReason, Tally)>,
}

impl InterfaceCounters {
    /// An interface that has counted nothing, and is not attached.
    #[must_use]
    pub fn none(name: &str, side: Side, mode: Mode) -> Self {
        Self {
            name: name.to_owned(),
            side,
            mode,
            attached: false,
            link_control: Tally::default(),
            unmatched: Tally::default(),
            unknown_source_passed: Tally::default(),
            forwarded: Tally::default(),
            dropped: Vec::new(),
        }
    }
}
