//! An answered act survives whatever happens next.

use std::time::Duration;

use fairway_tests::run::wait_for;
use fairway_tests::soak;

use crate::{police, untagged};

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn nothing_that_was_answered_is_lost_when_the_controller_is_killed() {
    let topology = soak::plan().build().unwrap();
    let report = soak::soak(&topology, 6, soak::seed().unwrap()).unwrap();
    assert_eq!(report.kills, 6);
    assert!(report.acknowledged > 0 && report.entries >= report.acknowledged, "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_lifted_measure_is_not_back_when_the_controller_is_killed_at_the_answer() {
    let edit = |config: &mut fairway_tests::config::Config| {
        config.set("[detect.syn_flood]\nsyns_per_second = 10\nexcess = 50");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        topology.router.ip("route add blackhole 192.0.2.0/24").unwrap();
        for _ in 0..3 {
            let flood =
                ["hping3", "--quiet", "--syn", "--interval", "u1000", "--destport", "80", "192.0.2.9"];
            let flood = topology.tenant("acme").host.namespace.start(&flood).unwrap();
            let measures = || gateway.tenants().unwrap()["tenants"][0]["measures"].as_array().unwrap().len();
            wait_for("a measure", Duration::from_secs(60), || (measures() > 0).then_some(())).unwrap();
            drop(flood);
            gateway.call(&["restore", "acme", "--reason", "cleaned"]).unwrap().success().unwrap();
            gateway.kill().unwrap();
            gateway.launch().unwrap();
            let tenants = gateway.tenants().unwrap();
            assert_eq!(tenants["tenants"][0]["measures"], serde_json::json!([]));
        }
    });
}

/// The ledger is gone, the kernel still holds what was decided: the operator sees it and can end it.
#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn what_the_kernel_holds_is_shown_and_ended_when_the_ledger_is_lost() {
    let edit = |config: &mut fairway_tests::config::Config| {
        config.set("gateway.on_stop = 'keep'\n[detect.syn_flood]\nsyns_per_second = 10\nexcess = 50");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        topology.router.ip("route add blackhole 192.0.2.0/24").unwrap();
        let flood = ["hping3", "--quiet", "--syn", "--interval", "u1000", "--destport", "80", "192.0.2.9"];
        let flood = topology.tenant("acme").host.namespace.start(&flood).unwrap();
        let held = |what: &str| gateway.tenants().unwrap()["tenants"][0][what].clone();
        let is_held = || (!held("measures").as_array().unwrap().is_empty()).then_some(());
        wait_for("a measure", Duration::from_secs(60), is_held).unwrap();
        drop(flood);
        gateway.call(&["suspend", "acme", "--scope", "mail", "--reason", "spam"]).unwrap().success().unwrap();
        gateway.stop().unwrap();
        let state = gateway.config_file().with_file_name("state");
        let state = if state.exists() { state } else { gateway.config_file().parent().unwrap().to_owned() };
        std::fs::write(state.join("ledger.sqlite"), "this is no database ".repeat(1_000)).unwrap();
        let _ = std::fs::remove_dir_all(state.join("backup"));
        gateway.launch().unwrap();
        let held = |what: &str| gateway.tenants().unwrap()["tenants"][0][what].clone();
        assert_eq!(held("suspensions")[0]["scope"], "mail");
        assert_eq!(held("measures")[0]["measure"], "drop_syn");
        assert!(!gateway.status().unwrap()["ledger"]["losses"].as_array().unwrap().is_empty());
        gateway.call(&["restore", "acme", "--reason", "cleaned"]).unwrap().success().unwrap();
        assert_eq!((held("suspensions"), held("measures")), (serde_json::json!([]), serde_json::json!([])));
        gateway.kill().unwrap();
        gateway.launch().unwrap();
        let tenants = gateway.tenants().unwrap();
        assert_eq!(tenants["tenants"][0]["suspensions"], serde_json::json!([]), "it was adopted once");
    });
}
