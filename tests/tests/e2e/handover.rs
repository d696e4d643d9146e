//! The controller dies, comes back, gives way to the next and moves to larger tables, all under load: a
//! transfer goes on below its cap, counters go on, not one packet to a closed port slips through, and not one that may
//! pass is lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use fairway_tests::config::Config;
use fairway_tests::flows::Flows;
use fairway_tests::gateway::Gateway;
use fairway_tests::iperf;
use fairway_tests::packets::Receiver;
use fairway_tests::process::Process;
use fairway_tests::run::wait_for;
use fairway_tests::topology::Topology;
use gateway::dataplane::pinned_programs;

use crate::{police, untagged};

/// A port of UDP that the operator closed.
const CLOSED: u16 = 19;
/// Another that he did not.
const OPEN: u16 = 9;

/// Polices acme and beta through `handover`. All through it acme has a transfer by TCP and knocks at a closed port, and
/// beta sends datagrams, each of which arrives.
fn unnoticed(handover: impl FnOnce(&mut Gateway<'_>, Config, &Flows)) {
    let edit = |config: &mut Config| {
        config.set("gateway.on_stop = 'keep'");
        config.set("[[closed_port]]\nname = 'chargen'\nprotocol = 'udp'\nports = [19]\ndirection = 'both'");
    };
    police(&untagged(&["acme", "beta"]), edit, |topology, gateway, config| {
        let internet = &topology.internet;
        let _server = iperf::serve(&internet.namespace, iperf::PORT).unwrap();
        let listen = |port| {
            Receiver::listen(&internet.namespace, SocketAddr::new(internet.ipv4.into(), port)).unwrap()
        };
        let (mut closed, mut open) = (listen(CLOSED), listen(OPEN));
        let _transfer = transfer(topology);
        let transferred = |gateway: &Gateway<'_>| gateway.counters("acme", "up").unwrap().passed.bytes;
        let wait_for_transferred = |gateway: &Gateway<'_>, bytes| {
            let more = || (transferred(gateway) > bytes).then_some(());
            wait_for("more of the transfer", Duration::from_secs(30), more).unwrap();
        };
        wait_for_transferred(gateway, 500_000);
        let (start, before) = (Instant::now(), transferred(gateway));
        let target = |port| SocketAddr::new(internet.ipv4.into(), port);
        let [acme, beta] = ["acme", "beta"].map(|id| &topology.tenant(id).host.namespace);
        let datagrams = Flows::start(&[(acme, target(CLOSED)), (beta, target(OPEN))]).unwrap();
        handover(gateway, config, &datagrams);
        datagrams.wait_for_more().unwrap();
        let sent = datagrams.stop().unwrap();
        let after = transferred(gateway);
        wait_for_transferred(gateway, after + 500_000);
        let now = transferred(gateway);
        // The cap of 10 Mbit/s, with its burst of 350 ms and a frame.
        let most = (start.elapsed().as_secs_f64() + 0.35) * 10e6 / 8.0 + 1_514.0;
        assert!(((now - before) as f64) < most, "{} bytes, at most {most}", now - before);

        let up = gateway.counters("acme", "up").unwrap();
        assert_eq!(up.dropped_for("port_blocked").packets, sent, "each knock is counted once");
        assert_eq!(closed.received(), 0);
        open.wait_for(u32::try_from(sent).unwrap()).unwrap();
        let up = gateway.counters("beta", "up").unwrap();
        assert_eq!((up.passed.packets, up.dropped.packets), (sent, 0), "so is each that passes");
    });
}

/// A transfer of acme's as fast as it goes, until dropped.
fn transfer(topology: &Topology) -> Process {
    let (server, port) = (topology.internet.ipv4.to_string(), iperf::PORT.to_string());
    let arguments =
        ["iperf3", "--client", &server, "--port", &port, "--congestion", "cubic", "--time", "600"];
    topology.tenant("acme").host.namespace.start(&arguments).unwrap()
}

/// What is attached: the inode of each pinned link, which goes with the link, and the id of its program.
fn attached(gateway: &Gateway<'_>) -> (BTreeMap<String, u64>, BTreeMap<u32, u32>) {
    let pins = gateway.pin_directory().read_dir().unwrap().map(Result::unwrap);
    let links = pins.filter_map(|pin| {
        let name = pin.file_name().into_string().unwrap();
        name.starts_with("link-").then(|| (name, pin.metadata().unwrap().ino()))
    });
    let programs = pinned_programs(&gateway.pin_directory()).unwrap();
    (links.collect(), programs.into_iter().collect())
}

/// The same links, each with another program in it.
fn assert_replaced(gateway: &Gateway<'_>, before: &(BTreeMap<String, u64>, BTreeMap<u32, u32>)) {
    let now = attached(gateway);
    assert_eq!(now.0, before.0);
    assert_eq!(now.1.keys().collect::<Vec<_>>(), before.1.keys().collect::<Vec<_>>());
    assert!(before.1.values().all(|program| !now.1.values().any(|new| new == program)), "{before:?} {now:?}");
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_killed_controller_and_its_return_are_not_noticed_by_any_packet() {
    unnoticed(|gateway, _, datagrams| {
        let (before, counted) = (attached(gateway), gateway.counters("acme", "up").unwrap());
        gateway.kill().unwrap();
        datagrams.wait_for_more().unwrap();
        assert_eq!(attached(gateway), before, "nothing changes while there is no controller");
        gateway.launch().unwrap();
        assert_replaced(gateway, &before);
        let now = gateway.counters("acme", "up").unwrap();
        assert!(now.passed.bytes > counted.passed.bytes && now.dropped.packets > counted.dropped.packets);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn the_next_controllers_programs_and_larger_tables_are_not_noticed_by_any_packet() {
    unnoticed(|gateway, mut config, datagrams| {
        // As a new version is installed: the old one stops in order, the next one brings its own programs. It
        // is the same build unless FAIRWAY_NEXT_BIN names another.
        let before = attached(gateway);
        gateway.stop().unwrap();
        datagrams.wait_for_more().unwrap();
        assert_eq!(attached(gateway), before);
        gateway.launch_next().unwrap();
        assert_replaced(gateway, &before);

        let before = attached(gateway);
        for index in 0..1_100 {
            let id = format!("t{index}");
            let prefix = format!("prefixes = ['198.18.{}.{}/32']", index / 256, index % 256);
            config.set_tenant(&id, &format!("id = '{id}'\n{prefix}"));
        }
        gateway.reload(&config).unwrap();
        assert!(gateway.log().contains("moved to larger tables"), "{}", gateway.log());
        assert_replaced(gateway, &before);
    });
}
