//! What holds whatever comes.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::super::{
    Act, Command, FACTS, Input, Phase, Resolution, State, TRANSITIONS, To, Transition, decide,
};
use super::fake::{at, fact, rules, who};
use crate::config::{BitRate, CaseClass, Enforcement, EnforcementMode, Release, Restrict};
use crate::domain::Role;

const TENANTS: [&str; 3] = ["acme", "bolt", "cafe"];
const PEOPLE: [(&str, Role); 4] =
    [("ann", Role::Operate), ("bob", Role::Approve), ("cat", Role::Approve), ("dan", Role::Read)];

/// One thing that happens, after a time, under a mode.
#[derive(Clone, Debug)]
enum Happens {
    Fact(usize, usize),
    Suspend(usize, usize, Option<i64>, usize),
    Restore(usize, usize),
    Close(usize, usize, bool),
    Confirm(usize, usize),
    Decline(usize, usize),
    Note(usize, usize),
    Mode(EnforcementMode),
}

fn happens() -> impl Strategy<Value = (i64, Happens)> {
    let modes =
        [EnforcementMode::Off, EnforcementMode::Watch, EnforcementMode::Enforce, EnforcementMode::Enforce];
    let (tenant, who, nth) = (0..TENANTS.len(), 0..PEOPLE.len(), 0..8_usize);
    let what = prop_oneof![
        8 => (tenant.clone(), 0..FACTS.len()).prop_map(|(tenant, fact)| Happens::Fact(tenant, fact)),
        2 => (tenant.clone(), 0..Restrict::ALL.len(), proptest::option::of(1..400_000_i64), who.clone())
            .prop_map(|(tenant, restrict, until, who)| Happens::Suspend(tenant, restrict, until, who)),
        1 => (tenant, who.clone()).prop_map(|(tenant, who)| Happens::Restore(tenant, who)),
        2 => (nth.clone(), who.clone(), any::<bool>()).prop_map(|(case, who, mistaken)| Happens::Close(case, who, mistaken)),
        2 => (nth.clone(), who.clone()).prop_map(|(case, who)| Happens::Confirm(case, who)),
        1 => (nth.clone(), who.clone()).prop_map(|(case, who)| Happens::Decline(case, who)),
        1 => (nth, who).prop_map(|(case, who)| Happens::Note(case, who)),
        1 => (0..modes.len()).prop_map(move |mode| Happens::Mode(modes[mode])),
    ];
    // From moments to weeks, so that collecting, deadlines, office hours and decay all occur.
    (prop_oneof![0..600_i64, 600..90_000_i64, 90_000..3_000_000_i64], what)
}

fn input(happens: &Happens, state: &State, now: Timestamp) -> Option<Input> {
    let person = |who: usize| who_of(PEOPLE[who]);
    let case = |nth: usize| state.cases().nth(nth).map(|case| case.id);
    let reason = || "because".to_owned();
    Some(match *happens {
        Happens::Fact(tenant, kind) => fact(TENANTS[tenant], FACTS[kind].0, now),
        Happens::Suspend(tenant, restrict, until, who) => {
            let restrict = Restrict::ALL[restrict];
            let cap = (restrict == Restrict::Cap).then(|| BitRate::from_bits_per_sec(1_000_000)).flatten();
            let until = until.map(|seconds| now + SignedDuration::from_secs(seconds));
            let (tenant, by) = (TENANTS[tenant].to_owned(), person(who));
            Input::Command(Command::Suspend { tenant, restrict, cap, until, by, reason: reason() })
        }
        Happens::Restore(tenant, who) => {
            let tenant = TENANTS[tenant].to_owned();
            Input::Command(Command::Restore { tenant, by: person(who), reason: reason() })
        }
        Happens::Close(nth, who, mistaken) => {
            let resolution = if mistaken { Resolution::Mistaken } else { Resolution::Restored };
            Input::Command(Command::Close { case: case(nth)?, resolution, by: person(who), reason: reason() })
        }
        Happens::Confirm(nth, who) => {
            Input::Command(Command::Confirm { case: case(nth)?, by: person(who), reason: reason() })
        }
        Happens::Decline(nth, who) => {
            Input::Command(Command::Decline { case: case(nth)?, by: person(who), reason: reason() })
        }
        Happens::Note(nth, who) => {
            Input::Command(Command::Note { case: case(nth)?, by: person(who), text: reason() })
        }
        Happens::Mode(_) => return None,
    })
}

fn who_of((name, role): (&str, Role)) -> crate::domain::Principal {
    who(name, role)
}

/// What must hold of acts, against the state that they were decided in.
fn check_acts(state: &State, acts: &[Act], now: Timestamp, rules: &Enforcement) -> Result<(), TestCaseError> {
    let noticed: BTreeSet<_> =
        acts.iter().filter(|act| matches!(act, Act::Noticed { .. })).filter_map(Act::case).collect();
    for act in acts {
        match act {
            Act::Struck { case, step, until, enforced, .. } => {
                // Every restriction has a notice, and a way back.
                prop_assert_eq!(*enforced, noticed.contains(case), "{:#?}", acts);
                prop_assert_eq!(step.release == Release::Auto, until.is_some());
                prop_assert!(step.restrict != Restrict::Terminate || step.release == Release::Approval);
                prop_assert!(until.is_none_or(|until| until >= now));
                // Only what is enforced restricts, unless somebody does it by hand.
                let by_hand = acts.iter().any(|act| matches!(act, Act::Noted { .. }));
                prop_assert!(!enforced || by_hand || rules.mode == EnforcementMode::Enforce);
                // What holds is never lifted by a further strike.
                if let Some(holds) = state.case(*case).and_then(|case| case.enforced()).filter(|_| !by_hand) {
                    prop_assert!(*enforced && step.restrict >= holds.step.restrict, "{:#?}", acts);
                    let is_as_hard =
                        step.release >= holds.step.release || holds.step.restrict == Restrict::None;
                    prop_assert!(is_as_hard, "{:#?} after {:#?}", step, holds);
                }
            }
            Act::Closed { case, by, confirmed_by, .. } => {
                // No release without its right.
                let Some(holds) = state.case(*case).and_then(|case| case.enforced()) else { continue };
                prop_assert_eq!(noticed.contains(case), holds.step.restrict != Restrict::None);
                match (by, confirmed_by) {
                    (None, _) => {
                        prop_assert_eq!(holds.step.release, Release::Auto);
                        prop_assert!(holds.until.is_some_and(|until| until <= now));
                    }
                    (Some(by), None) => {
                        prop_assert!(holds.step.release < Release::Approval && by.role >= Role::Operate);
                    }
                    (Some(by), Some(confirmed)) => {
                        prop_assert!(by.name != confirmed.name && confirmed.role == Role::Approve);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What must hold of a state.
fn check_state(state: &State) -> Result<(), TestCaseError> {
    for tenant in TENANTS {
        let restraint = state.restraint(tenant);
        let of_cases: Vec<_> = state
            .cases_of(tenant)
            .filter_map(|case| case.enforced())
            .filter(|it| it.step.restrict != Restrict::None)
            .collect();
        // No restriction without an open case: it is the union over them, with the lowest cap.
        let union: BTreeSet<_> = of_cases.iter().map(|it| it.step.restrict).collect();
        prop_assert_eq!(&restraint.restricts, &union);
        prop_assert_eq!(restraint.cap, of_cases.iter().filter_map(|it| it.step.cap).min());
        prop_assert_eq!(restraint.causes.len(), of_cases.len());
        let gravest = union.last().map(|restrict| (*restrict).into());
        prop_assert!(gravest.is_none_or(|gravest| state.standing(tenant) == gravest));
        for class in CaseClass::WITH_LADDER {
            let open = state.cases_of(tenant).filter(|case| case.class == class).count();
            prop_assert!(open <= 1, "{} cases of {} are open", open, class);
            let strikes = state.strikes(tenant, class, at(0));
            prop_assert!(strikes.restricting <= strikes.count);
        }
    }
    // Every deadline is a case's, and every case's is there.
    prop_assert_eq!(state.next_deadline(), state.cases().filter_map(|case| case.deadline()).min());
    Ok(())
}

/// A case that was decided on stands where the table says.
fn check_phase(before: Option<Phase>, after: Option<Phase>) -> Result<(), TestCaseError> {
    let (before, after) = (before.unwrap_or(Phase::New), after.unwrap_or(Phase::Closed));
    let reaches = |row: &&Transition| {
        row.from == before
            && match row.to {
                To::Same => after == before,
                To::Step => matches!(after, Phase::Noticed | Phase::Restricted),
                To::Phase(phase) => after == phase,
            }
    };
    prop_assert!(TRANSITIONS.iter().any(|row| reaches(&row)), "{} -> {}", before, after);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes(script in proptest::collection::vec(happens(), 1..60)) {
        let (mut state, mut now, mut rules) = (State::default(), at(0), rules());
        let mut recorded: Vec<(Timestamp, String)> = Vec::new();
        for (after, happens) in &script {
            now += SignedDuration::from_secs(*after);
            let mut inputs = Vec::new();
            while let Some(due) = state.next_deadline().filter(|due| *due <= now) {
                let acts = decide(&state, &Input::Clock, due, &rules).unwrap();
                prop_assert!(!acts.is_empty());
                check_acts(&state, &acts, due, &rules)?;
                for act in &acts {
                    state.apply(act, due);
                    recorded.push((due, serde_json::to_string(act).unwrap()));
                }
            }
            if let Happens::Mode(mode) = happens {
                rules.mode = *mode;
            }
            inputs.extend(input(happens, &state, now));
            for input in inputs {
                let Ok(acts) = decide(&state, &input, now, &rules) else { continue };
                check_acts(&state, &acts, now, &rules)?;
                let before = state.clone();
                for act in &acts {
                    state.apply(act, now);
                    recorded.push((now, serde_json::to_string(act).unwrap()));
                }
                let touched: BTreeSet<_> = acts.iter().filter_map(Act::case).collect();
                for id in touched {
                    check_phase(before.case(id).map(|case| case.phase()), state.case(id).map(|case| case.phase()))?;
                }
            }
            check_state(&state)?;
        }
        // What was recorded, read again and applied in order, is the same state.
        let mut again = State::default();
        for (at, act) in &recorded {
            again.apply(&serde_json::from_str(act).unwrap(), *at);
        }
        prop_assert_eq!(&again, &state);
        let kept: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        prop_assert_eq!(kept, state);
    }
}

#[test]
fn no_row_is_written_twice_and_each_event_has_one() {
    let rows = TRANSITIONS;
    for (index, row) in rows.iter().enumerate() {
        let same = rows.iter().position(|other| (other.from, other.event) == (row.from, row.event));
        assert_eq!(same, Some(index), "{row:?}");
    }
}
