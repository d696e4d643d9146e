//! What an abuse desk expects, case by case.

use std::collections::BTreeSet;

use super::super::{Command, FactKind, Input, Notice, Refusal, Report, Resolution, Signal, Standing, State};
use super::fake::{DAY, HOUR, advance, at, fact, rules, who};
use crate::config::{CaseClass, Enforcement, EnforcementMode, OffenceKind, Release, Restrict};
use crate::domain::Role;
use crate::enforcement::Act;

const SCAN: FactKind = FactKind::Offence(OffenceKind::ScanHorizontal);
const MAIL: FactKind = FactKind::Offence(OffenceKind::BulkMail);
const LISTED: FactKind = FactKind::Offence(OffenceKind::ListedContact);
const RISE: FactKind = FactKind::Offence(OffenceKind::SuddenRise);

fn seen(state: &mut State, rules: &Enforcement, kind: FactKind, seconds: i64) -> Vec<Act> {
    advance(state, at(seconds), rules);
    state.take(&fact("acme", kind, at(seconds)), at(seconds), rules).unwrap()
}

fn only_case(state: &State) -> super::super::CaseId {
    let cases: Vec<_> = state.cases_of("acme").collect();
    assert_eq!(cases.len(), 1, "{cases:#?}");
    cases[0].id
}

#[test]
fn a_ladder_is_climbed_strike_by_strike() {
    let (mut state, rules) = (State::default(), rules());
    seen(&mut state, &rules, SCAN, 0);
    assert_eq!(state.standing("acme"), Standing::Noticed);
    // The same burst.
    seen(&mut state, &rules, SCAN, 600);
    assert_eq!(
        (state.strikes("acme", CaseClass::Scan, at(601)).count, only_case(&state).to_string()),
        (1, "C-2026-00001".into())
    );
    // The source's quarantine of an hour is over, and it scans again.
    seen(&mut state, &rules, SCAN, HOUR);
    assert_eq!(state.standing("acme"), Standing::Quarantined);
    assert_eq!(state.restraint("acme").restricts, BTreeSet::from([Restrict::Outbound]));
    // A day later it is free by itself.
    advance(&mut state, at(HOUR + DAY), &rules);
    assert_eq!((state.standing("acme"), state.cases().count()), (Standing::Good, 0));
    // The third needs an approver.
    seen(&mut state, &rules, SCAN, 3 * DAY);
    assert_eq!(state.standing("acme"), Standing::Suspended);
    assert_eq!(advance(&mut state, at(80 * DAY), &rules), []);
    assert_eq!(only_case(&state).to_string(), "C-2026-00002");
}

#[test]
fn strikes_decay_after_a_time_without_another() {
    let (mut state, rules) = (State::default(), rules());
    seen(&mut state, &rules, SCAN, 0);
    seen(&mut state, &rules, SCAN, 89 * DAY);
    assert_eq!(state.strikes("acme", CaseClass::Scan, at(178 * DAY)).count, 2);
    seen(&mut state, &rules, SCAN, (89 + 90) * DAY);
    assert_eq!(state.strikes("acme", CaseClass::Scan, at(180 * DAY)).count, 1);
    assert_eq!(state.standing("acme"), Standing::Noticed);
}

#[test]
fn signals_of_two_kinds_add_up() {
    let (mut state, rules) = (State::default(), rules());
    assert_eq!(seen(&mut state, &rules, LISTED, 0).len(), 1);
    assert_eq!((state.standing("acme"), state.cases().count()), (Standing::Good, 0));
    seen(&mut state, &rules, SCAN, 23 * HOUR);
    let case = state.case(only_case(&state)).unwrap();
    assert_eq!(
        (case.class, case.in_force.as_ref().unwrap().step.release),
        (CaseClass::Compromise, Release::Operator)
    );
    assert_eq!(state.standing("acme"), Standing::Suspended);
    // Dealt with, it begins anew.
    let restore = Command::Restore {
        tenant: "acme".into(),
        by: who("ann", Role::Operate),
        reason: "reinstalled".into(),
    };
    state.take(&Input::Command(restore), at(24 * HOUR), &rules).unwrap();
    assert_eq!(state.signals("acme", at(24 * HOUR)).collect::<Vec<Signal>>(), []);
    seen(&mut state, &rules, SCAN, 25 * HOUR);
    assert_eq!(state.case(only_case(&state)).unwrap().class, CaseClass::Scan);
}

#[test]
fn signals_a_day_apart_do_not_add_up() {
    let (mut state, rules) = (State::default(), rules());
    seen(&mut state, &rules, LISTED, 0);
    seen(&mut state, &rules, SCAN, DAY);
    assert_eq!(state.case(only_case(&state)).unwrap().class, CaseClass::Scan);
}

#[test]
fn a_history_makes_a_second_person_confirm() {
    let (mut state, rules) = (State::default(), rules());
    seen(&mut state, &rules, MAIL, 0);
    assert_eq!(state.standing("acme"), Standing::SmtpClosed);
    advance(&mut state, at(2 * DAY), &rules);
    // Of another class: the ladder says a day, the tenant's history says otherwise.
    seen(&mut state, &rules, SCAN, 3 * DAY);
    let acts = seen(&mut state, &rules, SCAN, 3 * DAY + HOUR);
    assert!(
        acts.iter().any(|act| matches!(act, Act::Struck { history: true, until: None, .. })),
        "{acts:#?}"
    );
    let case = only_case(&state);
    let now = at(4 * DAY);
    let mut run = |command| state.take(&Input::Command(command), now, &rules);
    let close = |name| Command::Close {
        case,
        resolution: Resolution::Restored,
        by: who(name, Role::Approve),
        reason: "mended".into(),
    };
    let confirm = |name, role| Command::Confirm { case, by: who(name, role), reason: "seen".into() };

    let asked = run(close("ann")).unwrap();
    assert!(matches!(asked[..], [Act::Asked { .. }]), "{asked:#?}");
    assert_eq!(run(close("bob")), Err(Refusal::AskedAlready { case, name: "ann".into() }));
    assert_eq!(run(confirm("ann", Role::Approve)), Err(Refusal::OwnRequest { case, name: "ann".into() }));
    let needs = Refusal::Role { name: "bob".into(), has: Role::Operate, needs: Role::Approve };
    assert_eq!(run(confirm("bob", Role::Operate)), Err(needs));
    let decline = Command::Decline { case, by: who("cat", Role::Approve), reason: "not yet".into() };
    run(decline).unwrap();
    assert!(matches!(run(confirm("bob", Role::Approve)), Err(Refusal::NotNow { .. })));
    run(close("ann")).unwrap();
    let confirmed = run(confirm("bob", Role::Approve)).unwrap();
    assert!(
        matches!(
            &confirmed[..],
            [
                Act::Closed { by: Some(_), confirmed_by: Some(_), .. },
                Act::Noticed { notice: Notice::Restored, .. }
            ]
        ),
        "{confirmed:#?}"
    );
    assert_eq!(state.standing("acme"), Standing::Good);
}

#[test]
fn lesser_cases_wait_for_office_hours_and_are_struck_once() {
    let (mut state, rules) = (State::default(), rules());
    // Saturday, two days before the office opens at nine on Monday.
    let saturday = 5 * DAY;
    seen(&mut state, &rules, RISE, saturday);
    seen(&mut state, &rules, RISE, saturday + 40 * HOUR);
    assert_eq!(state.standing("acme"), Standing::Good);
    assert_eq!(state.next_deadline(), Some(at(7 * DAY)));
    advance(&mut state, at(7 * DAY), &rules);
    assert_eq!(state.standing("acme"), Standing::Noticed);
    assert_eq!(state.strikes("acme", CaseClass::Usage, at(7 * DAY)).count, 1);
    // In the same case, on the next Saturday: it waits again, and the notice still stands.
    seen(&mut state, &rules, RISE, saturday + 7 * DAY);
    assert_eq!(state.standing("acme"), Standing::Noticed);
    advance(&mut state, at(14 * DAY), &rules);
    assert_eq!(state.standing("acme"), Standing::Slowed);
    assert_eq!(state.restraint("acme").cap.map(|cap| cap.bits_per_sec()), Some(5_000_000));
}

#[test]
fn cases_restrict_together_and_the_lowest_cap_holds() {
    let (mut state, rules) = (State::default(), rules());
    let slow = |cap: u64| Command::Suspend {
        tenant: "acme".into(),
        restrict: Restrict::Cap,
        cap: crate::config::BitRate::from_bits_per_sec(cap),
        until: None,
        by: who("ann", Role::Operate),
        reason: "by hand".into(),
    };
    for command in [slow(8_000_000), slow(1_000_000)] {
        state.take(&Input::Command(command), at(0), &rules).unwrap();
    }
    assert_eq!(state.cases().count(), 1, "the same by hand takes the place of what holds");
    seen(&mut state, &rules, MAIL, 10);
    let restraint = state.restraint("acme");
    assert_eq!(restraint.restricts, BTreeSet::from([Restrict::Cap, Restrict::Mail]));
    assert_eq!((restraint.cap.map(|cap| cap.bits_per_sec()), restraint.causes.len()), (Some(1_000_000), 2));
    assert_eq!(state.standing("acme"), Standing::SmtpClosed);
    // The kernel's own time is over; what was restricted by hand stays.
    advance(&mut state, at(2 * DAY), &rules);
    assert_eq!(state.standing("acme"), Standing::Slowed);
}

#[test]
fn watching_restricts_nobody_and_counts_for_nothing_later() {
    let (mut state, enforce) = (State::default(), rules());
    let watch = rules().in_mode(EnforcementMode::Watch);
    seen(&mut state, &watch, MAIL, 0);
    let acts = seen(&mut state, &watch, MAIL, 2 * HOUR);
    assert!(
        acts.iter().any(|act| matches!(act, Act::Struck { strike: 2, enforced: false, .. })),
        "{acts:#?}"
    );
    assert!(!acts.iter().any(|act| matches!(act, Act::Noticed { .. })), "{acts:#?}");
    assert_eq!((state.standing("acme"), state.restraint("acme").restricts.len()), (Standing::Good, 0));
    let acts = seen(&mut state, &enforce, MAIL, 2 * HOUR + 60);
    assert!(acts.iter().any(|act| matches!(act, Act::Struck { strike: 1, enforced: true, .. })), "{acts:#?}");
    assert_eq!(state.standing("acme"), Standing::SmtpClosed);
    // Back to watching, what took effect stays until its time is over.
    seen(&mut state, &watch, MAIL, 6 * HOUR);
    assert_eq!(state.standing("acme"), Standing::SmtpClosed);
    advance(&mut state, at(2 * DAY), &watch);
    assert_eq!(state.standing("acme"), Standing::Good);
}

#[test]
fn off_opens_no_cases_and_hands_still_work() {
    let mut state = State::default();
    let off = rules().in_mode(EnforcementMode::Off);
    assert_eq!(seen(&mut state, &off, MAIL, 0), []);
    let terminate = Command::Suspend {
        tenant: "acme".into(),
        restrict: Restrict::Terminate,
        cap: None,
        until: Some(at(DAY)),
        by: who("ann", Role::Operate),
        reason: "contract ended".into(),
    };
    state.take(&Input::Command(terminate), at(0), &off).unwrap();
    // A termination has no end, and needs a second person.
    assert_eq!((state.standing("acme"), state.next_deadline()), (Standing::Terminated, None));
    let restore =
        Command::Restore { tenant: "acme".into(), by: who("ann", Role::Approve), reason: "again".into() };
    let acts = state.take(&Input::Command(restore), at(1), &off).unwrap();
    assert!(matches!(acts[..], [Act::Asked { .. }]), "{acts:#?}");
    assert_eq!(state.standing("acme"), Standing::Terminated);
}

#[test]
fn a_mistake_takes_its_strikes_back() {
    let (mut state, rules) = (State::default(), rules());
    seen(&mut state, &rules, MAIL, 0);
    let case = only_case(&state);
    let mistaken = Command::Close {
        case,
        resolution: Resolution::Mistaken,
        by: who("ann", Role::Operate),
        reason: "a newsletter".into(),
    };
    state.take(&Input::Command(mistaken), at(60), &rules).unwrap();
    assert_eq!(
        (state.strikes("acme", CaseClass::Mail, at(61)).count, state.has_history("acme", true, at(61))),
        (0, false)
    );
    assert_eq!(state.standing("acme"), Standing::Good);
}

#[test]
fn billing_lifts_what_billing_asked_for() {
    let (mut state, rules) = (State::default(), rules());
    seen(&mut state, &rules, MAIL, 0);
    advance(&mut state, at(2 * DAY), &rules);
    seen(&mut state, &rules, FactKind::Report(Report::Chargeback), 3 * DAY);
    let case = state.case(only_case(&state)).unwrap();
    // A history of mail is no reason to hold somebody's payment back.
    assert_eq!(case.in_force.as_ref().unwrap().step.release, Release::Operator);
}

#[test]
fn restoring_nothing_is_refused() {
    let restore =
        Command::Restore { tenant: "acme".into(), by: who("ann", Role::Operate), reason: "why not".into() };
    let refused = State::default().take(&Input::Command(restore), at(0), &rules());
    assert_eq!(refused, Err(Refusal::NothingToRestore("acme".into())));
}
