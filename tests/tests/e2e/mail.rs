//! M1 to M3: port 25 is closed both ways, opened by exemptions, and submission stays open.

use std::time::Duration;

use fairway_tests::mail::{Conversation, MailServer, Outcome, send};
use fairway_tests::topology::Plan;

use crate::{police, untagged};

/// An exemption that does not expire while anybody watches.
fn exemption(direction: &str, more: &str) -> String {
    format!(
        "[[smtp_exemption]]\ndirection = '{direction}'\nticket = 'T-1'\napproved_by = 'test'\n\
         expires = 2099-12-31\n{more}"
    )
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn port_25_is_closed_both_ways_tagged_or_not() {
    police(
        &Plan::default(),
        |_| {},
        |topology, gateway, _| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            for tenant in &topology.tenants {
                let inside = MailServer::start(&tenant.host.namespace, 25).unwrap();
                for (in_address, out_address) in
                    tenant.host.addresses().into_iter().zip(topology.internet.addresses())
                {
                    let out = outside.receive(&tenant.host.namespace, out_address).unwrap();
                    assert_eq!(out, Outcome::NoAnswer, "{} to {out_address}", tenant.id);
                    let back = inside.receive(&topology.internet.namespace, in_address).unwrap();
                    assert_eq!(back, Outcome::NoAnswer, "to {in_address} of {}", tenant.id);
                }
                for direction in ["up", "down"] {
                    let counters = gateway.counters(tenant.id, direction).unwrap();
                    assert!(counters.dropped_for("smtp_blocked").packets >= 2, "{}: {counters:?}", tenant.id);
                    assert_eq!(counters.dropped, counters.dropped_for("smtp_blocked"));
                }
            }
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn an_exemption_opens_its_direction_only() {
    let edit = |config: &mut fairway_tests::config::Config| {
        config.set_tenant("acme", &exemption("out", "")).set_tenant("beta", &exemption("in", ""));
    };
    police(&untagged(&["acme", "beta"]), edit, |topology, _, _| {
        let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
        let internet = &topology.internet;
        for (id, out, back) in
            [("acme", Outcome::Delivered, Outcome::NoAnswer), ("beta", Outcome::NoAnswer, Outcome::Delivered)]
        {
            let host = &topology.tenant(id).host;
            let inside = MailServer::start(&host.namespace, 25).unwrap();
            for (in_address, out_address) in host.addresses().into_iter().zip(internet.addresses()) {
                assert_eq!(outside.receive(&host.namespace, out_address).unwrap(), out, "from {id}");
                assert_eq!(inside.receive(&internet.namespace, in_address).unwrap(), back, "to {id}");
            }
        }
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn an_exemption_for_peers_opens_no_others() {
    let edit = |config: &mut fairway_tests::config::Config| {
        config.set_tenant("acme", &exemption("both", "peers = ['198.51.100.2/32', '2001:db8:fe::/48']"));
    };
    police(&untagged(&["acme"]), edit, |topology, _, _| {
        let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
        let acme = &topology.tenant("acme").host;
        let inside = MailServer::start(&acme.namespace, 25).unwrap();
        let [named, other] = topology.internet.addresses();
        assert_eq!(outside.receive(&acme.namespace, named).unwrap(), Outcome::Delivered);
        assert_eq!(outside.receive(&acme.namespace, other).unwrap(), Outcome::NoAnswer);
        let [from_named, from_other] = acme.addresses();
        assert_eq!(inside.receive(&topology.internet.namespace, from_named).unwrap(), Outcome::Delivered);
        assert_eq!(inside.receive(&topology.internet.namespace, from_other).unwrap(), Outcome::NoAnswer);
    });
}

/// Opens a connection to port 25 over each family under an exemption, and tells how they end when it expires;
/// afterwards, what becomes of new ones.
fn lapse_in_mid_connection(edit: impl FnOnce(&mut fairway_tests::config::Config)) -> [[Outcome; 2]; 2] {
    let mut seen = [[Outcome::Delivered; 2]; 2];
    police(&untagged(&["acme"]), edit, |topology, gateway, mut config| {
        let _outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
        let acme = &topology.tenant("acme").host.namespace;
        // Begins now, when everything else is there, so that a slow start takes nothing off it.
        let expiry = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(12);
        config.set_tenant("acme", &exemption("out", "").replace("2099-12-31", &expiry.to_string()));
        gateway.reload(&config).unwrap();
        let open = topology.internet.addresses().map(|address| Conversation::open(acme, address).unwrap());
        let ends = open.map(|conversation| conversation.end(Duration::from_secs(60)).unwrap());
        assert!(jiff::Timestamp::now() >= expiry, "they ended before the exemption did");
        let new = topology.internet.addresses().map(|address| send(acme, address, 25, "too late").unwrap());
        seen = [ends, new];
    });
    seen
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn an_exemption_that_expires_ends_open_connections_in_silence() {
    assert_eq!(lapse_in_mid_connection(|_| {}), [[Outcome::NoAnswer; 2]; 2]);
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn an_exemption_that_expires_resets_open_connections_where_refusals_are_told() {
    let refusing = |config: &mut fairway_tests::config::Config| {
        // In native mode acme's server would need a program of its own; see `refusing`.
        config.set("smtp.refuse = 'reset'").set_interfaces("mode", "generic");
    };
    assert_eq!(lapse_in_mid_connection(refusing), [[Outcome::Refused; 2]; 2]);
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn submission_is_open_unless_closed_for_a_tenant() {
    let edit = |config: &mut fairway_tests::config::Config| {
        config.set_tenant("beta", "submission = 'block'");
    };
    police(&untagged(&["acme", "beta"]), edit, |topology, _, _| {
        let (acme, beta) = (&topology.tenant("acme").host, &topology.tenant("beta").host);
        for port in [465, 587, 2525] {
            let server = MailServer::start(&topology.internet.namespace, port).unwrap();
            for address in topology.internet.addresses() {
                assert_eq!(server.receive(&acme.namespace, address).unwrap(), Outcome::Delivered, "{port}");
                assert_eq!(server.receive(&beta.namespace, address).unwrap(), Outcome::NoAnswer, "{port}");
            }
        }
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn the_relay_is_reachable_for_those_who_rent_it() {
    let edit = |config: &mut fairway_tests::config::Config| {
        config.set("smtp = { relays = ['198.51.100.2/32'] }").set_tenant("acme", "relay = true");
    };
    police(&untagged(&["acme", "beta"]), edit, |topology, _, _| {
        let relay = MailServer::start(&topology.internet.namespace, 25).unwrap();
        let [address, elsewhere] = topology.internet.addresses();
        let (acme, beta) = (&topology.tenant("acme").host, &topology.tenant("beta").host);
        assert_eq!(relay.receive(&acme.namespace, address).unwrap(), Outcome::Delivered);
        assert_eq!(relay.receive(&acme.namespace, elsewhere).unwrap(), Outcome::NoAnswer);
        assert_eq!(relay.receive(&beta.namespace, address).unwrap(), Outcome::NoAnswer);
    });
}
