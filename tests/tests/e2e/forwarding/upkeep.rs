//! Where forwarding by XDP works and where not, as controllers, tables and interfaces come and go.

use std::time::Duration;

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::run::wait_for;
use fairway_tests::topology::{HOST_INTERFACE, Topology, UPLINK};
use fairway_tests::vlan::ReceivingEnd;

use super::{deliver, forward, forwarded};
use crate::untagged;

/// Whether an interface of the router has a program.
fn is_policed(topology: &Topology, interface: &str) -> bool {
    let told = topology.router.run(&["ip", "-details", "link", "show", "dev", interface]).unwrap();
    told.contains("prog/xdp")
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn packets_to_new_neighbours_arrive_and_policing_outlives_the_controller() {
    forward(
        &untagged(&["acme"]),
        |config| {
            config.set("gateway.on_stop = 'keep'");
        },
        |topology, gateway, _| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            deliver(acme, internet, 2);
            // What is in use at that moment stays, and `ip` complains of it.
            let flush = || topology.router.ip("neighbour flush all").ok();
            wait_for("no neighbours", Duration::from_secs(10), flush).unwrap();
            deliver(acme, internet, 1);
            deliver(internet, acme, 1);
            let before = forwarded(gateway, "t-acme");
            gateway.kill().unwrap();
            deliver(acme, internet, 50);
            gateway.launch().unwrap();
            assert_eq!(forwarded(gateway, "t-acme"), before + 100, "counted while nobody looked");
            deliver(acme, internet, 10);
            assert_eq!(forwarded(gateway, "t-acme"), before + 120);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn larger_tables_forward_too() {
    forward(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, bed| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            deliver(acme, internet, 3);
            let before = forwarded(gateway, "t-acme");
            for index in 0..1_100 {
                let id = format!("t{index}");
                let prefix = format!("prefixes = ['198.18.{}.{}/32']", index / 256, index % 256);
                bed.config.set_tenant(&id, &format!("id = '{id}'\n{prefix}"));
            }
            gateway.reload(&bed.config).unwrap();
            assert!(gateway.log().contains("moved to larger tables"), "{}", gateway.log());
            assert_eq!(forwarded(gateway, "t-acme"), before);
            deliver(acme, internet, 5);
            assert_eq!(forwarded(gateway, "t-acme"), before + 10);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn interfaces_that_cannot_send_are_refused() {
    let topology = untagged(&["acme"]).build().unwrap();
    let acme = &topology.tenant("acme").host;
    let _end = ReceivingEnd::attach(&acme.namespace, HOST_INTERFACE).unwrap();
    let refused = |error: &anyhow::Error| {
        let message = format!("{error:#}");
        assert!(message.contains("forwarding by XDP on interface up0"), "{message}");
        assert!(message.contains("cannot send") && message.contains("gro on"), "{message}");
    };
    let mut config = Config::of(&topology);
    config.set("gateway = { forwarding = 'xdp', on_stop = 'keep' }");
    let Err(error) = Gateway::start(&topology.router, &config) else { panic!("up0 cannot send") };
    refused(&error);
    assert!(!is_policed(&topology, "t-acme") && !is_policed(&topology, UPLINK));

    // Nor does anything change where the stack forwards already.
    config.set("gateway.forwarding = 'stack'");
    let mut gateway = Gateway::start(&topology.router, &config).unwrap();
    gateway.stop().unwrap();
    config.set("gateway.forwarding = 'xdp'");
    gateway.write(&config).unwrap();
    refused(&gateway.launch().unwrap_err());
    assert!(is_policed(&topology, "t-acme") && is_policed(&topology, UPLINK));
    let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
    assert_eq!(outside.receive(&acme.namespace, topology.internet.ipv4.into()).unwrap(), Outcome::NoAnswer);

    // Once it can, a restart is all that it takes.
    let end = ReceivingEnd::attach(&topology.internet.namespace, HOST_INTERFACE).unwrap();
    gateway.launch().unwrap();
    deliver(acme, &topology.internet, 5);
    assert!(forwarded(&gateway, "t-acme") > 0);
    config.set("gateway.forwarding = 'stack'");
    let error = format!("{:#}", gateway.reload(&config).unwrap_err());
    assert!(error.contains("gateway.forwarding \"xdp\" -> \"stack\" cannot change"), "{error}");

    // Where it no longer can, a restart is refused again, and the stack forwards.
    gateway.stop().unwrap();
    drop(end);
    config.set("gateway.forwarding = 'xdp'");
    gateway.write(&config).unwrap();
    refused(&gateway.launch().unwrap_err());
    deliver(acme, &topology.internet, 5);
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn the_stack_takes_over_where_sending_ceased_to_work() {
    forward(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, bed| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            deliver(acme, internet, 2);
            bed.ends.pop();
            // The router is told of its own interface's changes.
            topology.router.ip(&format!("link set {UPLINK} mtu 1400")).unwrap();
            let text = "the stack forwards what would leave there";
            let logged = || gateway.log().contains(text).then_some(());
            wait_for(text, Duration::from_secs(30), logged).unwrap();
            let before = forwarded(gateway, "t-acme");
            deliver(acme, internet, 5);
            assert_eq!(forwarded(gateway, "t-acme"), before);

            let _end = ReceivingEnd::attach(&internet.namespace, HOST_INTERFACE).unwrap();
            topology.router.ip(&format!("link set {UPLINK} mtu 1500")).unwrap();
            let text = "packets are forwarded there by XDP";
            let logged = || (gateway.log().matches(text).count() >= 1).then_some(());
            wait_for(text, Duration::from_secs(30), logged).unwrap();
            deliver(acme, internet, 5);
            assert_eq!(forwarded(gateway, "t-acme"), before + 10);
        },
    );
}
