//! What the kernel makes of the programs.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};

use fairway_tests::bench::in_force;
use gateway::config::{Forwarding, Side};
use gateway::dataplane::{Engine, ProgramClock};

use crate::{TENANTS, bench};

/// Instructions that the verifier may follow in a program: a million (Linux 5.2). How many it does differs with its
/// version, so there must be room. The queues of fair caps take Linux 6.1 two and a half times what they take later ones.
const BUDGET: u32 = 800_000;

/// The programs, with whoever forwards what passes.
fn engine(forwarding: Forwarding, clock: ProgramClock) -> Engine {
    let mut config = bench::config(TENANTS);
    config.gateway.forwarding = forwarding;
    Engine::detached(&in_force(&config), clock).unwrap()
}

/// Instructions that the verifier followed in a side's program (Linux 5.16 tells).
fn verified(engine: &Engine, side: Side) -> u32 {
    let fd = engine.program_fd(side).unwrap().as_fd().as_raw_fd();
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    told.lines().find_map(|line| line.strip_prefix("verified_insns:")).unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "needs root: BPF programs"]
fn other_verifiers_have_room_for_the_programs() {
    for forwarding in [Forwarding::Stack, Forwarding::Xdp] {
        let engine = engine(forwarding, ProgramClock::Kernel);
        for side in [Side::Tenant, Side::Uplink] {
            let verified = verified(&engine, side);
            // For `cargo xtask vm --keep`, past the test harness, which shows what a test prints only if it fails.
            let told = format!("\nverified: {side:?} side forwarding by {forwarding:?},{verified}\n");
            std::io::stderr().write_all(told.as_bytes()).unwrap();
            assert!((10_000..BUDGET).contains(&verified), "{side:?}, {forwarding:?}: {verified}");
        }
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn replays_send_nothing() {
    let verified = |forwarding, clock| verified(&engine(forwarding, clock), Side::Tenant);
    let [stack, xdp] = [Forwarding::Stack, Forwarding::Xdp];
    assert!(verified(xdp, ProgramClock::Kernel) > verified(stack, ProgramClock::Kernel));
    assert_eq!(verified(xdp, ProgramClock::Virtual), verified(stack, ProgramClock::Virtual));
}

/// What `cargo xtask vm --keep` wrote down.
const KEPT: &str = include_str!("../../../docs/performance/verifier.csv");

#[test]
fn every_kernel_that_is_tried_has_room() {
    let rows: Vec<Vec<&str>> = KEPT.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for release in gateway::dataplane::kernel::tried() {
        let of_release = rows.iter().filter(|row| row[0] == release);
        let work: Vec<u32> = of_release.map(|row| row[2].parse().unwrap()).collect();
        assert_eq!(work.len(), 4, "{release}: two sides, forwarding by the stack and by XDP");
        assert!(
            work.iter().all(|instructions| (10_000..BUDGET).contains(instructions)),
            "{release}: {work:?}"
        );
    }
}
