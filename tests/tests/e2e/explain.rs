//! `fairway explain`: whoever asks why packets are dropped gets the answer, with the packets.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::packets;
use fairway_tests::topology::Topology;
use serde_json::Value;

use crate::{police, untagged};

const FORGED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

fn explain(gateway: &Gateway<'_>, address: Ipv4Addr) -> Value {
    let answer = gateway.call(&["explain", &address.to_string(), "--json"]).unwrap().success().unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn text(gateway: &Gateway<'_>, address: Ipv4Addr) -> String {
    gateway.call(&["explain", &address.to_string()]).unwrap().success().unwrap()
}

fn samples<'a>(explanation: &'a Value, reason: &str) -> Vec<&'a Value> {
    let samples = explanation["samples"].as_array().unwrap().iter();
    samples.filter(|sample| sample["reason"] == reason).collect()
}

fn rule<'a>(explanation: &'a Value, about: &str) -> &'a Value {
    let mut rules = explanation["rules"].as_array().unwrap().iter();
    rules.find(|rule| rule["about"] == about).unwrap_or_else(|| panic!("{about}: {explanation}"))
}

/// A tenant's mail on the closed port, which gets no answer.
fn send_mail(topology: &Topology, outside: &MailServer, tenant: &str) {
    let client = &topology.tenant(tenant).host.namespace;
    assert_eq!(outside.receive(client, topology.internet.ipv4.into()).unwrap(), Outcome::NoAnswer);
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_blocked_mail_is_shown_behind_any_flood() {
    let edit = |config: &mut Config| {
        config.set_tenant("acme", "cap = { up = '1 Mbit/s' }\nburst = '100ms'");
    };
    police(&untagged(&["acme", "beta"]), edit, |topology, gateway, _| {
        let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
        let [acme, beta] = ["acme", "beta"].map(|id| topology.tenant(id).host.ipv4);
        let internet = topology.internet.ipv4;
        for _ in 0..2 {
            let target = SocketAddr::new(internet.into(), 9);
            let client = &topology.tenant("acme").host.namespace;
            packets::send_datagrams(client, acme.into(), target, 1_000, 500).unwrap();
            send_mail(topology, &outside, "acme");
        }
        send_mail(topology, &outside, "beta");

        for (id, address) in [("acme", acme), ("beta", beta)] {
            let explanation = explain(gateway, address);
            assert_eq!(explanation["tenant"]["id"], id);
            let mail = samples(&explanation, "smtp_blocked")[0];
            let interface = format!("t-{id}");
            for (key, expected) in [
                ("source", address.to_string().into()),
                ("destination", internet.to_string().into()),
                ("destination_port", 25.into()),
                ("protocol", "tcp".into()),
                ("opens_connection", true.into()),
                ("direction", "up".into()),
                ("interface", interface.into()),
                ("of_address", Value::Bool(true)),
            ] {
                assert_eq!(mail[key], expected, "{key}: {explanation:#}");
            }
            assert_eq!(rule(&explanation, "TCP 25 out")["says"], "closed");
        }
        let explanation = explain(gateway, acme);
        assert!(!samples(&explanation, "over_cap").is_empty(), "{explanation:#}");
        assert_eq!(explanation["tenant"]["up"]["bucket"]["burst_ms"], 100);
        assert_eq!(explanation["tenant"]["down"]["bucket"]["over_cap"], false);
        let cap = rule(&explanation, "cap up");
        assert_eq!((&cap["says"], &cap["key"]), (&"1 Mbit/s".into(), &"tenant.cap.up".into()));
        assert!(cap["configured_at"].as_str().unwrap().contains(".toml:"), "{cap}");
        assert!(gateway.metrics().unwrap().sum("fairway_events_suppressed_total", &[]) > 0.0);
        assert_eq!(gateway.metrics().unwrap().sum("fairway_events_lost_total", &[]), 0.0);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn what_was_dropped_without_a_controller_is_shown_by_the_next() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            gateway.kill().unwrap();
            send_mail(topology, &outside, "acme");
            gateway.launch().unwrap();
            let explanation = explain(gateway, topology.tenant("acme").host.ipv4);
            assert!(!samples(&explanation, "smtp_blocked").is_empty(), "{explanation:#}");
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn strangers_and_suspended_tenants_are_told_apart() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let target = SocketAddrV4::new(topology.internet.ipv4, 9);
            let acme = &topology.tenant("acme").host;
            packets::send_forged(&acme.namespace, FORGED, target, 20).unwrap();
            let explanation = explain(gateway, FORGED);
            assert_eq!(explanation["tenant"], Value::Null);
            assert_eq!(samples(&explanation, "unknown_source")[0]["source"], FORGED.to_string());
            assert_eq!(rule(&explanation, "sent to t-acme")["key"], "gateway.unknown_sources");
            let told = text(gateway, FORGED);
            assert!(told.starts_with("192.0.2.66 is no tenant's.\n"), "{told}");

            let suspend = ["suspend", "acme", "--scope", "outbound", "--reason", "it scans"];
            gateway.call(&suspend).unwrap().success().unwrap();
            let told = text(gateway, acme.ipv4);
            assert!(told.contains("restriction SUSPENDED (outbound) by root since "), "{told}");
            assert!(told.contains("until somebody restores it: it scans\n"), "{told}");
            println!("{told}");
        },
    );
}
