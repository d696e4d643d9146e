//! Made-up facts, people and ladders.

use jiff::{SignedDuration, Timestamp};

use super::super::{Act, Fact, FactKind, Input, State};
use crate::config::{Enforcement, EnforcementMode};
use crate::domain::{Principal, Role, Way};

/// A Monday at nine in the morning, UTC.
pub(super) const MONDAY: &str = "2026-11-30T09:00:00Z";

pub(super) const HOUR: i64 = 3_600;
pub(super) const DAY: i64 = 86_400;

/// `seconds` after [`MONDAY`].
pub(super) fn at(seconds: i64) -> Timestamp {
    MONDAY.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// The shipped rules, in force.
pub(super) fn rules() -> Enforcement {
    Enforcement::default().in_mode(EnforcementMode::Enforce)
}

pub(super) fn who(name: &str, role: Role) -> Principal {
    Principal { name: name.to_owned(), way: Way::Socket, role }
}

pub(super) fn fact(tenant: &str, kind: FactKind, at: Timestamp) -> Input {
    Input::Fact(Fact { at, tenant: tenant.to_owned(), kind, detail: "as seen".to_owned() })
}

/// Takes every decision that is due until `now`, each at its own time.
pub(super) fn advance(state: &mut State, now: Timestamp, rules: &Enforcement) -> Vec<(Timestamp, Act)> {
    let mut taken = Vec::new();
    while let Some(due) = state.next_deadline().filter(|due| *due <= now) {
        let acts = state.take(&Input::Clock, due, rules).unwrap();
        assert!(!acts.is_empty(), "a deadline that nothing follows from would be asked for again");
        taken.extend(acts.into_iter().map(|act| (due, act)));
    }
    taken
}

/// A generator of numbers that is the same everywhere (SplitMix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
