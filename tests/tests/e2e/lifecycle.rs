//! What is in force when the controller stops, crashes, comes back, or is bypassed.

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::topology::Topology;

use crate::{police, untagged};

/// What becomes of a mail on the closed port.
fn mail(topology: &Topology, outside: &MailServer) -> Outcome {
    let acme = &topology.tenant("acme").host.namespace;
    outside.receive(acme, topology.internet.addresses()[0]).unwrap()
}

fn assert_detached(topology: &Topology, gateway: &Gateway<'_>) {
    for interface in ["t-acme", "up0"] {
        let link = topology.router.run(&["ip", "-details", "link", "show", "dev", interface]).unwrap();
        assert!(!link.contains("xdp"), "{link}");
    }
    assert!(!gateway.pin_directory().exists());
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_stop_detaches_everything_where_the_operator_wants_that() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            gateway.stop().unwrap();
            assert_detached(topology, gateway);
            assert_eq!(mail(topology, &outside), Outcome::Delivered);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_stop_keeps_policing_by_default_until_detached() {
    let edit = |config: &mut Config| {
        config.set("gateway.on_stop = 'keep'");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
        gateway.stop().unwrap();
        assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
        gateway.detach().unwrap();
        assert_detached(topology, gateway);
        assert_eq!(mail(topology, &outside), Outcome::Delivered);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_crash_changes_nothing_and_the_next_start_takes_over() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            let blocked = |gateway: &Gateway<'_>| {
                gateway.counters("acme", "up").unwrap().dropped_for("smtp_blocked").packets
            };
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            let before = blocked(gateway);
            assert!(before > 0);
            gateway.kill().unwrap();
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            gateway.launch().unwrap();
            let meanwhile = blocked(gateway);
            assert!(meanwhile > before, "{before} before the crash, {meanwhile} after the return");
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            assert!(blocked(gateway) > meanwhile);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn detach_is_a_bypass_while_the_controller_runs() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            gateway.detach().unwrap();
            assert_detached(topology, gateway);
            assert_eq!(mail(topology, &outside), Outcome::Delivered);
        },
    );
}
