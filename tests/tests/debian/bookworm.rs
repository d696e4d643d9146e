//! Debian 12, from the installation to the removal.

use aya::maps::{Array, Map, MapData};
use fairway_tests::flows::Flows;
use fairway_tests::machine::Machine;
use fairway_tests::mail::Outcome;
use fairway_tests::packets::Receiver;
use fairway_tests::run::wait_for;
use gateway_ebpf::abi::{ABI_VERSION, map};
use serde_json::Value;

use crate::router::{
    Network, RETRIED, VERSIONS, ask, complaints, install, property, step, wait_until_active,
};

/// memcached's, which the example closes to the Internet, over UDP.
const CLOSED: u16 = 11_211;
/// One that it does not.
const OPEN: u16 = 9;

/// What is attached, while there is a controller or not.
fn pins(machine: &Machine) -> String {
    machine.run(&["find", "/sys/fs/bpf/fairway", "-name", "link-*", "-printf", "%f %i\\n"]).unwrap()
}

#[test]
#[ignore = "needs root: a booted Debian system"]
fn debian_12_installs_starts_upgrades_reboots_removes_and_purges() {
    let mut network = Network::without_tenants();
    let mut machine = Machine::create("bookworm").unwrap();
    step("boot", || machine.boot(&network.router).unwrap());
    step("install, which starts nothing", || {
        install(&machine, VERSIONS[0]);
        assert_eq!(
            (&*property(&machine, "ActiveState"), &*property(&machine, "UnitFileState")),
            ("inactive", "disabled")
        );
        machine.assert_no_unit_failed().unwrap();
        machine.run(&["fairway", "check"]).unwrap();
    });
    step("start, with an interface that comes late", || start_late(&mut network, &machine));
    assert_eq!(network.mail(), Outcome::NoAnswer);
    assert!(exposure(&machine) <= 1.7, "{}", exposure(&machine));
    step("reload, refused", || refuse(&machine));
    under_traffic(&network, &machine);
    step("downgrade to another ABI, refused", || refuse_another_abi(&network, &machine));
    step("stop", || {
        let before = pins(&machine);
        machine.run(&["systemctl", "stop", "fairway"]).unwrap();
        assert_eq!(pins(&machine), before, "it stays attached");
        assert_eq!(network.mail(), Outcome::NoAnswer);
        machine.assert_no_unit_failed().unwrap();
        machine.run(&["systemctl", "start", "fairway"]).unwrap();
    });

    machine.run(&["fairway", "suspend", "cafe", "--scope", "mail", "--reason", "a test"]).unwrap();
    step("switch off", || machine.shut_down().unwrap());
    drop(network);
    let network = Network::whole();
    step("boot", || machine.boot(&network.router).unwrap());
    wait_until_active(&machine);
    assert_eq!(network.mail(), Outcome::NoAnswer);
    let history = ask(&machine, &["history", "cafe"]).to_string();
    assert!(history.contains("a test"), "{history}");
    assert_eq!(complaints(&machine, 4), "", "neither errors nor warnings");
    machine.assert_no_unit_failed().unwrap();

    step("remove, which keeps state and policing", || {
        let removed = machine.run(&["apt-get", "remove", "--yes", "fairway"]).unwrap();
        assert!(removed.contains("the kernel goes on policing"), "{removed}");
        machine.run(&["ls", "/var/lib/fairway/ledger.sqlite", "/etc/fairway/gateway.toml"]).unwrap();
        assert_eq!(network.mail(), Outcome::NoAnswer);
    });
    step("purge, which ends both", || {
        machine.run(&["apt-get", "purge", "--yes", "fairway"]).unwrap();
        for gone in ["/var/lib/fairway", "/sys/fs/bpf/fairway", "/etc/fairway"] {
            machine.run(&["test", "!", "-e", gone]).unwrap();
        }
        assert_eq!(network.mail(), Outcome::Delivered);
        machine.assert_no_unit_failed().unwrap();
    });
    step("switch off", || machine.shut_down().unwrap());
}

/// The README's last step, on a router whose other interface is not there yet.
fn start_late(network: &mut Network, machine: &Machine) {
    let started = machine.start(&["systemctl", "enable", "--now", "fairway"]).unwrap();
    assert!(!started.status.success(), "the operator is told");
    let restarted = || (property(machine, "NRestarts").parse::<u32>().unwrap() >= 3).then_some(());
    wait_for("the fourth try", RETRIED, restarted).unwrap();
    let errors = complaints(machine, 3);
    assert!(errors.contains("looking for interface eth1 (/etc/fairway/gateway.toml"), "{errors}");
    network.connect_bolt();
    wait_until_active(machine);
    let told =
        machine.journal(&["--unit=fairway", "--priority=6..6", "--output=cat", "_COMM=fairway"]).unwrap();
    assert!(told.contains("policing gateway=\"edge1\"") && !told.contains("eth1"), "{told}");
}

/// What `systemd-analyze security` makes of the unit: 0 is safe, 10 is not.
fn exposure(machine: &Machine) -> f32 {
    let told = machine.run(&["systemd-analyze", "security", "--no-pager", "fairway.service"]).unwrap();
    let level = told.lines().find_map(|line| line.split_once("Overall exposure level for fairway.service: "));
    level.unwrap().1.split_whitespace().next().unwrap().parse().unwrap()
}

/// A mistake fails the reload, is an error in the journal, and changes nothing.
fn refuse(machine: &Machine) {
    let edit = |from: &str, to: &str| {
        let expression = format!("s/{from}/{to}/");
        machine.run(&["sed", "-i", &expression, "/etc/fairway/tenants.d/bolt.toml"]).unwrap();
    };
    edit("Mbit", "Mbot");
    assert!(!machine.start(&["systemctl", "reload", "fairway"]).unwrap().status.success());
    let refused =
        machine.journal(&["--unit=fairway", "--priority=3", "--output=cat", "_COMM=fairway"]).unwrap();
    assert!(refused.contains("reload refused") && refused.contains("Mbot"), "{refused}");
    edit("Mbot", "Mbit");
    machine.run(&["systemctl", "reload", "fairway"]).unwrap();
    assert_eq!(ask(machine, &["status"])["config"]["last_reload"]["successful"], Value::Bool(true));
}

/// A package that cannot take over what the installed one left in the kernel: that goes on policing, and the journal
/// says what to do. No second build is needed: the tables are marked as a newer version would mark its own.
fn refuse_another_abi(network: &Network, machine: &Machine) {
    let mut control = pinned_control(machine);
    let [signature, _, bank, live] = control.get(&0, 0).unwrap();
    control.set(0, [signature, ABI_VERSION + 1, bank, live], 0).unwrap();
    let links = pins(machine);
    let file = format!("./fairway_{}.deb", VERSIONS[0]);
    machine.run(&["apt-get", "install", "--yes", "--allow-downgrades", &file]).unwrap();
    assert_eq!(installed(machine), VERSIONS[0]);
    let tried = || (property(machine, "NRestarts").parse::<u32>().unwrap() >= 1).then_some(());
    wait_for("another try", RETRIED, tried).unwrap();
    assert_ne!(property(machine, "ActiveState"), "active");
    let errors = complaints(machine, 3);
    let version = format!("its ABI is version {}, this controller's is {ABI_VERSION}", ABI_VERSION + 1);
    assert!(errors.contains(&version) && errors.contains("run `fairway detach"), "{errors}");
    assert_eq!(pins(machine), links, "all stays attached");
    assert_eq!(network.mail(), Outcome::NoAnswer, "and polices");

    machine.run(&["fairway", "detach"]).unwrap();
    machine.run(&["systemctl", "restart", "fairway"]).unwrap();
    assert_ne!(pins(machine), links, "the data plane is another");
    assert_eq!(network.mail(), Outcome::NoAnswer);
    install(machine, VERSIONS[1]);
    wait_until_active(machine);
    machine.assert_no_unit_failed().unwrap();
}

/// The switchboard in its BPF file system: signature, ABI version, bank in force, whether it is live.
fn pinned_control(machine: &Machine) -> Array<MapData, [u32; 4]> {
    let found = machine.run(&["find", "/sys/fs/bpf/fairway", "-name", map::CONTROL]).unwrap();
    let path = machine.path(found.trim().trim_start_matches('/')).unwrap();
    Array::try_from(Map::from_map_data(MapData::from_pin(path).unwrap()).unwrap()).unwrap()
}

/// The version that dpkg has.
fn installed(machine: &Machine) -> String {
    machine.run(&["dpkg-query", "--show", "--showformat=${Version}", "fairway"]).unwrap()
}

/// A reload, a restart, a crash and an upgrade: no packet notices any of them.
fn under_traffic(network: &Network, machine: &Machine) {
    let listen = |host: &fairway_tests::topology::Host, at| Receiver::listen(&host.namespace, at).unwrap();
    let mut open = listen(&network.internet, network.at_internet(OPEN));
    let mut closed = listen(network.bolt(), network.at_bolt(CLOSED));
    let flows = Flows::start(&[
        (&network.bolt().namespace, network.at_internet(OPEN)),
        (&network.internet.namespace, network.at_bolt(CLOSED)),
    ])
    .unwrap();
    flows.wait_for_more().unwrap();
    let links = pins(machine);
    let process = || property(machine, "MainPID");
    let before = process();
    step("reload under traffic", || machine.run(&["systemctl", "reload", "fairway"]).unwrap());
    flows.wait_for_more().unwrap();
    assert_eq!(process(), before);
    step("restart under traffic", || machine.run(&["systemctl", "restart", "fairway"]).unwrap());
    flows.wait_for_more().unwrap();
    step("crash under traffic", || {
        let restarts = property(machine, "NRestarts");
        machine.run(&["systemctl", "kill", "--signal=KILL", "fairway"]).unwrap();
        wait_for("another start", RETRIED, || (property(machine, "NRestarts") != restarts).then_some(()))
            .unwrap();
        wait_until_active(machine);
    });
    flows.wait_for_more().unwrap();
    let before = process();
    step("upgrade under traffic", || install(machine, VERSIONS[1]));
    assert_eq!(installed(machine), VERSIONS[1]);
    assert_ne!(process(), before, "the new program runs");
    wait_until_active(machine);
    flows.wait_for_more().unwrap();
    assert_eq!(pins(machine), links, "the links are the same throughout");

    let sent = flows.stop().unwrap();
    open.wait_for(u32::try_from(sent).unwrap()).unwrap();
    assert_eq!(closed.received(), 0);
    let tenants = ask(machine, &["tenants"]);
    let bolt = tenants["tenants"].as_array().unwrap().iter().find(|tenant| tenant["id"] == "bolt").unwrap();
    assert_eq!(bolt["down"]["by_reason"]["port_blocked"]["packets"], sent, "each is counted once: {bolt}");
    eprintln!("{sent} datagrams on each of two flows: none lost, none let through that should not be");
}
