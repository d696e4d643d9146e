//! The controller dies, comes back, gives way to the next and moves to larger tables, all under load: the
//! transfer goes on at its cap, counters go on, and not one packet to a closed port slips through.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::iperf::{self, Flow, Traffic};
use fairway_tests::packets::{self, Receiver};
use fairway_tests::run::wait_for;
use fairway_tests::topology::Topology;
use gateway::dataplane::pinned_programs;

use crate::{police, untagged};

/// A port of UDP that the operator closed.
const CLOSED: u16 = 19;

/// Long enough for a controller to start twice on a busy machine.
const TRANSFER_SECONDS: u32 = 12;

/// Polices acme through `handover`, with one transfer by TCP through all of it.
fn unnoticed(handover: impl FnOnce(&mut Gateway<'_>, Config, &Knocks)) {
    let edit = |config: &mut Config| {
        config.set("gateway.on_stop = 'keep'");
        config.set("[[closed_port]]\nname = 'chargen'\nprotocol = 'udp'\nports = [19]\ndirection = 'both'");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, config| {
        let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
        let _server = iperf::serve(&internet.namespace, iperf::PORT).unwrap();
        let mut closed =
            Receiver::listen(&internet.namespace, SocketAddr::new(internet.ipv4.into(), CLOSED)).unwrap();
        let knocks = Knocks::default();
        let transfer = thread::scope(|scope| {
            scope.spawn(|| knocks.knock(topology));
            let transfer = scope.spawn(|| {
                let (server, cubic) = (internet.ipv4.into(), Traffic::Tcp("cubic"));
                iperf::transfer(&acme.namespace, server, iperf::PORT, cubic, Flow::Upload, TRANSFER_SECONDS)
            });
            // Ends the knocking also when what follows falls over, for the scope waits for its threads.
            let _end = EndKnocking(&knocks);
            wait_for("the transfer's first bytes", Duration::from_secs(10), || {
                (gateway.counters("acme", "up").ok()?.passed.bytes > 500_000).then_some(())
            })
            .unwrap();
            handover(gateway, config, &knocks);
            knocks.wait_for_more();
            assert!(!transfer.is_finished(), "the handover took longer than the transfer");
            transfer.join().unwrap()
        });
        let transfer = transfer.unwrap();
        let mbit_per_sec = transfer.mbit_per_sec();
        // Headers are 4 % of a full frame, and the burst of 250 ms adds 2 % over the transfer.
        assert!((8.5..10.0).contains(&mbit_per_sec), "{transfer:?}");
        let up = gateway.counters("acme", "up").unwrap();
        assert!(up.passed.bytes > transfer.received_bytes, "{up:?} counted of {transfer:?}");
        assert_eq!(up.dropped_for("port_blocked").packets, knocks.sent(), "each knock is counted once");
        assert_eq!(closed.received(), 0);
    });
}

/// Datagrams to the closed port, some hundred a second, from a socket of acme's.
#[derive(Default)]
struct Knocks {
    sent: AtomicU64,
    is_over: AtomicBool,
}

impl Knocks {
    fn knock(&self, topology: &Topology) {
        const AT_ONCE: u32 = 5;
        let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
        let target = SocketAddr::new(internet.ipv4.into(), CLOSED);
        while !self.is_over.load(Ordering::Acquire) {
            packets::send_datagrams(&acme.namespace, acme.ipv4.into(), target, 18, AT_ONCE).unwrap();
            self.sent.fetch_add(u64::from(AT_ONCE), Ordering::Release);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Returns once there have been many under the conditions of the moment.
    fn wait_for_more(&self) {
        let before = self.sent();
        let more = || (self.sent() >= before + 100).then_some(());
        wait_for("a hundred knocks", Duration::from_secs(10), more).unwrap();
    }
}

struct EndKnocking<'k>(&'k Knocks);

impl Drop for EndKnocking<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
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
    unnoticed(|gateway, _, knocks| {
        let (before, counted) = (attached(gateway), gateway.counters("acme", "up").unwrap());
        gateway.kill().unwrap();
        knocks.wait_for_more();
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
    unnoticed(|gateway, mut config, knocks| {
        // As a new version is installed: the old one stops in order, the next one brings its own programs. It
        // is the same build unless FAIRWAY_NEXT_BIN names another.
        let before = attached(gateway);
        gateway.stop().unwrap();
        knocks.wait_for_more();
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
