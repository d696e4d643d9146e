//! Counters of all tenants, read beside whoever decides: to read those of 100,000 tenants takes 50 ms.

use std::sync::Arc;

use gateway_ebpf::Direction;
use gateway_ebpf::lookup::Slot;

use super::tenants::TenantTables;
use crate::config::Tenant;
use crate::domain::{InterfaceCounters, Snapshot, TenantCounters, Usage};

/// What there is to read at one moment; the interfaces' counters are those of that moment.
///
/// A policy that is put into force meanwhile may give the slot of a tenant that left to another one.
pub struct Reader(Source);

enum Source {
    Tables {
        tenants: Arc<Vec<(Arc<Tenant>, Slot)>>,
        tables: Arc<TenantTables>,
        interfaces: Vec<InterfaceCounters>,
    },
    /// Read already.
    Read(Snapshot),
}

impl Reader {
    pub(super) fn new(
        tenants: Arc<Vec<(Arc<Tenant>, Slot)>>,
        tables: Arc<TenantTables>,
        interfaces: Vec<InterfaceCounters>,
    ) -> Self {
        Self(Source::Tables { tenants, tables, interfaces })
    }

    /// Counters of every tenant and interface.
    #[must_use]
    pub fn snapshot(self) -> Snapshot {
        let (tenants, tables, interfaces) = match self.0 {
            Source::Tables { tenants, tables, interfaces } => (tenants, tables, interfaces),
            Source::Read(snapshot) => return snapshot,
        };
        let counters = |(tenant, slot): &(Arc<Tenant>, Slot)| tables.all_counters(&tenant.id, *slot);
        Snapshot { tenants: tenants.iter().map(counters).collect(), interfaces }
    }

    /// What everybody has used.
    #[must_use]
    pub fn usage(self) -> Usage {
        let (tenants, tables, interfaces) = match self.0 {
            Source::Tables { tenants, tables, interfaces } => (tenants, tables, interfaces),
            Source::Read(snapshot) => return (&snapshot).into(),
        };
        let used = |(_, slot): &(Arc<Tenant>, Slot)| tables.used(*slot);
        Usage { tenants: tenants.iter().map(used).collect(), others: Usage::of_others(&interfaces) }
    }
}

impl From<Snapshot> for Reader {
    fn from(snapshot: Snapshot) -> Self {
        Self(Source::Read(snapshot))
    }
}

impl TenantTables {
    /// Counters of a tenant, both ways.
    pub(super) fn all_counters(&self, id: &str, slot: Slot) -> TenantCounters {
        let [up, down] = Direction::ALL.map(|direction| self.counters(slot, direction));
        TenantCounters { id: id.to_owned(), up, down }
    }
}
