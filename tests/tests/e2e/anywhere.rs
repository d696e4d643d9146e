//! A gateway's life in one go, with nothing but `ip` and sockets around it: what `cargo xtask vm` runs on every kernel.

use std::net::SocketAddr;
use std::time::Duration;

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::packets::{self, Receiver};
use fairway_tests::run::wait_for;
use fairway_tests::topology::Topology;

use crate::{police, untagged};

/// A port of UDP that the operator closes, and another.
const CLOSED: u16 = 19;
const OPEN: u16 = 9;

/// Datagrams at a time.
const COUNT: u32 = 5;

fn close(config: &mut Config, port: u16) {
    config.set(&format!(
        "[[closed_port]]\nname = 'port-{port}'\nprotocol = 'udp'\nports = [{port}]\ndirection = 'both'"
    ));
}

/// Sends acme's datagrams to a port of the Internet's host.
fn send(topology: &Topology, port: u16) {
    let (host, target) =
        (&topology.tenant("acme").host, SocketAddr::new(topology.internet.ipv4.into(), port));
    packets::send_datagrams(&host.namespace, host.ipv4.into(), target, 18, COUNT).unwrap();
}

/// Waits until that many of acme's packets have been dropped for their port.
fn wait_for_blocked(gateway: &Gateway<'_>, count: u32) {
    let blocked = || gateway.counters("acme", "up").unwrap().dropped_for("port_blocked").packets;
    let all = || (blocked() == u64::from(count)).then_some(());
    wait_for("the drops", Duration::from_secs(5), all).unwrap();
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn runs_reloads_is_taken_over_after_a_crash_and_detaches() {
    let edit = |config: &mut Config| {
        config.set("gateway.on_stop = 'keep'");
        close(config, CLOSED);
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, mut config| {
        let internet = &topology.internet;
        let listen = |port| {
            Receiver::listen(&internet.namespace, SocketAddr::new(internet.ipv4.into(), port)).unwrap()
        };
        let (mut closed, mut open) = (listen(CLOSED), listen(OPEN));
        send(topology, OPEN);
        open.wait_for(COUNT).unwrap();
        send(topology, CLOSED);
        wait_for_blocked(gateway, COUNT);

        close(&mut config, OPEN);
        gateway.reload(&config).unwrap();
        send(topology, OPEN);
        wait_for_blocked(gateway, 2 * COUNT);

        gateway.kill().unwrap();
        send(topology, CLOSED);
        gateway.launch().unwrap();
        // Counters go on, also for what came between.
        wait_for_blocked(gateway, 3 * COUNT);
        assert_eq!((open.received(), closed.received()), (COUNT, 0));

        gateway.detach().unwrap();
        assert!(!gateway.pin_directory().exists());
        // The kernel lets go of the programs some 100 ms after their last pin is gone.
        let passes = || {
            send(topology, CLOSED);
            (closed.received() > 0).then_some(())
        };
        wait_for("what was closed to pass", Duration::from_secs(10), passes).unwrap();
    });
}
