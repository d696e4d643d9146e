//! Store, controller and kernel are compared: decisions are the store's, measures the kernel's.

use std::fs;

use gateway::config::{Measure, OffenceKind};
use gateway::controller::{Release, Released};
use gateway::dataplane::Restrictions;
use gateway::detect::HeldMeasure;
use gateway::suspension::{Scope, Suspension};
use gateway_ebpf::restriction::Restriction;
use jiff::{Timestamp, ToSpan};

use crate::fake::{Controller, Files, Record, controller, controller_over, operator};
use crate::offences::offence;

fn held(source: &str) -> HeldMeasure {
    HeldMeasure {
        tenant: "acme".into(),
        source: source.parse().unwrap(),
        kind: Some(OffenceKind::ScanSensitive),
        measure: Measure::Quarantine,
        until: Timestamp::now() + 1.hour(),
    }
}

fn suspension(scope: Scope) -> Suspension {
    let (by, since) = (Some("j.doe".into()), Timestamp::now());
    Suspension { scope, reason: "spam run".into(), by, since, until: None }
}

fn release(of: Released) -> Release {
    Release { of, by: operator("j.doe"), reason: "cleaned".into() }
}

/// As operators see it.
fn shown(controller: &Controller, tenant: &str) -> Vec<Scope> {
    let policy = controller.observe().policy;
    let tenant = policy.effective.tenant(tenant).unwrap();
    tenant.suspensions().iter().map(|suspension| suspension.scope).collect()
}

/// As after 300 offences without a controller: the measures hold, and nobody heard of them.
#[test]
fn a_measure_that_only_the_kernel_knows_is_shown_and_can_be_lifted() {
    let files = Files::new();
    let left = Record { held: Some(vec![held("198.51.100.1/32")]), ..Record::default() };
    let (controller, record) = controller_over(&files, left);
    let now = Timestamp::now();
    let measures = || -> Vec<_> {
        controller.observe().offences.in_force(now).map(|held| held.source.unwrap().to_string()).collect()
    };
    assert_eq!(measures(), ["198.51.100.1/32"]);
    let ended = controller.restore("acme", release(Released::All)).unwrap();
    assert_eq!((ended.lifted.len(), measures()), (1, vec![]));
    assert_eq!(record.lock().unwrap().held, Some(vec![]));
    // The kernel has forgotten one that the ledger has.
    controller.offended(offence("acme", "198.51.100.1/32"));
    assert_eq!(measures(), [""; 0]);
}

/// The controller was killed after it had written that the measure was lifted, and before it was.
#[test]
fn a_measure_that_was_lifted_is_ended_in_the_kernel_at_the_next_start() {
    let files = Files::new();
    let (first, record) = controller(&files);
    first.offended(offence("acme", "198.51.100.1/32"));
    let until = first.observe().offences.in_force(Timestamp::now()).next().unwrap().until;
    first.restore("acme", release(Released::All)).unwrap();
    record.lock().unwrap().lifts.clear();
    drop(first);
    let still = HeldMeasure { until, ..held("198.51.100.1/32") };
    let newer = HeldMeasure { until: until + 10.minutes(), ..held("198.51.100.2/32") };
    let left = Record { held: Some(vec![still, newer.clone()]), ..Record::default() };
    let (_next, record) = controller_over(&files, left);
    assert_eq!(record.lock().unwrap().held, Some(vec![newer]));
}

#[test]
fn what_was_decided_is_put_into_force_again_where_the_kernel_lost_it() {
    let files = Files::new();
    let (controller, record) = controller(&files);
    controller.suspend("acme", suspension(Scope::Mail)).unwrap();
    let decided = Restrictions::from([("acme".into(), Restriction::NO_MAIL)]);
    let wrong = Restrictions::from([("beta".into(), Restriction::NOTHING)]);
    record.lock().unwrap().restrictions = wrong;
    // Until it is put right, the kernel's word is shown, and acted on.
    assert_eq!(shown(&controller, "beta"), [Scope::Everything]);
    assert_eq!(controller.restore("beta", release(Released::All)).unwrap().suspensions.len(), 1);
    assert!(record.lock().unwrap().restrictions.is_empty());
    controller.compare().unwrap();
    assert_eq!(record.lock().unwrap().restrictions, decided);
}

#[test]
fn a_lost_ledger_adopts_what_the_kernel_forbids_once() {
    let files = Files::new();
    fs::create_dir_all(files.path("state")).unwrap();
    files.write("state/ledger.sqlite", &"this is no database ".repeat(1_000));
    let both = Restriction::NO_MAIL.with(Restriction::NO_OUTBOUND);
    let held = Restrictions::from([("acme".into(), both)]);
    let (first, record) = controller_over(&files, Record { restrictions: held.clone(), ..Record::default() });
    assert_eq!(record.lock().unwrap().restrictions, held, "a customer is not let go because a file was lost");
    assert_eq!(shown(&first, "acme"), [Scope::Mail, Scope::Outbound]);
    first.restore("acme", release(Released::Scope(Scope::Mail))).unwrap();
    drop(first);
    let (_next, record) = controller_over(&files, Record { restrictions: held, ..Record::default() });
    let left = Restrictions::from([("acme".into(), Restriction::NO_OUTBOUND)]);
    assert_eq!(record.lock().unwrap().restrictions, left, "from then on the ledger knows");
}

#[test]
fn a_ledger_out_of_reach_leaves_what_the_kernel_forbids_until_it_can_be_read() {
    let files = Files::new();
    let (first, _) = controller(&files);
    first.suspend("acme", suspension(Scope::Mail)).unwrap();
    drop(first);
    // Out of reach, and not damaged; without a backup, which is made now and then.
    let _ = fs::remove_dir_all(files.path("state/backup"));
    fs::rename(files.path("state/ledger.sqlite"), files.path("state/kept")).unwrap();
    fs::create_dir(files.path("state/ledger.sqlite")).unwrap();
    let held = Restrictions::from([("beta".into(), Restriction::NOTHING)]);
    let (controller, record) =
        controller_over(&files, Record { restrictions: held.clone(), ..Record::default() });
    assert_eq!(record.lock().unwrap().restrictions, held);
    assert_eq!(shown(&controller, "beta"), [Scope::Everything]);
    controller.replace(gateway::config::load(&files.config()).unwrap()).unwrap();
    assert_eq!(record.lock().unwrap().restrictions, held, "a reload is no decision about it");
    controller.compare().unwrap_err();
    fs::remove_dir(files.path("state/ledger.sqlite")).unwrap();
    fs::rename(files.path("state/kept"), files.path("state/ledger.sqlite")).unwrap();
    controller.compare().unwrap();
    let decided = Restrictions::from([("acme".into(), Restriction::NO_MAIL)]);
    assert_eq!(record.lock().unwrap().restrictions, decided);
}
