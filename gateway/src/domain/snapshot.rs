//! What a data plane has counted, at one moment.

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
}

impl DirectionCounters {
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
