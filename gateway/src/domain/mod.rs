//! What every room talks about: no I/O, no clocks, no formats but the words that files, metrics and JSON share.

mod interface;
mod measure;
mod moment;
mod offence;
mod principal;
mod rate;
mod restriction;
mod snapshot;
mod tenant_id;

pub use gateway_ebpf::{Direction, DropReason};
pub use interface::{Mode, Side};
pub use measure::{HeldMeasure, LoweredCap, MeasureInForce, kind_label};
pub use moment::{BootTime, Moment, to_microsecond};
pub use offence::{DetectMode, Measure, OffenceKind};
pub use principal::{Actor, Principal, Role, Way};
pub use rate::{BitRate, LineRate};
pub use restriction::{Restriction, Scope};
pub use snapshot::{
    Backlog, DirectionCounters, InterfaceCounters, OverCap, QueueDrops, Snapshot, Tally, TenantCounters,
    Usage,
};
pub use tenant_id::{NoTenantId, TenantId};
