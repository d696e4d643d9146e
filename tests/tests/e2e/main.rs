//! End to end: real programs in network namespaces, with the gateway between them. One module a promise.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fall over as the test itself may")]

mod anywhere;
mod attaching;
mod bed;
mod caps;
mod counting;
mod detection;
mod doctor;
mod explain;
mod forwarding;
mod fragments;
mod handover;
mod interfaces;
mod killing;
mod ladders;
mod lifecycle;
mod mail;
mod ports;
mod refusing;
mod reloading;
mod rises;
mod sharing;
mod suspension;

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::topology::{Plan, Topology};

/// Builds a network, polices it by an edited configuration, and runs a test in it.
fn police(
    plan: &Plan,
    edit: impl FnOnce(&mut Config),
    test: impl FnOnce(&Topology, &mut Gateway<'_>, Config),
) {
    let topology = plan.build().unwrap();
    let mut config = Config::of(&topology);
    edit(&mut config);
    let mut gateway = Gateway::start(&topology.router, &config).unwrap();
    test(&topology, &mut gateway, config);
}

/// A network of these untagged tenants.
fn untagged(ids: &[&'static str]) -> Plan {
    Plan { tenants: ids.iter().map(|id| (*id, None)).collect(), ..Plan::default() }
}
