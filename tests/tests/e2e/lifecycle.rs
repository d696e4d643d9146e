//! What is in force when the controller stops, crashes, comes back, or is bypassed.

use aya::maps::{Array, Map, MapData};
use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::topology::Topology;
use gateway::dataplane::pinned_programs;
use gateway_ebpf::abi::{ABI_VERSION, map};

use crate::{police, untagged};

/// What becomes of a mail on the closed port.
fn mail(topology: &Topology, outside: &MailServer) -> Outcome {
    let acme = &topology.tenant("acme").host.namespace;
    outside.receive(acme, topology.internet.addresses()[0]).unwrap()
}

fn assert_detached(topology: &Topology, gateway: &Gateway<'_>) {
    for interface in ["t-acme", "up0"] {
        let link = topology.router.run(&["ip", "-details", "link", "show", "dev", interface]).unwrap();
        assert!(!link.contains("xdp"), "{link}");
    }
    assert!(!gateway.pin_directory().exists());
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_stop_detaches_everything_where_the_operator_wants_that() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            gateway.stop().unwrap();
            assert_detached(topology, gateway);
            assert_eq!(mail(topology, &outside), Outcome::Delivered);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_stop_keeps_policing_by_default_until_detached() {
    let edit = |config: &mut Config| {
        config.set("gateway.on_stop = 'keep'");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
        gateway.stop().unwrap();
        assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
        gateway.detach().unwrap();
        assert_detached(topology, gateway);
        assert_eq!(mail(topology, &outside), Outcome::Delivered);
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_crash_changes_nothing_and_the_next_start_takes_over() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            let blocked = |gateway: &Gateway<'_>| {
                gateway.counters("acme", "up").unwrap().dropped_for("smtp_blocked").packets
            };
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            let before = blocked(gateway);
            assert!(before > 0);
            gateway.kill().unwrap();
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            gateway.launch().unwrap();
            let meanwhile = blocked(gateway);
            assert!(meanwhile > before, "{before} before the crash, {meanwhile} after the return");
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            assert!(blocked(gateway) > meanwhile);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn detach_is_a_bypass_while_the_controller_runs() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
            gateway.detach().unwrap();
            assert_detached(topology, gateway);
            assert_eq!(mail(topology, &outside), Outcome::Delivered);
        },
    );
}

/// The pinned switchboard: signature, ABI version, bank in force, whether it is live.
fn switchboard(gateway: &Gateway<'_>) -> Array<MapData, [u32; 4]> {
    let tables = gateway.pin_directory().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let tables = tables.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("maps-"));
    let control = MapData::from_pin(tables.last().unwrap().join(map::CONTROL)).unwrap();
    Array::try_from(Map::from_map_data(control).unwrap()).unwrap()
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn tables_of_another_abi_are_refused_and_left_alone() {
    let edit = |config: &mut Config| {
        config.set("gateway.on_stop = 'keep'");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
        gateway.stop().unwrap();
        let mut pinned = switchboard(gateway);
        let own = pinned.get(&0, 0).unwrap();
        let [signature, _, bank, live] = own;
        let version = |of| format!("its ABI is version {of}, this controller's is {ABI_VERSION}");
        for (foreign, complaint) in [
            ([signature, ABI_VERSION - 1, bank, live], version(ABI_VERSION - 1)),
            ([signature, ABI_VERSION + 1, bank, live], version(ABI_VERSION + 1)),
            ([!signature, ABI_VERSION, bank, live], "which is not Fairway's signature".into()),
        ] {
            pinned.set(0, foreign, 0).unwrap();
            let programs = pinned_programs(&gateway.pin_directory()).unwrap();
            let refusal = format!("{:#}", gateway.launch().unwrap_err());
            for words in ["taking over the data plane pinned in", &complaint, "run `fairway detach --config"]
            {
                assert!(refusal.contains(words), "{words}: {refusal}");
            }
            assert_eq!(pinned.get(&0, 0).unwrap(), foreign, "the tables are as they were");
            assert_eq!(pinned_programs(&gateway.pin_directory()).unwrap(), programs, "and the programs");
            assert_eq!(mail(topology, &outside), Outcome::NoAnswer, "which go on policing");
        }
        gateway.detach().unwrap();
        assert_detached(topology, gateway);
        gateway.launch().unwrap();
        assert_eq!(switchboard(gateway).get(&0, 0).unwrap()[..2], own[..2]);
        assert_eq!(mail(topology, &outside), Outcome::NoAnswer);
    });
}
