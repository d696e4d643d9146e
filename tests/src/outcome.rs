//! What can happen to a packet, and which counter shows it.

use gateway::config::Side;
use gateway::dataplane::{DirectionCounters, Snapshot, Tally, TenantCounters};
use gateway_ebpf::DropReason;

/// What happens to a packet. `T` names the tenant: by its id, or by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// Passed, and counted for this tenant.
    Passed(T),
    /// Dropped, and counted for this tenant.
    Dropped(T, DropReason),
    /// Dropped, and counted for the interface alone.
    Refused(DropReason),
    /// Passed as control traffic of the link.
    LinkControl,
    /// Passed, being for no tenant.
    Unmatched,
    /// Passed from an unknown source, and counted.
    UnknownSourcePassed,
}

impl<T> Outcome<T> {
    /// Whether the packet goes on.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Dropped(..) | Self::Refused(_))
    }

    /// Why it was dropped, if it was.
    pub fn reason(&self) -> Option<DropReason> {
        match self {
            Self::Dropped(_, reason) | Self::Refused(reason) => Some(*reason),
            _ => None,
        }
    }

    /// The same with another name for the tenant.
    pub fn map<U>(self, name: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Passed(tenant) => Outcome::Passed(name(tenant)),
            Self::Dropped(tenant, reason) => Outcome::Dropped(name(tenant), reason),
            Self::Refused(reason) => Outcome::Refused(reason),
            Self::LinkControl => Outcome::LinkControl,
            Self::Unmatched => Outcome::Unmatched,
            Self::UnknownSourcePassed => Outcome::UnknownSourcePassed,
        }
    }
}

impl Outcome<usize> {
    /// Moves the counters as a packet of `bytes`, received on the first interface, must move them.
    ///
    /// # Panics
    /// If there is no such tenant, or no interface.
    pub fn count(self, snapshot: &mut Snapshot, side: Side, bytes: usize) {
        let one = Tally { packets: 1, bytes: bytes as u64 };
        let interface = &mut snapshot.interfaces[0];
        match self {
            Self::Passed(index) => of_tenant(&mut snapshot.tenants[index], side).passed += one,
            Self::Dropped(index, reason) => {
                add(&mut of_tenant(&mut snapshot.tenants[index], side).dropped, reason, one);
            }
            Self::Refused(reason) => add(&mut interface.dropped, reason, one),
            Self::LinkControl => interface.link_control += one,
            Self::Unmatched => interface.unmatched += one,
            Self::UnknownSourcePassed => interface.unknown_source_passed += one,
        }
    }
}

/// Takes over what queues dropped: how many packets are over the cap is compared, which state of it they met is
/// not.
pub fn take_queue_drops(snapshot: &mut Snapshot, from: &Snapshot) {
    for (tenant, from) in snapshot.tenants.iter_mut().zip(&from.tenants) {
        tenant.up.queue_drops = from.up.queue_drops;
        tenant.down.queue_drops = from.down.queue_drops;
    }
}

fn of_tenant(tenant: &mut TenantCounters, side: Side) -> &mut DirectionCounters {
    match side {
        Side::Tenant => &mut tenant.up,
        Side::Uplink => &mut tenant.down,
    }
}

fn add(dropped: &mut Vec<(DropReason, Tally)>, reason: DropReason, one: Tally) {
    match dropped.binary_search_by_key(&reason, |(known, _)| *known) {
        Ok(index) => dropped[index].1 += one,
        Err(index) => dropped.insert(index, (reason, one)),
    }
}
