//! A year of facts for 1,000 tenants.

use std::collections::BTreeMap;
use std::time::Instant;

use super::super::{Act, Command, FACTS, FactKind, Input, Resolution, State};
use super::fake::{DAY, Numbers, advance, at, fact, rules, who};
use crate::domain::Role;

#[test]
fn a_year_for_a_thousand_tenants() {
    const TENANTS: u64 = 1_000;
    const FACTS_A_DAY: u64 = 100;
    let (mut state, rules, mut numbers) = (State::default(), rules(), Numbers(42));
    let started = Instant::now();
    let (mut facts, mut counts) = (0_u64, BTreeMap::<&str, u64>::new());
    let mut count = |acts: &mut dyn Iterator<Item = &Act>| {
        for act in acts {
            let name = match act {
                Act::Opened { .. } => "opened",
                Act::Struck { .. } => "struck",
                Act::Noticed { .. } => "noticed",
                Act::Closed { .. } => "closed",
                _ => continue,
            };
            *counts.entry(name).or_default() += 1;
        }
    };
    let kinds: Vec<FactKind> = FACTS.iter().map(|(kind, ..)| *kind).collect();
    for day in 0..365 {
        let mut seconds: Vec<i64> =
            (0..FACTS_A_DAY).map(|_| i64::try_from(numbers.below(86_400)).unwrap()).collect();
        seconds.sort_unstable();
        for second in seconds {
            let now = at(day * DAY + second);
            count(&mut advance(&mut state, now, &rules).iter().map(|(_, act)| act));
            // A tenth of the tenants commits most of it.
            let tenant = match numbers.below(10) {
                0 => numbers.below(TENANTS),
                _ => numbers.below(TENANTS / 10),
            };
            let kind = kinds[usize::try_from(numbers.below(kinds.len() as u64)).unwrap()];
            let acts = state.take(&fact(&format!("tenant-{tenant}"), kind, now), now, &rules).unwrap();
            count(&mut acts.iter());
            facts += 1;
        }
        // Every evening, what waits for a person for a week is restored by two.
        let (now, week_ago) = (at((day + 1) * DAY), at((day - 6) * DAY));
        count(&mut advance(&mut state, now, &rules).iter().map(|(_, act)| act));
        let old: Vec<_> = state.cases().filter(|case| case.opened < week_ago).map(|case| case.id).collect();
        for case in old {
            let (ann, bob) = (who("ann", Role::Operate), who("bob", Role::Approve));
            let reason = || "mended".to_owned();
            let resolution = Resolution::Restored;
            let close = Command::Close { case, resolution, by: ann, reason: reason() };
            count(&mut state.take(&Input::Command(close), now, &rules).unwrap().iter());
            if state.case(case).is_some() {
                let confirm = Command::Confirm { case, by: bob, reason: reason() };
                count(&mut state.take(&Input::Command(confirm), now, &rules).unwrap().iter());
            }
        }
    }
    let took = started.elapsed();
    println!("{facts} facts in {took:?}: {counts:?}");
    assert_eq!(facts, 365 * FACTS_A_DAY);
    let open = u64::try_from(state.cases().count()).unwrap();
    assert_eq!(counts["opened"], counts["closed"] + open, "every case is open or closed");
    assert!(counts["noticed"] >= counts["struck"], "every strike has a notice");
    assert!(counts["closed"] > 10_000, "cases end, by time and by people: {counts:?}");
}
