//! B1: the cap of each tenant and direction holds by itself, and TCP reaches it.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use fairway_tests::config::Config;
use fairway_tests::iperf::{self, Flow, Traffic};
use fairway_tests::packets;

use crate::{police, untagged};

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_flood_is_held_to_the_cap_of_its_tenant_and_direction() {
    const SECONDS: u32 = 5;
    let edit = |config: &mut Config| {
        config.set("fair_use.burst = '50ms'");
        config.set_tenant("acme", "cap = { up = '2 Mbit/s', down = '4 Mbit/s' }");
        config.set_tenant("beta", "cap = { up = '8 Mbit/s', down = '1 Mbit/s' }");
    };
    police(&untagged(&["acme", "beta"]), edit, |topology, gateway, _| {
        let internet = &topology.internet;
        let _servers = [5201, 5202].map(|port| iperf::serve(&internet.namespace, port).unwrap());
        let mut took = Duration::ZERO;
        for flow in [Flow::Upload, Flow::Download] {
            let start = Instant::now();
            let flood = |id, port| {
                let client = &topology.tenant(id).host.namespace;
                let traffic = Traffic::Udp { bits_per_sec: 20_000_000 };
                iperf::transfer(client, internet.ipv6.into(), port, traffic, flow, SECONDS).unwrap()
            };
            thread::scope(|scope| {
                let floods = [("acme", 5201), ("beta", 5202)];
                for (id, port) in floods {
                    scope.spawn(move || flood(id, port));
                }
            });
            took = took.max(start.elapsed());
        }
        for (id, direction, cap_mbit_per_sec) in
            [("acme", "up", 2.0), ("acme", "down", 4.0), ("beta", "up", 8.0), ("beta", "down", 1.0)]
        {
            // The other direction's acknowledgements and iperf3's own dialogue are far below the caps, so the
            // flood carries nearly all that passed: all of its time where it is not interrupted itself.
            let counters = gateway.counters(id, direction).unwrap();
            let passed_mbit = counters.passed.bytes as f64 * 8.0 / 1e6;
            let (least, most) = (cap_mbit_per_sec * 3.5, cap_mbit_per_sec * (took.as_secs_f64() + 0.3));
            assert!((least..most).contains(&passed_mbit), "{id} {direction}: {passed_mbit} Mbit passed");
            assert!(counters.dropped_for("over_cap").bytes > counters.passed.bytes / 2, "{id} {direction}");
        }
    });
}

/// Transfers in which the cap is to be reached once.
const ATTEMPTS: usize = 4;

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn every_congestion_control_reaches_the_cap() {
    police(
        &untagged(&["acme", "beta", "gamma"]),
        |_| {},
        |topology, _, _| {
            let internet = &topology.internet;
            let _servers = [5201, 5202, 5203].map(|port| iperf::serve(&internet.namespace, port).unwrap());
            for flow in [Flow::Upload, Flow::Download] {
                let transfer = |id, port, congestion_control| {
                    let client = &topology.tenant(id).host.namespace;
                    let traffic = Traffic::Tcp(congestion_control);
                    // Never more than the cap; as much as it at least once, for a sender that gets no
                    // processor time in between sends less.
                    let mut rates = (0..ATTEMPTS).map(|_| {
                        let result = iperf::transfer(client, internet.ipv4.into(), port, traffic, flow, 6);
                        let rate = result.unwrap().mbit_per_sec();
                        // 4 % of a full frame are headers; the burst of 350 ms adds 6 % over six seconds.
                        assert!(rate < 10.3, "{congestion_control} {flow:?}: {rate} Mbit/s");
                        rate
                    });
                    let reached = rates.any(|rate| rate >= 9.0);
                    assert!(reached, "{congestion_control} {flow:?}: below 9 Mbit/s {ATTEMPTS} times");
                };
                thread::scope(|scope| {
                    scope.spawn(|| transfer("acme", 5201, "cubic"));
                    scope.spawn(|| transfer("beta", 5202, "reno"));
                    scope.spawn(|| transfer("gamma", 5203, "bbr"));
                });
            }
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn the_burst_passes_at_line_rate_and_no_more() {
    let edit = |config: &mut Config| {
        config.set_tenant("acme", "cap = { up = '1 Mbit/s' }\nburst = '800ms'");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
        let target = SocketAddr::new(internet.ipv4.into(), 9);
        let start = Instant::now();
        packets::send_datagrams(&acme.namespace, acme.ipv4.into(), target, 958, 1000).unwrap();
        let sending = start.elapsed();
        // 800 ms at 1 Mbit/s are 100 frames of 1,000 bytes. While they are sent the bucket drains on, in steps
        // of the clock's tick, at most 10 ms.
        let drained = (sending.as_secs_f64() + 0.02) * 1e6 / 8_000.0;
        let passed = gateway.counters("acme", "up").unwrap().passed.packets as f64;
        assert!((99.0..102.0 + drained).contains(&passed), "{passed} passed in {sending:?}");
    });
}
