//! Detection on the kernel's own clock, which the controller reads from without (see `dataplane::clock`): jiffies,
//! that began at a time of their own.

use std::thread;

use fairway_tests::bench::in_force;
use gateway::detect::{MeasureInForce, Watched};
use jiff::{SignedDuration, Timestamp};

use super::*;

/// Two ticks of the slowest clock that Linux is built with, 100 times a second: one for the controller's reading, one for the programs'.
const TICKS: SignedDuration = SignedDuration::from_millis(20);
/// More than any command or slewing of the wall clock takes, and far less than the clocks are apart.
const A_WHILE: SignedDuration = SignedDuration::from_mins(1);

fn engine(detect: &str) -> Engine {
    Engine::detached(&in_force(&policy(detect)), ProgramClock::Kernel).unwrap()
}

fn verdict(engine: &Engine, packet: &Packet) -> Verdict {
    engine.run(Side::Tenant, &packet.frame()).unwrap()
}

fn watched(engine: &Engine) -> Watched {
    engine.watched(ACME.parse().unwrap()).unwrap()
}

/// A quarantine that another controller took and this one finds in its ledger.
fn quarantine(until: Timestamp) -> MeasureInForce {
    MeasureInForce {
        tenant: "acme".to_owned(),
        source: Some(format!("{ACME}/32").parse().unwrap()),
        kind: Some(OffenceKind::ScanStealth),
        measure: Measure::Quarantine,
        lowered_cap: None,
        since: Timestamp::now(),
        until,
    }
}

#[track_caller]
fn assert_near(found: Timestamp, expected: Timestamp, tolerance: SignedDuration) {
    assert!(found.duration_since(expected).abs() <= tolerance, "{found} instead of {expected}");
}

#[test]
#[ignore = "needs root: BPF programs"]
fn contacts_and_their_answers_count_and_are_told_with_their_times() {
    let engine = engine(WATCHING);
    let before = Timestamp::now();
    for n in 0..20 {
        let exchanges = [
            (connect(n, 443), accept(n, 443)),
            (send(n, 5_000), reply(n, 5_000)),
            (icmp(ACME, &host(n), 8), icmp(&host(n), ACME, 0)),
        ];
        for (question, answer) in exchanges {
            assert_eq!(verdict(&engine, &question), Verdict::Pass);
            assert_eq!(engine.run(Side::Uplink, &answer.frame()).unwrap(), Verdict::Pass);
        }
    }
    let watched = watched(&engine);
    for what in ["tcp_hosts", "udp_hosts", "pinged_hosts"] {
        let counts: Vec<_> = watched.counts.iter().filter(|count| count.what == what).collect();
        assert_eq!(counts.len(), 2, "{what}: {:?}", watched.counts);
        for count in counts {
            assert_eq!((count.attempted, count.answered), (20, 20), "{count:?}");
            assert_near(count.since, before, A_WHILE);
        }
    }
    assert_near(watched.seen, before, A_WHILE);
    assert_eq!(watched.measures, []);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn an_offence_is_told_with_its_time_and_its_end() {
    let mut engine = engine(&format!("{QUICK}measure = \"quarantine\"\nfor = \"1h\"\n"));
    let before = Timestamp::now();
    (0..4).for_each(|n| _ = verdict(&engine, &probe(ACME, n)));
    let offences = engine.take_offences();
    let after = Timestamp::now();
    let (at, until) = (offences[0].at, offences[0].until.unwrap());
    assert!(before - TICKS <= at && at <= after + TICKS, "{before} {at} {after}");
    assert_near(until, at + SignedDuration::from_hours(1), TICKS);
    let [(Measure::Quarantine, told)] = watched(&engine).measures[..] else {
        panic!("{:?}", watched(&engine))
    };
    assert_near(told, until, TICKS);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_measure_that_the_controller_takes_ends_when_it_should() {
    let engine = engine(WATCHING);
    let until = Timestamp::now() + SignedDuration::from_secs(2);
    engine.impose(&[quarantine(until)]);
    let mut held = 0;
    loop {
        let before = Timestamp::now();
        let verdict = verdict(&engine, &connect(1, 443));
        let after = Timestamp::now();
        if verdict == Verdict::Pass {
            assert!(after >= until - TICKS, "it ended {:?} early", until.duration_since(after));
            break;
        }
        held += 1;
        assert!(before <= until + TICKS, "it holds {:?} too long", before.duration_since(until));
        thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(held > 0);
    // The controller tells the kernel's ticks to within one.
    thread::sleep(TICKS.unsigned_abs());
    assert_eq!(watched(&engine).measures, []);
    // One that is over already is none; one that is not is told.
    engine.impose(&[quarantine(Timestamp::now() - SignedDuration::from_hours(1))]);
    assert_eq!(verdict(&engine, &connect(2, 443)), Verdict::Pass);
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    engine.impose(&[quarantine(later)]);
    assert_eq!(verdict(&engine, &connect(3, 443)), Verdict::Drop);
    let [(Measure::Quarantine, told)] = watched(&engine).measures[..] else {
        panic!("{:?}", watched(&engine))
    };
    assert_near(told, later, TICKS);
    assert_near(watched(&engine).seen, Timestamp::now(), A_WHILE);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn measures_are_held_back_for_as_long_as_it_was_said() {
    let mut engine = engine(&format!("{QUICK}measure = \"quarantine\"\nfor = \"1h\"\n"));
    engine.hold_measures(engine.now_ns() + 3_600 * SECOND_NS);
    (0..40).for_each(|n| assert_eq!(verdict(&engine, &probe(ACME, n)), Verdict::Pass));
    assert_eq!(engine.take_offences()[0].taken(), None);
    engine.hold_measures(engine.now_ns() - SECOND_NS);
    let outcomes: Vec<_> = (0..4).map(|n| verdict(&engine, &probe(SIBLING, n))).collect();
    assert_eq!(outcomes, [Verdict::Pass, Verdict::Pass, Verdict::Pass, Verdict::Drop]);
}
