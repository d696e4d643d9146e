//! What the kernel makes of the programs.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

use fairway_tests::bench::in_force;
use gateway::config::{Forwarding, Side};
use gateway::dataplane::{Engine, ProgramClock};

use crate::{TENANTS, bench};

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
fn replays_send_nothing() {
    let verified = |forwarding, clock| verified(&engine(forwarding, clock), Side::Tenant);
    let [stack, xdp] = [Forwarding::Stack, Forwarding::Xdp];
    assert!(verified(xdp, ProgramClock::Kernel) > verified(stack, ProgramClock::Kernel));
    assert_eq!(verified(xdp, ProgramClock::Virtual), verified(stack, ProgramClock::Virtual));
}
