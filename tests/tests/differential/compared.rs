//! What was compared, by what became of it.

use std::collections::BTreeMap;
use std::fmt;

use gateway::dataplane::{Snapshot, Tally};
use gateway_ebpf::DropReason;

/// Packets by outcome.
#[derive(Clone, Debug)]
pub(crate) struct Compared(BTreeMap<&'static str, u64>);

const PASSED: [&str; 4] = ["passed", "link control", "unmatched", "unknown source passed"];

/// Reasons that only detection has.
const DETECTED: [DropReason; 4] =
    [DropReason::Quarantined, DropReason::MailClosed, DropReason::Flood, DropReason::Throttled];

impl Default for Compared {
    /// Every outcome, and no packet.
    fn default() -> Self {
        let reasons = DropReason::ALL.iter().map(|reason| reason.label());
        Self(PASSED.into_iter().chain(reasons).map(|outcome| (outcome, 0)).collect())
    }
}

impl Compared {
    /// What was counted between two moments.
    pub(crate) fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let (before, mut counted) = (Self::of(before), Self::of(after));
        counted.0.iter_mut().for_each(|(outcome, count)| *count -= before.0[outcome]);
        counted
    }

    fn of(snapshot: &Snapshot) -> Self {
        let mut compared = Self::default();
        let mut add = |outcome, tally: Tally| *compared.0.entry(outcome).or_default() += tally.packets;
        for direction in snapshot.tenants.iter().flat_map(|tenant| [&tenant.up, &tenant.down]) {
            add("passed", direction.passed);
            direction.dropped.iter().for_each(|(reason, tally)| add(reason.label(), *tally));
        }
        for interface in &snapshot.interfaces {
            add("link control", interface.link_control);
            add("unmatched", interface.unmatched);
            add("unknown source passed", interface.unknown_source_passed);
            interface.dropped.iter().for_each(|(reason, tally)| add(reason.label(), *tally));
        }
        compared
    }

    pub(crate) fn packets(&self) -> u64 {
        self.0.values().sum()
    }

    /// Outcomes of fewer packets, of those that there are without detection.
    pub(crate) fn rarer_than(&self, packets: u64) -> Vec<&'static str> {
        let rare = self.0.iter().filter(|(_, count)| **count < packets).map(|(outcome, _)| *outcome);
        rare.filter(|outcome| !DETECTED.iter().any(|reason| reason.label() == *outcome)).collect()
    }
}

impl std::ops::AddAssign for Compared {
    fn add_assign(&mut self, other: Self) {
        other.0.into_iter().for_each(|(outcome, count)| *self.0.entry(outcome).or_default() += count);
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcomes: Vec<_> = self.0.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
        f.write_str(&outcomes.join(", "))
    }
}
