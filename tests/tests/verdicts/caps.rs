//! Caps as plain buckets on a virtual clock: exact to the packet (policy rule B1).

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fairway_tests::bench::in_force;
use fairway_tests::frames::datagram;
use gateway::config::Side;
use gateway::dataplane::{Engine, ProgramClock, Verdict};
use gateway_ebpf::DropReason;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::TENANTS;
use crate::bench::{Bench, START_NS, config};

const MS: u64 = 1_000_000;

const BUCKET: &str = "[cap]\nalgorithm = \"bucket\"\n";

fn tenants(cap: &str) -> String {
    let tenants = TENANTS.replacen("id = \"acme\"", &format!("id = \"acme\"\ncap = {cap}"), 1);
    format!("{BUCKET}{tenants}")
}

/// Offers a packet every `gap_ns` for `duration_ns`; says how many bytes passed.
fn offer(bench: &mut Bench, side: Side, frame: &[u8], from_ns: u64, duration_ns: u64, gap_ns: u64) -> u64 {
    let mut passed = 0;
    for now_ns in (from_ns..from_ns + duration_ns).step_by(gap_ns as usize) {
        bench.engine().set_clock(now_ns);
        if bench.engine().run(side, frame).unwrap() == Verdict::Pass {
            passed += frame.len() as u64;
        }
    }
    passed
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_greedy_sender_gets_the_cap_and_no_more() {
    let mut bench = Bench::new(&tenants("{ up = \"10 Mbit/s\", down = \"2 Mbit/s\" }"));
    let up = datagram("203.0.113.1", "192.0.2.1", (1, 2), 1_208).frame();
    let down = datagram("192.0.2.1", "203.0.113.1", (1, 2), 1_208).frame();
    assert_eq!(up.len(), 1_250);
    for (side, frame, bits_per_sec) in [(Side::Tenant, &up, 10_000_000_u64), (Side::Uplink, &down, 2_000_000)]
    {
        // First the burst of 350 ms at once, with the packet that crosses the line...
        let burst = offer(&mut bench, side, frame, START_NS, MS, 1_000);
        let least = bits_per_sec / 8 * 35 / 100;
        assert!((least..=least + 2 * 1_250).contains(&burst), "{burst} of {least}");
        // ...then exactly the rate: over ten seconds at twice the cap, to 1 %.
        let passed =
            offer(&mut bench, side, frame, START_NS + MS, 10_000 * MS, 10_000_000_000 / bits_per_sec * 500);
        let wanted = bits_per_sec / 8 * 10;
        assert!(passed.abs_diff(wanted) * 100 <= wanted, "{passed} of {wanted}");
    }
    let counters = bench.engine().snapshot().tenants[0].clone();
    assert_eq!(counters.id, "acme");
    for direction in [counters.up, counters.down] {
        assert_eq!(direction.dropped.len(), 1);
        assert_eq!(direction.dropped[0].0, DropReason::OverCap);
        assert!(direction.dropped[0].1.packets > 0);
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn tenants_and_directions_do_not_share_a_bucket() {
    let mut bench = Bench::new(&tenants("{ up = \"1 Mbit/s\" }"));
    let frame = datagram("203.0.113.1", "192.0.2.1", (1, 2), 1_208).frame();
    offer(&mut bench, Side::Tenant, &frame, START_NS, MS, 1_000);
    assert_eq!(bench.engine().run(Side::Tenant, &frame).unwrap(), Verdict::Drop);
    let others = [
        (Side::Tenant, datagram("2001:db8:20::1", "2001:db8::9", (1, 2), 8)),
        (Side::Uplink, datagram("192.0.2.1", "203.0.113.1", (1, 2), 8)),
    ];
    for (side, other) in others {
        assert_eq!(bench.engine().run(side, &other.frame()).unwrap(), Verdict::Pass);
    }
    // IPv6 of the same tenant is the same bucket.
    let same = datagram("2001:db8:10::1", "2001:db8::9", (1, 2), 8).frame();
    assert_eq!(bench.engine().run(Side::Tenant, &same).unwrap(), Verdict::Drop);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_blocked_packet_costs_no_bandwidth() {
    let mut bench = Bench::new(&tenants("{ up = \"1 Mbit/s\" }"));
    let mail = fairway_tests::frames::syn("203.0.113.1", "192.0.2.25", 1, 25).frame();
    for _ in 0..10_000 {
        assert_eq!(bench.engine().run(Side::Tenant, &mail).unwrap(), Verdict::Drop);
    }
    let web = datagram("203.0.113.1", "192.0.2.1", (1, 2), 1_000).frame();
    assert_eq!(bench.engine().run(Side::Tenant, &web).unwrap(), Verdict::Pass);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn an_own_burst_is_kept() {
    let config =
        tenants("{ up = \"8 Mbit/s\" }").replacen("id = \"acme\"", "id = \"acme\"\nburst = \"100ms\"", 1);
    let mut bench = Bench::new(&config);
    let frame = datagram("203.0.113.1", "192.0.2.1", (1, 2), 958).frame();
    assert_eq!(frame.len(), 1_000);
    // 100 ms of 8 Mbit/s are 100 frames of 1,000 bytes; the one that crosses the line passes.
    assert_eq!(offer(&mut bench, Side::Tenant, &frame, START_NS, 200, 1), 101_000);
}

/// On the kernel's clock, whose jiffies no system call tells: a controller that read another one would see a
/// backlog of days, or none.
#[test]
#[ignore = "needs root: BPF programs"]
fn the_backlog_is_told_as_the_programs_see_it() {
    let own = "id = \"acme\"\nburst = \"10s\"\ncap = { up = \"64 kbit/s\", down = \"8 kbit/s\" }";
    let tenants = format!("{BUCKET}{}", TENANTS.replacen("id = \"acme\"", own, 1));
    let engine = Engine::detached(&in_force(&config(&tenants)), ProgramClock::Kernel).unwrap();
    let totals = || engine.backlogs("acme").unwrap().unwrap().map(|backlog| backlog.total);
    assert_eq!(totals(), [Duration::ZERO; 2]);
    // 8,000 bytes are a second of 64 kbit/s.
    for _ in 0..8 {
        engine.run(Side::Tenant, &datagram("203.0.113.1", "192.0.2.1", (1, 2), 958).frame()).unwrap();
    }
    let [up, down] = totals();
    assert!(up <= Duration::from_secs(1), "{up:?}");
    assert_eq!(down, Duration::ZERO);
    while engine.snapshot().tenants[0].up.dropped.is_empty() {
        engine.run(Side::Tenant, &datagram("203.0.113.1", "192.0.2.1", (1, 2), 958).frame()).unwrap();
    }
    let [up, _] = totals();
    // Over the burst by a frame at most, less what has drained since, on however busy a machine.
    assert!((Duration::from_secs(5)..Duration::from_millis(10_250)).contains(&up), "{up:?}");
    assert_eq!(engine.backlogs("nobody").unwrap(), None);
}

/// Every CPU hammers one tenant's bucket, on the kernel's clock. The burst of five seconds lets a thread
/// that was not scheduled for a while catch up, so a busy machine changes nothing: the rate is what is
/// judged.
#[test]
#[ignore = "needs root: BPF programs"]
fn all_cpus_together_hold_the_cap_to_one_percent() {
    hammer(BUCKET);
}

/// The same with a queue that they all fill.
#[test]
#[ignore = "needs root: BPF programs"]
fn all_cpus_together_hold_a_fair_cap_to_one_percent() {
    hammer("[cap]\nalgorithm = \"fair\"\n");
}

fn hammer(algorithm: &str) {
    let tenants = TENANTS.replacen("id = \"acme\"", "id = \"acme\"\nburst = \"5s\"", 1);
    let config = config(&format!("{algorithm}{tenants}"));
    let engine = Engine::detached(&in_force(&config), ProgramClock::Kernel).unwrap();
    let frame = datagram("203.0.113.1", "192.0.2.1", (1, 2), 1_208).frame();
    let bytes_passed = || engine.snapshot().tenants[0].up.passed.bytes;
    let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let done = AtomicBool::new(false);
    let (bytes, elapsed) = thread::scope(|scope| {
        for cpu in 0..cpus {
            let (engine, frame, done) = (&engine, &frame, &done);
            scope.spawn(move || {
                let mut only = CpuSet::new();
                only.set(cpu).unwrap();
                sched_setaffinity(Pid::from_raw(0), &only).unwrap();
                while !done.load(Relaxed) {
                    engine.run(Side::Tenant, frame).unwrap();
                }
            });
        }
        let exhausted = Instant::now() + Duration::from_secs(60);
        // A fair cap gives signals long before.
        let is_exhausted = || {
            let met = engine.snapshot().tenants[0].up.over_cap();
            met.queue_full + met.credit_used > 0
        };
        while !is_exhausted() {
            assert!(Instant::now() < exhausted, "the cap never bites");
            thread::sleep(Duration::from_millis(1));
        }
        let (start, before) = (Instant::now(), bytes_passed());
        thread::sleep(Duration::from_secs(10));
        let measured = (bytes_passed() - before, start.elapsed());
        done.store(true, Relaxed);
        measured
    });
    let wanted = 1_250_000.0 * elapsed.as_secs_f64();
    let off = bytes as f64 / wanted - 1.0;
    println!("{cpus} CPUs: {bytes} bytes in {elapsed:?}, {:+.3} % off the cap", off * 100.0);
    assert!(off.abs() <= 0.01, "{bytes} bytes, wanted {wanted}");
}
