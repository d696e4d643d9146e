//! Ports that the operator closes, TCP and UDP, each way.

use std::net::SocketAddr;

use fairway_tests::config::Config;
use fairway_tests::packets::{self, Receiver};
use fairway_tests::web::{self, PAGE, WebServer};

use crate::{police, untagged};

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_closed_tcp_port_is_closed_in_its_direction_unless_opened() {
    let edit = |config: &mut Config| {
        config.set(
            "[[closed_port]]\nname = 'web'\nprotocol = 'tcp'\nports = [80, '8000-8080']\ndirection = 'in'",
        );
        config.set_tenant("beta", "open = ['web']");
    };
    police(&untagged(&["acme", "beta"]), edit, |topology, gateway, _| {
        for port in [80, 8000, 8080] {
            let _outside = WebServer::start(&topology.internet.namespace, port).unwrap();
            for (id, open) in [("acme", false), ("beta", true)] {
                let host = &topology.tenant(id).host;
                let _inside = WebServer::start(&host.namespace, port).unwrap();
                for (inside, outside) in host.addresses().into_iter().zip(topology.internet.addresses()) {
                    let out = web::get(&host.namespace, SocketAddr::new(outside, port), "/");
                    assert_eq!(out.unwrap(), PAGE, "out is open to all");
                    let back = web::get(&topology.internet.namespace, SocketAddr::new(inside, port), "/");
                    assert_eq!(back.is_ok(), open, "{inside} port {port}");
                }
            }
        }
        let beside = WebServer::start(&topology.tenant("acme").host.namespace, 8081).unwrap();
        let target = SocketAddr::new(topology.tenant("acme").host.ipv4.into(), 8081);
        assert_eq!(web::get(&topology.internet.namespace, target, "/").unwrap(), PAGE, "beside the range");
        drop(beside);
        assert!(gateway.counters("acme", "down").unwrap().dropped_for("port_blocked").packets >= 6);
        assert_eq!(gateway.counters("beta", "down").unwrap().dropped.packets, 0);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_closed_udp_port_drops_exactly_what_is_sent_to_it() {
    let edit = |config: &mut Config| {
        config.set("[[closed_port]]\nname = 'chargen'\nprotocol = 'udp'\nports = [19]\ndirection = 'both'");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
        for (source, target) in acme.addresses().into_iter().zip(internet.addresses()) {
            let mut closed = Receiver::listen(&internet.namespace, SocketAddr::new(target, 19)).unwrap();
            let mut open = Receiver::listen(&internet.namespace, SocketAddr::new(target, 20)).unwrap();
            packets::send_datagrams(&acme.namespace, source, SocketAddr::new(target, 19), 100, 30).unwrap();
            packets::send_datagrams(&acme.namespace, source, SocketAddr::new(target, 20), 100, 40).unwrap();
            open.wait_for(40).unwrap();
            assert_eq!(closed.received(), 0);
        }
        let up = gateway.counters("acme", "up").unwrap();
        assert_eq!((up.passed.packets, up.dropped_for("port_blocked").packets), (80, 60));
        assert_eq!(up.dropped, up.dropped_for("port_blocked"));
    });
}
