//! Fair caps on a virtual clock: which packets are one flow, and what that flow gets beside others.

use fairway_tests::frames::{Packet, datagram, number, packet, syn, udp};
use gateway::config::Side;
use gateway::dataplane::{DirectionCounters, Engine, ProgramClock, Verdict};
use gateway_ebpf::DropReason;

use crate::TENANTS;
use crate::bench::{Bench, START_NS, config, in_force};

const MS: u64 = 1_000_000;

/// Acme under 8 Mbit/s each way: a byte takes a microsecond.
const OWN: &str = "id = \"acme\"\ncap = { up = \"8 Mbit/s\", down = \"8 Mbit/s\" }";

fn tenants() -> String {
    format!("[cap]\nalgorithm = \"fair\"\n{}", TENANTS.replacen("id = \"acme\"", OWN, 1))
}

fn passes(bench: &mut Bench, side: Side, packet: &Packet) -> bool {
    bench.engine().run(side, &packet.frame()).unwrap() == Verdict::Pass
}

/// Offers a flow all at once until its queue is full: more drops in a row than there are signals.
fn fill(bench: &mut Bench, side: Side, packet: &Packet) {
    let mut dropped = 0;
    for _ in 0..3_000 {
        dropped = if passes(bench, side, packet) { 0 } else { dropped + 1 };
        if dropped == 10 {
            return;
        }
    }
    panic!("the queue never fills");
}

fn up(bench: &mut Bench) -> DirectionCounters {
    bench.engine().snapshot().tenants[0].up.clone()
}

#[test]
#[ignore = "needs root: BPF programs"]
fn flows_are_told_apart_by_addresses_protocol_and_ports() {
    const V4: (&str, &str) = ("203.0.113.1", "192.0.2.1");
    const V6: (&str, &str) = ("2001:db8:10::1", "2001:db8::9");
    let data = |(from, to): (&str, &str), ports| datagram(from, to, ports, 1_000);
    let piece = |(from, to): (&str, &str), ports, offset| {
        packet(from, to, number::UDP, udp(ports, 53, &[0; 1_000])).fragment(offset, true)
    };
    let bare = |(from, to): (&str, &str), protocol| packet(from, to, protocol, vec![8; 1_000]);
    for (from, to) in [V4, V6] {
        let side = Side::Tenant;
        let icmp = if from.contains(':') { number::ICMPV6 } else { 1 };
        let own = |ports| data((from, to), ports);
        // What fills a queue, what waits in the same one, what does not.
        let cases: [(&str, Packet, Packet, Packet); 5] = [
            ("ports", own((1, 53)), own((1, 53)), own((2, 53))),
            ("protocols", own((1, 53)), own((1, 53)), syn(from, to, 1, 53)),
            ("fragments", piece((from, to), 7, 0), piece((from, to), 9, 100), own((7, 53))),
            ("ICMP", bare((from, to), icmp), bare((from, to), icmp), own((1, 53))),
            // A tunnel is one flow, whatever is in it.
            ("GRE", bare((from, to), 47), bare((from, to), 47), own((1, 53))),
        ];
        for (name, filling, same, other) in cases {
            let mut bench = Bench::new(&tenants());
            fill(&mut bench, side, &filling);
            assert!(!passes(&mut bench, side, &same), "{name} {from}");
            assert!(passes(&mut bench, side, &other), "{name} {from}");
        }
    }
    // Each direction has queues of its own, and each tenant.
    let mut bench = Bench::new(&tenants());
    fill(&mut bench, Side::Tenant, &data(V4, (1, 53)));
    assert!(passes(&mut bench, Side::Uplink, &data((V4.1, V4.0), (53, 1))));
    assert!(passes(&mut bench, Side::Tenant, &data(("198.18.0.1", V4.1), (1, 53))));
    fill(&mut bench, Side::Uplink, &data((V6.1, V6.0), (53, 1)));
}

/// One that sends without end beside one that sends half of the cap.
#[test]
#[ignore = "needs root: BPF programs"]
fn a_blast_leaves_the_other_flow_its_half() {
    let mut bench = Bench::new(&tenants());
    let blast = datagram("203.0.113.1", "192.0.2.1", (1, 53), 958).frame();
    let modest = datagram("203.0.113.2", "192.0.2.1", (2, 53), 958).frame();
    assert_eq!(modest.len(), 1_000);
    // Frames of a millisecond at the cap, five and 0.6 times as fast, on a clock that ticks every 4 ms.
    let mut passed = [0_u64; 2];
    for step in 0..300_000_u64 {
        let now_ns = START_NS + step * MS / 10;
        bench.engine().set_clock(now_ns / (4 * MS) * (4 * MS));
        for (index, frame, every) in [(0, &blast, 2), (1, &modest, 17)] {
            let is_counted = step.is_multiple_of(every)
                && bench.engine().run(Side::Tenant, frame).unwrap() == Verdict::Pass
                && step >= 50_000;
            passed[index] += u64::from(is_counted);
        }
    }
    // In 25 s fit 25,000 frames.
    assert!(passed.iter().sum::<u64>().abs_diff(25_000) <= 25, "{passed:?}");
    assert!(passed.iter().all(|frames| frames.abs_diff(12_500) < 400), "{passed:?}");
    let up = up(&mut bench);
    let (met, dropped) = (up.over_cap(), up.dropped_total().packets);
    assert_eq!(met.signals + met.queue_full + met.credit_used, dropped);
    assert!(met.signals > 0 && met.queue_full > 0, "{met:?}");
    assert_eq!(up.dropped[0].0, DropReason::OverCap);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn the_long_run_rate_is_exact_for_short_and_long_frames() {
    for length in [18, 958, 1_472, 8_000] {
        // So many short ones are a flood to detection.
        let mut bench = Bench::new(&format!("[detect]\nmode = \"off\"\n{}", tenants()));
        let frame = datagram("203.0.113.1", "192.0.2.1", (1, 53), length).frame();
        let gap_ns = frame.len() as u64 * 1_000 * 2 / 3;
        let mut passed = 0;
        // After five seconds, for a minute.
        for step in 0..65_000 * MS / gap_ns {
            let now_ns = START_NS + step * gap_ns;
            bench.engine().set_clock(now_ns / (4 * MS) * (4 * MS));
            let is_passed = bench.engine().run(Side::Tenant, &frame).unwrap() == Verdict::Pass;
            passed += if is_passed && step * gap_ns >= 5_000 * MS { frame.len() as u64 } else { 0 };
        }
        assert!(passed.abs_diff(60_000_000) <= 60_000, "{passed} bytes in frames of {}", frame.len());
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn queues_outlast_a_reload_and_leave_with_their_tenant() {
    let frame = datagram("203.0.113.1", "192.0.2.1", (1, 53), 958);
    let mut bench = Bench::new(&tenants());
    fill(&mut bench, Side::Tenant, &frame);
    let before = up(&mut bench).queue_drops;
    assert!(before.signals > 0 && before.full > 0);
    bench.engine().apply(&in_force(&config(&tenants()))).unwrap();
    assert!(!passes(&mut bench, Side::Tenant, &frame));
    assert_eq!(up(&mut bench).queue_drops.full, before.full + 1);
    // A lower cap and a longer burst are in force at once: what was charged stays charged, as time.
    let [backlog, _] = bench.engine().backlogs("acme").unwrap().unwrap();
    assert_eq!(backlog.queues.len(), 1, "{backlog:?}");
    let slower = tenants().replacen("up = \"8 Mbit/s\"", "up = \"1 Mbit/s\"", 1);
    bench.engine().apply(&in_force(&config(&slower))).unwrap();
    assert!(!passes(&mut bench, Side::Tenant, &frame));
    bench.engine().set_clock(START_NS + 16 * MS);
    // Two frames of 8 ms each have drained; the second ends beyond the limit.
    let passed = (0..20).filter(|_| passes(&mut bench, Side::Tenant, &frame)).count();
    assert!((1..=3).contains(&passed), "{passed} frames");
    let others = TENANTS.split_once("[[tenant]]\nid = \"nested\"").unwrap().1;
    bench.engine().apply(&in_force(&config(&format!("[[tenant]]\nid = \"nested\"{others}")))).unwrap();
    bench.engine().apply(&in_force(&config(&tenants()))).unwrap();
    assert!(passes(&mut bench, Side::Tenant, &frame));
    assert_eq!(up(&mut bench).queue_drops, Default::default());
}

/// As a controller does that outgrows its tables.
#[test]
#[ignore = "needs root: BPF programs"]
fn larger_tables_take_the_queues_over() {
    let frame = datagram("203.0.113.1", "192.0.2.1", (1, 53), 958);
    let mut bench = Bench::new(&tenants());
    fill(&mut bench, Side::Tenant, &frame);
    let before = bench.engine().backlogs("acme").unwrap();
    let config = config(&tenants());
    let mut larger = Engine::detached(&in_force(&config), ProgramClock::Virtual).unwrap();
    larger.set_clock(START_NS);
    larger.take_over(bench.engine());
    assert_eq!(larger.backlogs("acme").unwrap(), before);
    bench.replace(config, larger);
    assert!(!passes(&mut bench, Side::Tenant, &frame));
}
