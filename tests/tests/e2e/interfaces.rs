//! Interfaces vanish, return, are renamed and changed under a running gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use fairway_tests::gateway::Gateway;
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::namespace::Link;
use fairway_tests::run::wait_for;
use fairway_tests::topology::{HOST_INTERFACE, Topology};

use crate::{police, untagged};

const TENANT: &str = "t-acme";

/// Makes the cable to acme anew, as it was.
fn reconnect(topology: &Topology) {
    let (router, host) = (&topology.router, &topology.tenant("acme").host);
    let link = Link { mtu: 1500, offloads: false };
    router.connect(TENANT, &host.namespace, HOST_INTERFACE, link).unwrap();
    // The router has the address before the host's.
    let gateways: [IpAddr; 2] = [
        Ipv4Addr::from_bits(host.ipv4.to_bits() - 1).into(),
        Ipv6Addr::from_bits(host.ipv6.to_bits() - 1).into(),
    ];
    for (gateway, (address, length)) in gateways.into_iter().zip(host.addresses().into_iter().zip([28, 64])) {
        router.add_address(TENANT, gateway, length).unwrap();
        host.namespace.add_address(HOST_INTERFACE, address, length).unwrap();
        host.namespace.ip(&format!("route add default via {gateway}")).unwrap();
    }
}

/// What becomes of acme's mail on the closed port.
fn mail(topology: &Topology, outside: &MailServer) -> Outcome {
    let acme = &topology.tenant("acme").host.namespace;
    outside.receive(acme, topology.internet.addresses()[0]).unwrap()
}

fn blocked(gateway: &Gateway<'_>) -> u64 {
    gateway.counters("acme", "up").unwrap().dropped_for("smtp_blocked").packets
}

fn wait_until_attached(gateway: &Gateway<'_>, expected: bool) {
    let attached = || (gateway.interface(TENANT).ok()?["attached"] == expected).then_some(());
    let waited = wait_for("the interface", Duration::from_secs(10), attached);
    waited.unwrap_or_else(|error| panic!("{error:#}\n{}", gateway.log()));
    let metric = gateway.metrics().unwrap().sum("fairway_interface_attached", &[("interface", TENANT)]);
    assert_eq!(metric, f64::from(u8::from(expected)));
}

fn wait_until_logged(gateway: &Gateway<'_>, text: &str) {
    wait_until_logged_times(gateway, text, 1);
}

fn wait_until_logged_times(gateway: &Gateway<'_>, text: &str, times: usize) {
    let logged = || (gateway.log().matches(text).count() >= times).then_some(());
    let waited = wait_for(text, Duration::from_secs(30), logged);
    waited.unwrap_or_else(|error| panic!("{error:#}\n{}", gateway.log()));
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn an_interface_that_is_made_anew_is_policed_again_and_counts_on() {
    police(
        &untagged(&["acme", "beta"]),
        |_| {},
        |topology, gateway, config| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            let control = |gateway: &Gateway<'_>| {
                gateway.interface(TENANT).unwrap()["link_control"]["packets"].as_u64().unwrap()
            };
            let (before, control_before) = (blocked(gateway), control(gateway));
            assert!(before > 0 && control_before > 0, "{before} packets, {control_before} of link control");

            topology.router.ip(&format!("link del {TENANT}")).unwrap();
            wait_until_attached(gateway, false);
            wait_until_logged(gateway, "t-acme vanished");
            assert_eq!(control(gateway), control_before, "what was counted is not forgotten");
            let beta = &topology.tenant("beta").host.namespace;
            let address = topology.internet.addresses()[0];
            assert_eq!(outside.receive(beta, address).unwrap(), Outcome::NoAnswer);
            // Networks far apart need larger tables.
            let mut grown = config;
            for index in 0..200 {
                let id = format!("t{index}");
                grown.set_tenant(
                    &id,
                    &format!("id = '{id}'\nprefixes = ['10.{index}.0.0/28']\ncontact = 'a@b.example'"),
                );
            }
            gateway.reload(&grown).unwrap();
            wait_until_logged(gateway, "moved to larger tables");
            wait_until_logged(gateway, "not there, and policed as soon as they are: t-acme");
            assert_eq!(control(gateway), control_before, "nor lost on the way to other tables");

            reconnect(topology);
            wait_until_attached(gateway, true);
            wait_until_logged(gateway, "t-acme is policed again");
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            assert!(blocked(gateway) > before);
            assert!(control(gateway) > control_before, "the counters of the interface go on");
            // One link a policed interface: none is left of the one that is gone.
            let links = std::fs::read_dir(gateway.pin_directory()).unwrap();
            let links =
                links.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("link"));
            assert_eq!(links.count(), 3);
        },
    );
}

/// The kernel tells nobody of it.
#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_program_that_is_taken_off_is_back_within_seconds_and_reported() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            let before = blocked(gateway);
            let links = || {
                let pins =
                    std::fs::read_dir(gateway.pin_directory()).unwrap().map(|entry| entry.unwrap().path());
                let is_link =
                    |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().contains("link");
                pins.filter(is_link).collect::<Vec<_>>()
            };
            assert_eq!(links().len(), 2);
            // Without its pin a link ends.
            links().into_iter().for_each(|link| std::fs::remove_file(link).unwrap());
            wait_until_logged(gateway, "t-acme WAS NOT POLICED for up to ");
            wait_until_logged(gateway, "up0 WAS NOT POLICED for up to ");
            assert_eq!(links().len(), 2);
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            assert!(blocked(gateway) > before, "the counters go on");
            wait_until_attached(gateway, true);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_renamed_interface_stays_policed_and_is_missed() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, config| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            let rename = |from: &str, to: &str| {
                for change in [format!("{from} down"), format!("{from} name {to}"), format!("{to} up")] {
                    topology.router.ip(&format!("link set {change}")).unwrap();
                }
            };
            rename(TENANT, "wan7");
            wait_until_attached(gateway, false);
            wait_until_logged(gateway, "t-acme was renamed to wan7");
            let before = blocked(gateway);
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            assert!(blocked(gateway) > before);
            gateway.reload(&config).unwrap();
            let before = blocked(gateway);
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            assert!(blocked(gateway) > before, "a reload does not let go of it");

            rename("wan7", TENANT);
            wait_until_attached(gateway, true);
            let before = blocked(gateway);
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            assert!(blocked(gateway) > before);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn other_changes_are_told_and_what_they_break_too() {
    police(
        &untagged(&["acme"]),
        |config| {
            config.set_tenant("acme", "vlan = 110");
        },
        |topology, gateway, _| {
            // This breaks something at the latest when the gateway looks for the first time.
            topology.router.run(&["ethtool", "-K", TENANT, "rxvlan", "on"]).unwrap();
            wait_until_logged(gateway, "To mend it: ethtool -K t-acme rxvlan off");
            topology.router.ip(&format!("link set {TENANT} mtu 1400")).unwrap();
            wait_until_logged(gateway, "t-acme MTU 1500 -> 1400");
            topology.router.run(&["ethtool", "-K", TENANT, "rxvlan", "off"]).unwrap();
            wait_until_logged(gateway, "t-acme rx-vlan-hw-parse on -> off");
            topology.router.run(&["ethtool", "-K", TENANT, "rxvlan", "on"]).unwrap();
            wait_until_logged(gateway, "t-acme rx-vlan-hw-parse off -> on");
            wait_until_logged_times(gateway, "To mend it: ethtool -K t-acme rxvlan off", 2);
            wait_until_attached(gateway, true);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn the_bypass_stays_a_bypass_whatever_interfaces_do() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, config| {
            gateway.detach().unwrap();
            wait_until_attached(gateway, false);
            topology.router.ip(&format!("link del {TENANT}")).unwrap();
            wait_until_logged(gateway, "t-acme interface: does not exist");
            reconnect(topology);
            wait_until_logged(gateway, "t-acme appeared");
            topology.router.ip(&format!("link set {TENANT} mtu 1400")).unwrap();
            wait_until_logged(gateway, "t-acme MTU 1500 -> 1400");
            gateway.reload(&config).unwrap();
            let link = topology.router.run(&["ip", "link", "show", "dev", TENANT]).unwrap();
            assert!(!link.contains("xdp"), "{link}");
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            assert_eq!(mail(topology, &outside), Outcome::Delivered);
            wait_until_attached(gateway, false);
        },
    );
}
