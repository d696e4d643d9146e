//! What another policy would have done differently to the same packets.

use std::collections::BTreeSet;

use serde::Serialize;

use super::report::{ByReason, DirectionReport, Report};

/// A count of packets that differs between two replays.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The tenant; none: packets that were nobody's.
    pub tenant: Option<String>,
    /// `up` or `down`; none for packets that were nobody's.
    pub direction: Option<&'static str>,
    /// Why they were dropped; none: they were not.
    pub reason: Option<&'static str>,
    /// Packets under the first policy.
    pub before: u64,
    /// Packets under the other one.
    pub after: u64,
}

/// Every count that differs, tenants in the order of their ids, nobody's packets last. A tenant that only
/// one policy knows counts nothing under the other.
#[must_use]
pub fn differences(before: &Report, after: &Report) -> Vec<Difference> {
    let ids: BTreeSet<&String> = before.tenants.keys().chain(after.tenants.keys()).collect();
    let mut found = Vec::new();
    for id in ids {
        let [old, new] = [before, after].map(|report| report.tenants.get(id));
        let up = [old, new].map(|tenant| tenant.map(|tenant| counts(&tenant.up)).unwrap_or_default());
        let down = [old, new].map(|tenant| tenant.map(|tenant| counts(&tenant.down)).unwrap_or_default());
        compare(Some(id), Some("up"), up, &mut found);
        compare(Some(id), Some("down"), down, &mut found);
    }
    compare(None, None, [before, after].map(nobodys), &mut found);
    found
}

/// Packets that were not dropped, and those that were, by reason.
type Counts = (u64, ByReason);

fn compare(
    tenant: Option<&String>,
    direction: Option<&'static str>,
    [before, after]: [Counts; 2],
    found: &mut Vec<Difference>,
) {
    let mut differ = |reason, before, after| {
        if before != after {
            found.push(Difference { tenant: tenant.cloned(), direction, reason, before, after });
        }
    };
    differ(None, before.0, after.0);
    let reasons: BTreeSet<_> = before.1.keys().chain(after.1.keys()).copied().collect();
    for reason in reasons {
        let count = |counts: &Counts| counts.1.get(reason).copied().unwrap_or_default();
        differ(Some(reason), count(&before), count(&after));
    }
}

fn counts(direction: &DirectionReport) -> Counts {
    (direction.packets - direction.dropped_packets, direction.by_reason.clone())
}

/// What of the totals is no tenant's: every drop was counted for one tenant, or for none.
fn nobodys(report: &Report) -> Counts {
    let mut by_reason = report.by_reason.clone();
    for tenant in report.tenants.values() {
        for (reason, packets) in tenant.up.by_reason.iter().chain(&tenant.down.by_reason) {
            if let Some(left) = by_reason.get_mut(reason) {
                *left = left.saturating_sub(*packets);
            }
        }
    }
    (report.unmatched, by_reason)
}
