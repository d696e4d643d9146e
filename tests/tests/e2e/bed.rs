//! The test bed itself, with nothing policed: what the other tests see blocked must get through here.

use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairway_tests::iperf::{self, Flow, Traffic};
use fairway_tests::mail::{self, MailServer, Outcome};
use fairway_tests::namespace::{Link, Namespace};
use fairway_tests::packets::{self, Receiver};
use fairway_tests::probes::{PROBES, see_arrive};
use fairway_tests::process::Process;
use fairway_tests::prometheus::{self, Prometheus};
use fairway_tests::run::{self, wait_for};
use fairway_tests::topology::{HOST_INTERFACE, Plan};
use fairway_tests::vlan::{TaggingEnd, Tags};
use fairway_tests::web::{self, PAGE, WebServer};

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn forwards_both_families_both_ways_for_every_tenant() {
    let topology = Plan::default().build().unwrap();
    let _inside: Vec<_> =
        topology.tenants.iter().map(|tenant| WebServer::start(&tenant.host.namespace, 80).unwrap()).collect();
    let _outside = WebServer::start(&topology.internet.namespace, 80).unwrap();
    for tenant in &topology.tenants {
        for (inside, outside) in tenant.host.addresses().into_iter().zip(topology.internet.addresses()) {
            let out = web::get(&tenant.host.namespace, SocketAddr::new(outside, 80), "/");
            assert_eq!(out.unwrap(), PAGE, "{} to {outside}", tenant.id);
            let back = web::get(&topology.internet.namespace, SocketAddr::new(inside, 80), "/");
            assert_eq!(back.unwrap(), PAGE, "{inside} of {}", tenant.id);
        }
    }
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn tagged_links_carry_tags_in_full_sized_frames() {
    let topology = Plan::default().build().unwrap();
    for (id, on_the_wire) in
        [("gamma", "vlan 110"), ("delta", "vlan 200, p 0, ethertype 802.1Q (0x8100), vlan 110")]
    {
        let tenant = topology.tenant(id);
        let target = SocketAddr::new(topology.internet.ipv4.into(), 9);
        // On the tenant's own end, tcpdump taps behind the tagging, in front of the cable.
        let capture = ["tcpdump", "-i", HOST_INTERFACE, "-e", "-n", "-c", "1", "greater 1500"];
        let mut capture = tenant.host.namespace.start(&capture).unwrap();
        let ready = |tcpdump: &Process| tcpdump.stderr().contains("listening on");
        capture.wait_until_ready(Duration::from_secs(5), ready).unwrap();
        let mut receiver = Receiver::listen(&topology.internet.namespace, target).unwrap();
        // 1472 bytes and the headers of UDP and IPv4 are the MTU of 1500.
        packets::send_datagrams(&tenant.host.namespace, tenant.host.ipv4.into(), target, 1472, 1).unwrap();
        receiver.wait_for(1).unwrap();
        let frame = capture.finish(Duration::from_secs(5)).unwrap().success().unwrap();
        assert!(frame.contains(on_the_wire), "{frame}");
        assert!(frame.contains("length 1472"), "{frame}");
    }
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_tagged_end_accepts_only_its_own_tags() {
    let (left, right) = (Namespace::create("left").unwrap(), Namespace::create("right").unwrap());
    left.connect("eth0", &right, "eth0", Link { mtu: 1500, offloads: false }).unwrap();
    let (source, target): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    left.add_address("eth0", source, 24).unwrap();
    right.add_address("eth0", target, 24).unwrap();
    let target = SocketAddr::new(target, 9);
    let mut receiver = Receiver::listen(&right, target).unwrap();
    let mut expected = 0;
    let plain = None;
    let single = |outer| Some(Tags { outer, inner: None });
    let double = Some(Tags { outer: 110, inner: Some(7) });
    for (sent, accepted) in [
        (plain, plain),
        (plain, single(110)),
        (single(110), single(110)),
        (single(111), single(110)),
        (double, single(7)),
        (single(110), double),
        (double, double),
    ] {
        let _left_end = sent.map(|tags| TaggingEnd::attach(&left, "eth0", tags).unwrap());
        let _right_end = accepted.map(|tags| TaggingEnd::attach(&right, "eth0", tags).unwrap());
        // Sent ten times: the first ones may still wait for the answer to an ARP request.
        packets::send_datagrams(&left, source, target, 10, 10).unwrap();
        if sent == accepted {
            expected += 10;
            receiver.wait_for(expected).unwrap();
        }
    }
    assert_eq!(receiver.received(), expected);
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn large_frames_pass_where_the_plan_says_so() {
    let plan = Plan { link: Link { mtu: 9000, offloads: false }, ..Plan::default() };
    let topology = plan.build().unwrap();
    let target = SocketAddr::new(topology.internet.ipv6.into(), 9);
    let mut receiver = Receiver::listen(&topology.internet.namespace, target).unwrap();
    let tenant = topology.tenant("delta");
    packets::send_datagrams(&tenant.host.namespace, tenant.host.ipv6.into(), target, 8952, 5).unwrap();
    receiver.wait_for(5).unwrap();
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn mail_is_delivered_refused_or_unanswered() {
    let topology = Plan::default().build().unwrap();
    let server = MailServer::start(&topology.internet.namespace, 25).unwrap();
    let client = &topology.tenant("acme").host.namespace;
    for address in topology.internet.addresses() {
        assert_eq!(server.receive(client, address).unwrap(), Outcome::Delivered);
        assert_eq!(mail::send(client, address, 587, "nobody listens").unwrap(), Outcome::Refused);
    }
    // The router has no route there, nor anything that would say so.
    topology.router.ip("route add blackhole 192.0.2.0/24").unwrap();
    let nowhere: IpAddr = "192.0.2.1".parse().unwrap();
    assert_eq!(mail::send(client, nowhere, 25, "no answer").unwrap(), Outcome::NoAnswer);
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn iperf_measures_tcp_and_udp_both_ways() {
    let topology = Plan::default().build().unwrap();
    let _server = iperf::serve(&topology.internet.namespace, iperf::PORT).unwrap();
    let client = &topology.tenant("gamma").host.namespace;
    let server = topology.internet.ipv6.into();
    for flow in [Flow::Upload, Flow::Download] {
        let tcp = iperf::transfer(client, server, iperf::PORT, Traffic::Tcp("cubic"), flow, 1).unwrap();
        assert!(tcp.mbit_per_sec() > 50.0, "an unpoliced link is fast: {tcp:?}");
        let udp = Traffic::Udp { bits_per_sec: 5_000_000 };
        let udp = iperf::transfer(client, server, iperf::PORT, udp, flow, 1).unwrap();
        assert!((4.5..5.5).contains(&udp.mbit_per_sec()), "{flow:?}: {udp:?}");
    }
    let elsewhere = iperf::transfer(client, server, 5999, Traffic::Tcp("cubic"), Flow::Upload, 1);
    assert!(elsewhere.is_err(), "nobody listens there");
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn prometheus_scrapes_and_promtool_finds_fault() {
    let router = Namespace::create("router").unwrap();
    let prometheus = Prometheus::start(&router, prometheus::LISTEN).unwrap();
    assert_eq!(prometheus.query("up{job=\"fairway\"}").unwrap(), Some(1.0));
    assert_eq!(prometheus.query("no_such_series").unwrap(), None);
    prometheus::check_metrics("# HELP a_total A.\n# TYPE a_total counter\na_total 1\n").unwrap();
    assert!(prometheus::check_metrics("# TYPE a counter\na 1\n").is_err(), "neither help nor suffix");
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn forged_sources_reach_the_internet_unless_policed() {
    let topology = Plan::default().build().unwrap();
    let target = SocketAddrV4::new(topology.internet.ipv4, 9);
    let mut receiver = Receiver::listen(&topology.internet.namespace, target.into()).unwrap();
    let client = &topology.tenant("acme").host.namespace;
    // Strict reverse-path filtering would drop them; the router must not do the gateway's work.
    packets::send_forged(client, "192.0.2.66".parse().unwrap(), target, 20).unwrap();
    receiver.wait_for(20).unwrap();
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn every_probe_is_put_together_unless_policed() {
    let topology = Plan { tenants: vec![("acme", None)], ..Plan::default() }.build().unwrap();
    for (probe, _) in PROBES {
        see_arrive(probe, &topology.tenant("acme").host, &topology.internet, 25, 5).unwrap();
    }
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn nothing_is_left_behind() {
    let topology = Plan::default().build().unwrap();
    let sleeper = topology.router.start(&["sleep", "600"]).unwrap();
    let (name, pid) = (topology.router.name().to_owned(), sleeper.pid());
    let exists = || Path::new("/run/netns").join(&name).exists();
    assert!(exists());
    drop(sleeper);
    drop(topology);
    assert!(!exists());
    let is_gone = || (!Path::new("/proc").join(pid.to_string()).exists()).then_some(());
    wait_for("the program's end", Duration::from_secs(5), is_gone).unwrap();
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn remains_of_a_killed_run_are_swept_away() {
    let killed = Process::start(&["true"]).unwrap();
    let name = format!("fw-{}-0-router", killed.pid());
    assert!(killed.finish(Duration::from_secs(5)).unwrap().status.success());
    let namespace = Process::start(&["ip", "netns", "add", &name]).unwrap();
    namespace.finish(Duration::from_secs(5)).unwrap().success().unwrap();
    let remains = ["/run/netns".into(), "/sys/fs/bpf/fairway".into(), std::env::temp_dir()]
        .map(|directory: PathBuf| directory.join(&name));
    remains.iter().skip(1).for_each(|directory| fs::create_dir_all(directory).unwrap());
    assert!(remains.iter().all(|path| path.exists()));
    run::sweep_stale();
    assert!(!remains.iter().any(|path| path.exists()), "{remains:?}");
}
