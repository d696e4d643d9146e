//! The doctor finds what was broken on purpose, and its cures work.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fairway_tests::config::Config;
use fairway_tests::gateway::{Gateway, binary};
use fairway_tests::namespace::Link;
use fairway_tests::process::Finished;
use fairway_tests::topology::{Plan, Topology};
use serde_json::Value;

use crate::{police, untagged};

fn doctor(topology: &Topology, config: &Path, more: &[&str]) -> Finished {
    let (program, config) = (binary().unwrap(), config.to_string_lossy());
    let command = [&[&program[..], "doctor", "--config", &config], more].concat();
    topology.router.start(&command).unwrap().finish(Duration::from_secs(60)).unwrap()
}

/// The whole report, and the exit code that goes with it.
fn report(topology: &Topology, config: &Path) -> (Value, i32) {
    let finished = doctor(topology, config, &["--json"]);
    let code = finished.code();
    (serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}")), code)
}

/// One finding of a report.
fn finding(report: &Value, interface: Option<&str>, check: &str) -> Value {
    let mut findings = report["findings"].as_array().unwrap().iter();
    let found = findings.find(|f| f["check"] == check && f["interface"].as_str() == interface);
    found.unwrap_or_else(|| panic!("no {check} of {interface:?} in {report:#}")).clone()
}

fn assert_healthy(topology: &Topology, gateway: &Gateway<'_>) {
    let (report, code) = report(topology, &gateway.config_file());
    assert_eq!((code, &report["problems"]), (0, &0.into()), "{report:#}");
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_healthy_gateway_gets_a_clean_bill() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let (report, code) = report(topology, &gateway.config_file());
            assert_eq!(
                (code, &report["version"], &report["problems"]),
                (0, &1.into(), &0.into()),
                "{report:#}"
            );
            for check in ["kernel", "privileges", "bpffs", "memlock", "clock", "tick", "cpus", "forwarding"] {
                assert_eq!(finding(&report, None, check)["severity"], "ok", "{report:#}");
            }
            let programs = finding(&report, None, "programs");
            assert_eq!(programs["found"], "the programs pass the verifier, and attach by BPF link");
            let policed = finding(&report, Some("t-acme"), "xdp");
            assert_eq!(policed["found"], "policed in native mode");
            assert_eq!(policed["mend"], Value::Null);
            assert_eq!(finding(&report, Some("t-acme"), "interface")["found"], "up, driver veth");
            let text = doctor(topology, &gateway.config_file(), &[]);
            assert_eq!(text.code(), 0);
            assert!(text.stdout.contains("t-acme xdp") && text.stderr.contains("0 problems"), "{text:?}");
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn stripped_tags_are_a_problem_and_the_cure_works() {
    police(
        &Plan::default(),
        |_| {},
        |topology, gateway, _| {
            assert_healthy(topology, gateway);
            topology.router.run(&["ethtool", "-K", "t-gamma", "rxvlan", "on"]).unwrap();
            let (report, code) = report(topology, &gateway.config_file());
            let found = finding(&report, Some("t-gamma"), "vlan_offload");
            assert_eq!((code, &found["severity"]), (1, &"problem".into()), "{report:#}");
            let mend = found["mend"].as_str().unwrap().split(';').next().unwrap();
            assert_eq!(mend, "ethtool -K t-gamma rxvlan off");
            topology.router.run(&mend.split(' ').collect::<Vec<_>>()).unwrap();
            assert_healthy(topology, gateway);
            // On the uplink, tags are not matched.
            topology.router.run(&["ethtool", "-K", "up0", "rxvlan", "on"]).unwrap();
            assert_healthy(topology, gateway);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn large_segments_are_warned_of_where_the_kernel_does_not_cut_them() {
    let plan = Plan { link: Link { mtu: 1500, offloads: true }, ..untagged(&["acme"]) };
    for mode in ["generic", "native"] {
        let edit = |config: &mut Config| {
            config.set_interfaces("mode", mode);
        };
        police(&plan, edit, |topology, gateway, _| {
            let (report, _) = report(topology, &gateway.config_file());
            let mut found = report["findings"].as_array().unwrap().iter();
            let is_warned = found.any(|found| found["check"] == "segments" && found["interface"] == "t-acme");
            let host = &topology.tenant("acme").host;
            let features = host.namespace.run(&["ethtool", "-k", "eth0"]).unwrap();
            let arrive = features.contains("tcp-segmentation-offload: on");
            assert_eq!(
                (is_warned, arrive),
                (mode == "generic", mode == "generic"),
                "{mode}: {report:#}\n{features}"
            );
        });
    }
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn missing_interfaces_and_foreign_programs_are_problems() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            // To a gateway with other pins, this one's programs are foreign.
            let config = fs::read_to_string(gateway.config_file()).unwrap();
            let pins = gateway.pin_directory().to_string_lossy().into_owned();
            let other = gateway.config_file().with_file_name("other.toml");
            let more = "\n[[interface]]\nname = 'nosuch0'\nside = 'uplink'\n";
            fs::write(&other, config.replace(&pins, &format!("{pins}-other")) + more).unwrap();
            let (report, code) = report(topology, &other);
            assert_eq!((code, &report["problems"]), (1, &3.into()), "{report:#}");
            for interface in ["t-acme", "up0"] {
                let found = finding(&report, Some(interface), "xdp");
                let mend = found["mend"].as_str().unwrap();
                assert!(mend.starts_with(&format!("ip link set dev {interface} xdpdrv off")), "{mend}");
            }
            let missing = finding(&report, Some("nosuch0"), "interface");
            assert_eq!(missing["found"], "does not exist");
            assert!(missing["mend"].as_str().unwrap().contains("other.toml:"), "{missing}");
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn without_a_configuration_the_machine_is_examined_all_the_same() {
    let topology = untagged(&["acme"]).build().unwrap();
    let (report, code) = report(&topology, Path::new("/nosuch/gateway.toml"));
    assert_eq!((code, &report["problems"]), (1, &1.into()), "{report:#}");
    assert_eq!(finding(&report, None, "programs")["severity"], "ok");
    let mend = finding(&report, None, "config")["mend"].clone();
    assert_eq!(mend, "fairway check --config /nosuch/gateway.toml");
    let text = doctor(&topology, Path::new("/nosuch/gateway.toml"), &[]);
    assert!(text.stderr.contains("/nosuch/gateway.toml"), "{text:?}");
    assert_eq!(doctor(&topology, Path::new("/nosuch"), &["--no-such-flag"]).code(), 2);
}
