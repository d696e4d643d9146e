//! A suspended tenant: a browser-like client on its server reaches the walled garden and nothing else.

use std::net::SocketAddr;

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::topology::Topology;
use fairway_tests::web::{self, WebServer};

use crate::{police, untagged};

/// Addresses of the provider's support portal, out on the Internet side.
pub(crate) const PORTAL: [&str; 2] = ["198.51.100.80", "2001:db8:ff::80"];

pub(crate) const WEB_PORT: u16 = 8080;

pub(crate) fn add_portal(topology: &Topology) {
    for (address, length) in PORTAL.into_iter().zip([24, 64]) {
        topology.internet.namespace.add_address("eth0", address.parse().unwrap(), length).unwrap();
    }
}

pub(crate) fn with_garden(config: &mut Config) {
    config.set("walled_garden.hosts = ['198.51.100.80/32', '2001:db8:ff::80/128']");
}

/// Whether acme's client gets the page from each of these addresses.
fn reaches(topology: &Topology, addresses: [std::net::IpAddr; 2]) -> [bool; 2] {
    let acme = &topology.tenant("acme").host.namespace;
    addresses.map(|address| web::get(acme, SocketAddr::new(address, WEB_PORT), "/").is_ok())
}

fn assert_reaches(topology: &Topology, garden: bool, others: bool) {
    assert_eq!(reaches(topology, PORTAL.map(|address| address.parse().unwrap())), [garden; 2], "the garden");
    assert_eq!(reaches(topology, topology.internet.addresses()), [others; 2], "other hosts");
}

fn command(gateway: &Gateway<'_>, words: &[&str]) {
    gateway.call(words).unwrap().success().unwrap();
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_suspended_tenant_reaches_only_the_garden() {
    police(&untagged(&["acme", "beta"]), with_garden, |topology, gateway, _| {
        add_portal(topology);
        let _web = WebServer::start(&topology.internet.namespace, WEB_PORT).unwrap();
        assert_reaches(topology, true, true);

        command(gateway, &["suspend", "acme", "--scope", "everything", "--reason", "test"]);
        assert_reaches(topology, true, false);
        let beta = &topology.tenant("beta").host.namespace;
        let elsewhere = SocketAddr::new(topology.internet.addresses()[0], WEB_PORT);
        assert!(web::get(beta, elsewhere, "/").is_ok(), "the neighbour is left alone");
        let dropped = gateway.counters("acme", "up").unwrap().dropped_for("suspended");
        assert!(dropped.packets > 0);

        // With the controller gone, and under the next one.
        gateway.kill().unwrap();
        assert_reaches(topology, true, false);
        gateway.launch().unwrap();
        assert_reaches(topology, true, false);

        command(gateway, &["restore", "acme", "--reason", "test"]);
        assert_reaches(topology, true, true);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_tenant_that_may_not_open_connections_still_serves() {
    police(&untagged(&["acme"]), with_garden, |topology, gateway, _| {
        add_portal(topology);
        let _outside = WebServer::start(&topology.internet.namespace, WEB_PORT).unwrap();
        let acme = &topology.tenant("acme").host;
        let _inside = WebServer::start(&acme.namespace, WEB_PORT).unwrap();
        command(gateway, &["suspend", "acme", "--scope", "outbound", "--reason", "test"]);
        assert_reaches(topology, true, false);
        for address in acme.addresses() {
            let page = web::get(&topology.internet.namespace, SocketAddr::new(address, WEB_PORT), "/");
            assert_eq!(page.unwrap(), web::PAGE, "{address}");
        }
    });
}
