//! Samples of dropped packets: what the controller is told, and that no flood hides a packet.

use fairway_tests::bench::in_force;
use fairway_tests::frames::{datagram, syn};
use gateway::config::Side;
use gateway::dataplane::{Engine, Event, EventCounters, EventKind, Verdict};
use gateway_ebpf::abi::{self, EVENT_RING_BYTES, EVENT_TAIL_BYTES};
use gateway_ebpf::{Direction, DropReason};

use crate::TENANTS;
use crate::bench::{Bench, START_NS, config};

const ACME4: &str = "203.0.113.1";
const NESTED4: &str = "198.18.0.1";
const NOBODY4: &str = "192.0.2.66";
const MX4: &str = "192.0.2.25";

/// Samples in a second, as long as the programs take it to be, and the time that each has.
const BURST: usize = 5;
const INTERVAL_NS: u64 = (1 << 30) / 5;

fn drop_times(engine: &Engine, side: Side, frame: &[u8], times: usize) {
    for _ in 0..times {
        assert_eq!(engine.run(side, frame).unwrap(), Verdict::Drop);
    }
}

/// Tenant, direction and reason of every event.
fn told(events: &[Event]) -> Vec<(Option<&str>, Direction, DropReason)> {
    let one = |event: &Event| match event.kind {
        EventKind::Drop(reason, _) => reason,
        EventKind::Suspect(_) => panic!("nobody is suspected here: {event:?}"),
    };
    events.iter().map(|event| (event.tenant.as_deref(), event.direction, one(event))).collect()
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_sample_tells_what_was_dropped_and_when() {
    let mut bench = Bench::new(TENANTS);
    let engine = bench.engine();
    engine.run(Side::Tenant, &syn(ACME4, MX4, 4_000, 80).frame()).unwrap();
    assert_eq!(engine.take_events(), [], "what passes leaves no trace");

    let short = syn(ACME4, MX4, 4_000, 25).frame();
    let long = datagram(NOBODY4, MX4, (1, 53), 400).frame();
    drop_times(engine, Side::Tenant, &short, 1);
    engine.set_clock(START_NS + 1);
    drop_times(engine, Side::Tenant, &long, 1);
    drop_times(engine, Side::Uplink, &syn(MX4, ACME4, 4_000, 25).frame(), 1);
    let events = engine.take_events();
    assert_eq!(
        told(&events),
        [
            (Some("acme"), Direction::Up, DropReason::SmtpBlocked),
            (None, Direction::Up, DropReason::UnknownSource),
            (Some("acme"), Direction::Down, DropReason::SmtpBlocked),
        ]
    );
    for (event, (frame, at_ns)) in events.iter().zip([(&short, START_NS), (&long, START_NS + 1)]) {
        let EventKind::Drop(_, packet) = &event.kind else { panic!("a drop: {event:?}") };
        assert_eq!(event.at.as_nanosecond(), i128::from(at_ns));
        assert_eq!(packet.frame_bytes as usize, frame.len());
        assert_eq!(packet.head, frame[..frame.len().min(EVENT_TAIL_BYTES)]);
        assert_eq!(packet.ifindex, 1);
    }
    assert_eq!(engine.take_events(), [], "each is told once");
    assert_eq!(engine.event_counters(), EventCounters::default());
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_flood_crowds_out_nobody_elses_samples() {
    let mut bench = Bench::new(TENANTS);
    let engine = bench.engine();
    drop_times(engine, Side::Tenant, &syn(ACME4, MX4, 4_000, 25).frame(), 10_000);
    drop_times(engine, Side::Tenant, &syn(NOBODY4, MX4, 4_000, 80).frame(), 10_000);
    drop_times(engine, Side::Tenant, &syn(NESTED4, MX4, 4_000, 25).frame(), 1);
    drop_times(engine, Side::Uplink, &syn(MX4, ACME4, 4_000, 25).frame(), 1);
    let events = engine.take_events();
    let (acme, nobody, others) = (&events[..BURST], &events[BURST..2 * BURST], told(&events[2 * BURST..]));
    assert!(told(acme).iter().all(|told| told.0 == Some("acme")));
    assert!(told(nobody).iter().all(|told| told.0.is_none()));
    let blocked = DropReason::SmtpBlocked;
    assert_eq!(others, [(Some("nested"), Direction::Up, blocked), (Some("acme"), Direction::Down, blocked)]);
    let suppressed = 2 * (10_000 - BURST as u64);
    assert_eq!(engine.event_counters(), EventCounters { lost: 0, suppressed });

    // The allowance comes back with the next second.
    engine.set_clock(START_NS + BURST as u64 * INTERVAL_NS);
    drop_times(engine, Side::Tenant, &syn(ACME4, MX4, 4_000, 25).frame(), 100);
    assert_eq!(engine.take_events().len(), BURST);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_tenant_over_its_cap_still_shows_its_mail() {
    let mut bench = Bench::new(TENANTS);
    let engine = bench.engine();
    let flood = datagram(ACME4, MX4, (1, 9), 1_400).frame();
    for _ in 0..1_000 {
        engine.run(Side::Tenant, &flood).unwrap();
    }
    drop_times(engine, Side::Tenant, &syn(ACME4, MX4, 4_000, 25).frame(), 1);
    let events = engine.take_events();
    let expected = [vec![DropReason::OverCap; BURST], vec![DropReason::SmtpBlocked]].concat();
    assert_eq!(told(&events).into_iter().map(|told| told.2).collect::<Vec<_>>(), expected);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn what_nobody_reads_is_lost_and_counted() {
    let mut bench = Bench::new(TENANTS);
    let engine = bench.engine();
    let frame = syn(ACME4, MX4, 4_000, 25).frame();
    // The kernel puts a header of eight bytes before each.
    let room = u64::from(EVENT_RING_BYTES) / (size_of::<abi::Event>() as u64 + 8);
    for sent in 0..room + 100 {
        engine.set_clock(START_NS + sent * INTERVAL_NS);
        drop_times(engine, Side::Tenant, &frame, 1);
    }
    let lost = engine.event_counters().lost;
    assert!((100..=102).contains(&lost), "{lost}");
    assert_eq!(engine.take_events().len() as u64, room + 100 - lost);
    // A CPU that found no room looks again when time has gone on.
    engine.set_clock(START_NS + (room + 100) * INTERVAL_NS);
    drop_times(engine, Side::Tenant, &frame, 1);
    assert_eq!(engine.event_counters().lost, lost, "there is room again");
    assert_eq!(engine.take_events().len(), 1);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn an_event_keeps_its_tenant_when_the_slot_goes_to_another() {
    let mut bench = Bench::new(TENANTS);
    let engine = bench.engine();
    drop_times(engine, Side::Tenant, &syn(ACME4, MX4, 4_000, 25).frame(), 1);
    let newcomer = TENANTS.replacen("acme", "newcomer", 1);
    engine.apply(&in_force(&config(&newcomer))).unwrap();
    // The slot that acme had has been given up; the next newcomer takes it.
    engine.apply(&in_force(&config(&newcomer.replacen("nested", "another", 1)))).unwrap();
    drop_times(engine, Side::Tenant, &syn(NESTED4, MX4, 4_000, 25).frame(), 1);
    let blocked = DropReason::SmtpBlocked;
    assert_eq!(
        told(&engine.take_events()),
        [(Some("acme"), Direction::Up, blocked), (Some("another"), Direction::Up, blocked)]
    );
}
