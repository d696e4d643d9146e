//! M1 against real tools: no fragment, option or extension header opens a way round, and honest fragments
//! pass.

use std::net::SocketAddr;
use std::time::Duration;

use fairway_tests::packets::{self, Receiver};
use fairway_tests::probes::{PROBES, see_arrive, segments_received};
use fairway_tests::run::wait_for;
use fairway_tests::topology::Topology;

use crate::{police, untagged};

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn no_probe_of_a_closed_port_is_put_together_on_the_other_side() {
    const COUNT: u32 = 5;
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            for (from, to, direction) in [(acme, internet, "up"), (internet, acme, "down")] {
                for (probe, reason) in PROBES {
                    let dropped = || gateway.counters("acme", direction).unwrap().dropped_for(reason).packets;
                    let before = dropped();
                    probe.send(from, to, 25, COUNT).unwrap();
                    let all_dropped = || (dropped() >= before + u64::from(COUNT)).then_some(());
                    wait_for(
                        &format!("{reason} of {probe:?} {direction}"),
                        Duration::from_secs(5),
                        all_dropped,
                    )
                    .unwrap();
                    assert_eq!(segments_received(&to.namespace).unwrap(), 0, "{probe:?} went {direction}");
                }
            }
        },
    );
}

/// Sends probes whose first fragment has the whole header to a port that is open, and sees that each arrives.
pub(crate) fn probes_arrive(topology: &Topology) {
    const COUNT: u32 = 5;
    let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
    for (probe, _) in PROBES.iter().filter(|(_, reason)| *reason == "smtp_blocked") {
        see_arrive(*probe, acme, internet, 80, COUNT).unwrap();
    }
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn probes_with_whole_headers_reach_an_open_port() {
    police(&untagged(&["acme"]), |_| {}, |topology, _, _| probes_arrive(topology));
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn large_datagrams_pass_in_fragments_both_ways() {
    // As a name server answers with DNSSEC: three fragments.
    const PAYLOAD_BYTES: usize = 4_000;
    const COUNT: u32 = 20;
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            for (from, to, direction) in [(acme, internet, "up"), (internet, acme, "down")] {
                for (source, target) in from.addresses().into_iter().zip(to.addresses()) {
                    let target = SocketAddr::new(target, 5353);
                    let mut receiver = Receiver::listen(&to.namespace, target).unwrap();
                    packets::send_datagrams(&from.namespace, source, target, PAYLOAD_BYTES, COUNT).unwrap();
                    receiver.wait_for(COUNT).unwrap();
                }
                let counters = gateway.counters("acme", direction).unwrap();
                assert_eq!((counters.passed.packets, counters.dropped.packets), (u64::from(6 * COUNT), 0));
            }
        },
    );
}
