//! Closed ports that answer: a tenant's program learns at once what it has met.
//!
//! A veth in native mode delivers what XDP sends back only to an end with an XDP program of its own
//! (veth_xdp_flush in drivers/net/veth.c), which is why acme's server gets one for that test.

use std::time::{Duration, Instant};

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::mail::{MailServer, Outcome, send};
use fairway_tests::topology::{HOST_INTERFACE, Topology};
use fairway_tests::vlan::ReceivingEnd;

use crate::{police, untagged};

fn refusing(config: &mut Config) {
    config.set("smtp.refuse = 'reset'");
}

/// Acme sends mail to the Internet: refused, and faster than any attempt to connect is given up.
fn assert_refused(topology: &Topology, gateway: &Gateway<'_>) {
    let _outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
    let acme = &topology.tenant("acme").host.namespace;
    for address in topology.internet.addresses() {
        let began = Instant::now();
        assert_eq!(send(acme, address, 25, "closed").unwrap(), Outcome::Refused, "{address}");
        assert!(began.elapsed() < Duration::from_secs(3), "refused at last, not at once");
    }
    let dropped = gateway.counters("acme", "up").unwrap().dropped_for("smtp_blocked");
    assert!(dropped.packets >= 2, "counted as dropped all the same");
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_mail_program_is_refused_at_once_in_generic_mode() {
    let edit = |config: &mut Config| {
        refusing(config);
        config.set_interfaces("mode", "generic");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| assert_refused(topology, gateway));
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_mail_program_is_refused_at_once_in_native_mode() {
    police(&untagged(&["acme"]), refusing, |topology, gateway, _| {
        let acme = &topology.tenant("acme").host.namespace;
        let _end = ReceivingEnd::attach(acme, HOST_INTERFACE).unwrap();
        assert_refused(topology, gateway);
    });
}
