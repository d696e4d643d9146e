//! Every packet is counted once, to the byte, under its tenant, direction and reason.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use fairway_tests::config::{Config, METRICS};
use fairway_tests::gateway::Count;
use fairway_tests::packets::{self, Receiver};
use fairway_tests::prometheus::{self, Prometheus};
use fairway_tests::run::wait_for;
use fairway_tests::topology::Plan;

use crate::{police, untagged};

const PAYLOAD_BYTES: usize = 500;
const UDP_AND_ETHERNET_BYTES: u64 = 8 + 14;
const FORGED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn counters_add_up_to_what_was_sent() {
    police(
        &Plan::default(),
        |_| {},
        |topology, gateway, _| {
            let internet = &topology.internet;
            for tenant in &topology.tenants {
                let mut tags_bytes = tenant.tags.map_or(0, |tags| if tags.inner.is_some() { 8 } else { 4 });
                for (from, to, direction, count) in
                    [(&tenant.host, internet, "up", 70), (internet, &tenant.host, "down", 50)]
                {
                    for (source, target) in from.addresses().into_iter().zip(to.addresses()) {
                        let target = SocketAddr::new(target, 9);
                        let mut receiver = Receiver::listen(&to.namespace, target).unwrap();
                        packets::send_datagrams(&from.namespace, source, target, PAYLOAD_BYTES, count)
                            .unwrap();
                        receiver.wait_for(count).unwrap();
                    }
                    let frames_bytes = [20, 40].map(|ip_bytes| {
                        PAYLOAD_BYTES as u64 + UDP_AND_ETHERNET_BYTES + ip_bytes + tags_bytes
                    });
                    let expected = Count {
                        packets: u64::from(2 * count),
                        bytes: u64::from(count) * frames_bytes.iter().sum::<u64>(),
                    };
                    let counters = gateway.counters(tenant.id, direction).unwrap();
                    assert_eq!(counters.passed, expected, "{} {direction}", tenant.id);
                    assert_eq!(counters.dropped, Count::default(), "{} {direction}", tenant.id);
                    // The uplink carries no tags.
                    tags_bytes = 0;
                }
            }
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn what_is_over_the_cap_is_counted_as_dropped() {
    let edit = |config: &mut Config| {
        config.set_tenant("acme", "cap = { up = '1 Mbit/s' }\nburst = '100ms'");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
        let target = SocketAddr::new(internet.ipv4.into(), 9);
        let mut receiver = Receiver::listen(&internet.namespace, target).unwrap();
        packets::send_datagrams(&acme.namespace, acme.ipv4.into(), target, 1000, 500).unwrap();
        let counters = wait_for("all counted", std::time::Duration::from_secs(5), || {
            let counters = gateway.counters("acme", "up").ok()?;
            (counters.passed.packets + counters.dropped.packets == 500).then_some(counters)
        })
        .unwrap();
        assert_eq!(counters.dropped, counters.dropped_for("over_cap"));
        assert!(counters.dropped.packets > 100, "{counters:?}");
        receiver.wait_for(u32::try_from(counters.passed.packets).unwrap()).unwrap();
        assert_eq!(u64::from(receiver.received()), counters.passed.packets);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn unknown_sources_are_dropped_and_counted() {
    police(
        &untagged(&["acme", "beta"]),
        |_| {},
        |topology, gateway, _| {
            let target = SocketAddrV4::new(topology.internet.ipv4, 9);
            let mut receiver = Receiver::listen(&topology.internet.namespace, target.into()).unwrap();
            packets::send_forged(&topology.tenant("beta").host.namespace, FORGED, target, 25).unwrap();
            let counted = |interface| {
                let metrics = gateway.metrics().unwrap();
                metrics.sum("fairway_unknown_source_packets_total", &[("interface", interface)])
            };
            assert_eq!((counted("t-beta"), counted("t-acme")), (25.0, 0.0));
            assert_eq!(receiver.received(), 0);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn unknown_sources_pass_where_they_are_only_counted() {
    let edit = |config: &mut Config| {
        config.set("gateway.unknown_sources = 'count'");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        let target = SocketAddrV4::new(topology.internet.ipv4, 9);
        let mut receiver = Receiver::listen(&topology.internet.namespace, target.into()).unwrap();
        packets::send_forged(&topology.tenant("acme").host.namespace, FORGED, target, 25).unwrap();
        receiver.wait_for(25).unwrap();
        let interface = gateway.interface("t-acme").unwrap();
        assert_eq!(interface["unknown_source_passed"]["packets"], 25, "{interface}");
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn the_right_address_behind_the_wrong_tag_is_dropped() {
    let edit = |config: &mut Config| {
        config.set_tenant("gamma", "vlan = 111").set_tenant("acme", "vlan = 110");
    };
    let tagged = Plan { tenants: vec![("acme", None), Plan::default().tenants[2]], ..Plan::default() };
    police(&tagged, edit, |topology, gateway, _| {
        let target = SocketAddr::new(topology.internet.ipv4.into(), 9);
        let mut receiver = Receiver::listen(&topology.internet.namespace, target).unwrap();
        for id in ["acme", "gamma"] {
            let host = &topology.tenant(id).host;
            packets::send_datagrams(&host.namespace, host.ipv4.into(), target, 100, 15).unwrap();
        }
        for id in ["acme", "gamma"] {
            let interface = gateway.interface(&topology.tenant(id).router_interface).unwrap();
            assert_eq!(interface["by_reason"]["wrong_vlan"]["packets"], 15, "{interface}");
            assert_eq!(gateway.counters(id, "up").unwrap().passed, Count::default());
        }
        assert_eq!(receiver.received(), 0);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn prometheus_sees_the_counters_and_promtool_no_fault() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let prometheus = Prometheus::start(&topology.router, METRICS).unwrap();
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            let target = SocketAddr::new(internet.ipv6.into(), 9);
            let mut receiver = Receiver::listen(&internet.namespace, target).unwrap();
            packets::send_datagrams(&acme.namespace, acme.ipv6.into(), target, 100, 60).unwrap();
            receiver.wait_for(60).unwrap();
            let query = "fairway_tenant_packets_total{tenant='acme',direction='up'}";
            wait_for("the next scrape", std::time::Duration::from_secs(10), || {
                (prometheus.query(query).ok()? == Some(60.0)).then_some(())
            })
            .unwrap();
            prometheus::check_metrics(&gateway.metrics_text().unwrap()).unwrap();
        },
    );
}
