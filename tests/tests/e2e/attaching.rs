//! Every mode and link that the gateway is configured for, and none in silence.

use std::net::SocketAddr;

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::iperf::{self, Flow, Traffic};
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::namespace::Link;
use fairway_tests::packets::{self, Receiver};
use fairway_tests::topology::{Plan, Topology};

use crate::{police, untagged};

/// What is attached to one of the router's interfaces, as `ip` shows it.
fn attached(topology: &Topology, interface: &str) -> String {
    topology.router.run(&["ip", "-details", "link", "show", "dev", interface]).unwrap()
}

fn assert_policed(topology: &Topology, gateway: &Gateway<'_>) {
    let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
    for tenant in &topology.tenants {
        for address in topology.internet.addresses() {
            assert_eq!(outside.receive(&tenant.host.namespace, address).unwrap(), Outcome::NoAnswer);
        }
        let dropped = gateway.counters(tenant.id, "up").unwrap().dropped_for("smtp_blocked");
        assert!(dropped.packets >= 2, "{}: {dropped:?}", tenant.id);
    }
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn generic_mode_polices_tagged_links_too() {
    let edit = |config: &mut Config| {
        config.set_interfaces("mode", "generic");
    };
    police(&Plan::default(), edit, |topology, gateway, _| {
        assert!(attached(topology, "up0").contains("xdpgeneric"), "{}", attached(topology, "up0"));
        assert_policed(topology, gateway);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn jumbo_frames_are_policed_and_counted_whole() {
    let plan = Plan { link: Link { mtu: 9000, offloads: false }, ..Plan::default() };
    police(
        &plan,
        |_| {},
        |topology, gateway, _| {
            assert!(attached(topology, "up0").contains("prog/xdp"), "{}", attached(topology, "up0"));
            assert_policed(topology, gateway);
            let (acme, target) = (topology.tenant("acme"), SocketAddr::new(topology.internet.ipv4.into(), 9));
            let before = gateway.counters("acme", "up").unwrap().passed.bytes;
            let mut receiver = Receiver::listen(&topology.internet.namespace, target).unwrap();
            packets::send_datagrams(&acme.host.namespace, acme.host.ipv4.into(), target, 8972, 10).unwrap();
            receiver.wait_for(10).unwrap();
            assert_eq!(gateway.counters("acme", "up").unwrap().passed.bytes - before, 10 * 9014);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn segments_of_64_kb_are_held_to_the_cap_too() {
    let plan = Plan { link: Link { mtu: 1500, offloads: true }, ..untagged(&["acme"]) };
    police(
        &plan,
        |_| {},
        |topology, gateway, _| {
            assert_policed(topology, gateway);
            let internet = &topology.internet;
            let _server = iperf::serve(&internet.namespace, iperf::PORT).unwrap();
            let client = &topology.tenant("acme").host.namespace;
            let result = iperf::transfer(
                client,
                internet.ipv4.into(),
                iperf::PORT,
                Traffic::Tcp("cubic"),
                Flow::Upload,
                5,
            );
            let mbit_per_sec = result.unwrap().mbit_per_sec();
            assert!((1.0..10.6).contains(&mbit_per_sec), "{mbit_per_sec} Mbit/s");
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_mode_that_the_driver_lacks_is_refused_and_nothing_is_attached() {
    let topology = untagged(&["acme"]).build().unwrap();
    let mut config = Config::of(&topology);
    config.set("[[interface]]\nname = 'lo'\nside = 'tenant'");
    let Err(error) = Gateway::start(&topology.router, &config) else { panic!("loopback has no native XDP") };
    let message = format!("{error:#}");
    assert!(message.contains("attaching to lo ") && message.contains("native"), "{message}");
    for interface in ["t-acme", "up0"] {
        assert!(!attached(&topology, interface).contains("xdp"), "{}", attached(&topology, interface));
    }
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn an_interface_that_is_not_there_is_refused_and_nothing_is_attached() {
    let topology = untagged(&["acme"]).build().unwrap();
    let mut config = Config::of(&topology);
    config.set("[[interface]]\nname = 'nosuch0'\nside = 'uplink'");
    let Err(error) = Gateway::start(&topology.router, &config) else { panic!("there is no nosuch0") };
    assert!(format!("{error:#}").contains("nosuch0"), "{error:#}");
    for interface in ["t-acme", "up0"] {
        assert!(!attached(&topology, interface).contains("xdp"), "{}", attached(&topology, interface));
    }
}
