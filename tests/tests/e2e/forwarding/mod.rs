//! Forwarding by XDP: hosts see what they see of a router's stack, and the policy holds as it does there.
//!
//! A veth takes what XDP sends only where its far end has a program of its own (`veth_xdp_xmit` in
//! drivers/net/veth.c), so each host gets one.

mod upkeep;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use etherparse::PacketBuilder;
use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::packets::{self, Receiver};
use fairway_tests::process::Process;
use fairway_tests::topology::{HOST_INTERFACE, Host, Plan, Topology, UPLINK};
use fairway_tests::vlan::{ReceivingEnd, Tags};
use fairway_tests::web::{self, PAGE, WebServer};
use gateway::link::mac_of;
use nix::sys::socket::{setsockopt, sockopt};

use crate::fragments::probes_arrive;
use crate::untagged;

/// The discard port.
const DISCARD: u16 = 9;

/// Builds a network, has the gateway forward in it by XDP, and runs a test.
fn forward(
    plan: &Plan,
    edit: impl FnOnce(&mut Config),
    test: impl FnOnce(&Topology, &mut Gateway<'_>, &mut Bed),
) {
    let topology = plan.build().unwrap();
    let hosts = topology.tenants.iter().map(|tenant| &tenant.host).chain([&topology.internet]);
    let end = |host: &Host| ReceivingEnd::attach(&host.namespace, HOST_INTERFACE).unwrap();
    let mut bed = Bed { config: Config::of(&topology), ends: hosts.map(end).collect() };
    edit(bed.config.set("gateway.forwarding = 'xdp'"));
    let mut gateway = Gateway::start(&topology.router, &bed.config).unwrap();
    test(&topology, &mut gateway, &mut bed);
}

/// What else there is while a test runs.
struct Bed {
    config: Config,
    /// That of the Internet is the last.
    ends: Vec<ReceivingEnd>,
}

/// Packets that came in by an interface and were forwarded by XDP.
fn forwarded(gateway: &Gateway<'_>, interface: &str) -> u64 {
    let name = "fairway_interface_forwarded_packets_total";
    gateway.metrics().unwrap().sum(name, &[("interface", interface)]) as u64
}

/// Sends datagrams from one host to another, and sees that each arrives.
fn deliver(from: &Host, to: &Host, count: u32) {
    for (source, target) in from.addresses().into_iter().zip(to.addresses()) {
        let target = SocketAddr::new(target, DISCARD);
        let mut receiver = Receiver::listen(&to.namespace, target).unwrap();
        packets::send_datagrams(&from.namespace, source, target, 100, count).unwrap();
        receiver.wait_for(count).unwrap();
    }
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn both_families_reach_each_other_both_ways_and_the_router_too() {
    forward(
        &untagged(&["acme", "beta"]),
        |_| {},
        |topology, gateway, _| {
            let _outside = WebServer::start(&topology.internet.namespace, 80).unwrap();
            for tenant in &topology.tenants {
                let _inside = WebServer::start(&tenant.host.namespace, 80).unwrap();
                for (inside, outside) in
                    tenant.host.addresses().into_iter().zip(topology.internet.addresses())
                {
                    let before = [&tenant.router_interface, UPLINK].map(|name| forwarded(gateway, name));
                    let out = web::get(&tenant.host.namespace, SocketAddr::new(outside, 80), "/");
                    assert_eq!(out.unwrap(), PAGE, "{} to {outside}", tenant.id);
                    let back = web::get(&topology.internet.namespace, SocketAddr::new(inside, 80), "/");
                    assert_eq!(back.unwrap(), PAGE, "{inside} of {}", tenant.id);
                    let after = [&tenant.router_interface, UPLINK].map(|name| forwarded(gateway, name));
                    // A page takes at least four packets each way; the first ones wait for neighbours.
                    assert!(
                        after[0] >= before[0] + 6 && after[1] >= before[1] + 6,
                        "{before:?} {after:?} by {outside}"
                    );
                }
            }
            // From tenant to tenant, and to the router's own addresses, which the stack answers for.
            deliver(&topology.tenant("acme").host, &topology.tenant("beta").host, 3);
            let acme = &topology.tenant("acme").host;
            let _own = WebServer::start(&topology.router, 80).unwrap();
            for address in ["203.0.113.1", "2001:db8:10::1", "198.51.100.1", "2001:db8:ff::1"] {
                let address = SocketAddr::new(address.parse().unwrap(), 80);
                assert_eq!(web::get(&acme.namespace, address, "/").unwrap(), PAGE, "{address}");
            }
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn one_packet_in_1024_goes_by_the_stack() {
    const COUNT: u32 = 3_000;
    forward(
        &untagged(&["acme"]),
        |config| {
            config.set_tenant("acme", "burst = '1500ms'");
        },
        |topology, gateway, _| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            deliver(acme, internet, 1);
            let passed = |gateway: &Gateway<'_>| gateway.counters("acme", "up").unwrap().passed.packets;
            let (passed_before, before) = (passed(gateway), forwarded(gateway, "t-acme"));
            let target = SocketAddr::new(internet.ipv4.into(), DISCARD);
            let mut receiver = Receiver::listen(&internet.namespace, target).unwrap();
            // As many at once as a veth has room for when a busy machine lets nobody take them out.
            for sent in (0..COUNT).step_by(100) {
                packets::send_datagrams(&acme.namespace, acme.ipv4.into(), target, 100, 100).unwrap();
                receiver.wait_for(sent + 100).unwrap();
            }
            let (passed_now, now) = (passed(gateway), forwarded(gateway, "t-acme"));
            assert_eq!(passed_now, passed_before + u64::from(COUNT));
            let by_stack = passed_now / 1024 - passed_before / 1024;
            assert_eq!((by_stack, now - before), (2, u64::from(COUNT) - by_stack));
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn packets_arrive_one_hop_older_and_sound() {
    forward(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            deliver(acme, internet, 1);
            deliver(internet, acme, 1);
            for (from, to, interface) in [(acme, internet, "t-acme"), (internet, acme, UPLINK)] {
                let capture = ["tcpdump", "-i", HOST_INTERFACE, "-n", "-vv", "-Q", "in", "-c", "6", "udp"];
                let mut capture = to.namespace.start(&capture).unwrap();
                let ready = |tcpdump: &Process| tcpdump.stderr().contains("listening on");
                capture.wait_until_ready(Duration::from_secs(5), ready).unwrap();
                let before = forwarded(gateway, interface);
                deliver(from, to, 3);
                assert_eq!(forwarded(gateway, interface), before + 6);
                let told = capture.finish(Duration::from_secs(10)).unwrap().success().unwrap();
                assert_eq!(told.matches("[udp sum ok]").count(), 6, "{told}");
                assert_eq!(
                    (told.matches("ttl 63").count(), told.matches("hlim 63").count()),
                    (3, 3),
                    "{told}"
                );
                assert!(!told.contains("bad cksum"), "{told}");
            }
        },
    );
}

/// A socket of acme's that is told why its datagrams do not arrive.
fn told(from: &Host, source: IpAddr, target: IpAddr) -> UdpSocket {
    let socket = from.namespace.enter(|| UdpSocket::bind((source, 0))).unwrap().unwrap();
    socket.connect((target, DISCARD)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    match source {
        IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true).unwrap(),
        IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true).unwrap(),
    }
    socket
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn the_router_tells_of_packets_that_are_too_old_or_too_long() {
    forward(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            deliver(acme, internet, 1);
            let before = forwarded(gateway, "t-acme");
            for (source, target) in acme.addresses().into_iter().zip(internet.addresses()) {
                let socket = told(acme, source, target);
                match source {
                    IpAddr::V4(_) => socket.set_ttl(1).unwrap(),
                    IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6Ttl, &1).unwrap(),
                }
                socket.send(b"on its last hop").unwrap();
                let error = socket.recv(&mut [0; 16]).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(nix::libc::EHOSTUNREACH), "{source}: {error}");
            }

            topology.router.ip(&format!("link set {UPLINK} mtu 1280")).unwrap();
            for (source, target) in acme.addresses().into_iter().zip(internet.addresses()) {
                let socket = told(acme, source, target);
                socket.send(&[0; 1_400]).unwrap();
                let error = socket.recv(&mut [0; 16]).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(nix::libc::EMSGSIZE), "{source}: {error}");
            }
            assert_eq!(forwarded(gateway, "t-acme"), before, "the stack dealt with all of them");
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn closed_ports_and_caps_hold() {
    let edit = |config: &mut Config| {
        config.set_tenant("acme", "cap = { up = '1 Mbit/s' }\nburst = '800ms'");
    };
    forward(&untagged(&["acme"]), edit, |topology, gateway, _| {
        let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
        let outside = MailServer::start(&internet.namespace, 25).unwrap();
        for address in internet.addresses() {
            assert_eq!(outside.receive(&acme.namespace, address).unwrap(), Outcome::NoAnswer);
        }
        let dropped = gateway.counters("acme", "up").unwrap().dropped_for("smtp_blocked");
        assert!(dropped.packets >= 2, "{dropped:?}");

        let target = SocketAddr::new(internet.ipv4.into(), DISCARD);
        let mut receiver = Receiver::listen(&internet.namespace, target).unwrap();
        let before = gateway.counters("acme", "up").unwrap().passed.packets;
        let start = std::time::Instant::now();
        packets::send_datagrams(&acme.namespace, acme.ipv4.into(), target, 958, 1_000).unwrap();
        let sending = start.elapsed();
        let passed = gateway.counters("acme", "up").unwrap().passed.packets - before;
        // 800 ms at 1 Mbit/s are 100 frames of 1,000 bytes, and the bucket drains on while they are sent.
        let drained = (sending.as_secs_f64() + 0.02) * 1e6 / 8_000.0;
        assert!((90.0..102.0 + drained).contains(&(passed as f64)), "{passed} passed in {sending:?}");
        receiver.wait_for(passed as u32).unwrap();
        assert_eq!(u64::from(receiver.received()), passed);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn only_sound_packets_to_the_router_are_forwarded() {
    const SEND: &str = "\
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((sys.argv[1], 0))
for frame in sys.argv[2:]:
    wire.send(bytes.fromhex(frame))
";
    forward(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            deliver(acme, internet, 1);
            let target = SocketAddr::new(internet.ipv4.into(), DISCARD);
            let mut receiver = Receiver::listen(&internet.namespace, target).unwrap();
            let before = forwarded(gateway, "t-acme");
            let router =
                topology.router.enter(|| mac_of(nix::net::if_::if_nametoindex("t-acme").unwrap()).unwrap());
            let frame = |address: [u8; 6]| {
                let (source, destination) = (acme.ipv4.octets(), internet.ipv4.octets());
                let packet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], address);
                let packet = packet.ipv4(source, destination, 64).udp(4_000, DISCARD);
                let mut frame = Vec::new();
                packet.write(&mut frame, &[0; 50]).unwrap();
                frame
            };
            let hex = |frame: &[u8]| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let (other, sound) = (frame([2, 0, 0, 0, 0, 0x99]), frame(router.unwrap()));
            let mut unsound = sound.clone();
            // The header's checksum.
            unsound[14 + 10] ^= 1;
            let [other, unsound, sound] = [other, unsound, sound].map(|frame| hex(&frame));
            let send = ["/usr/bin/python3", "-c", SEND, HOST_INTERFACE, &other, &unsound, &sound];
            acme.namespace.run(&send).unwrap();
            receiver.wait_for(1).unwrap();
            assert_eq!((receiver.received(), forwarded(gateway, "t-acme")), (1, before + 1));
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn odd_packets_arrive_too() {
    forward(
        &untagged(&["acme"]),
        |_| {},
        |topology, _, _| {
            deliver(&topology.tenant("acme").host, &topology.internet, 1);
            probes_arrive(topology);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn tagged_frames_go_by_the_stack() {
    let plan = Plan {
        tenants: vec![("acme", None), ("gamma", Some(Tags { outer: 110, inner: None }))],
        ..Plan::default()
    };
    forward(
        &plan,
        |_| {},
        |topology, gateway, _| {
            deliver(&topology.tenant("acme").host, &topology.internet, 5);
            deliver(&topology.tenant("gamma").host, &topology.internet, 5);
            assert!(forwarded(gateway, "t-acme") > 0);
            assert_eq!(forwarded(gateway, "t-gamma"), 0);
            assert!(gateway.counters("gamma", "up").unwrap().passed.packets >= 10);
        },
    );
}
