//! Offences that become cases, `fairway cases` and `fairway case`, and what a restart leaves of them.

use std::fs;

use gateway::config::DetectMode;
use gateway_ebpf::restriction::Restriction;
use serde_json::Value;

use crate::fake::{Files, Gateway, eventually, stderr, stdout};
use crate::offences::{happen, offence};

fn cases(gateway: &Gateway) -> Vec<Value> {
    let output = gateway.fairway(&["cases", "--json"]);
    let shown: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(shown["version"], 1);
    shown["cases"].as_array().unwrap().clone()
}

fn acts(gateway: &Gateway, id: &str) -> Vec<String> {
    let output = gateway.fairway(&["case", id, "--json"]);
    let shown: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{output:?}"));
    let entries = shown["entries"].as_array().unwrap().clone();
    entries.iter().map(|entry| entry["act"]["act"].as_str().unwrap().to_owned()).collect()
}

/// Steps that follow one another without an hour between.
const LADDER: &str = r#"
[enforcement]
mode = "enforce"
approvers = ["nobody-here"]
[enforcement.ladder.scan]
collect = "1m"
steps = [
  { restrict = "outbound", for = "1d", release = "auto" },
  { restrict = "everything", release = "approval" },
]
"#;

#[test]
fn a_ladder_restricts_the_tenant_until_it_is_restored() {
    let files = Files::new();
    let main = fs::read_to_string(files.config()).unwrap();
    fs::write(files.config(), format!("{main}{LADDER}")).unwrap();
    let gateway = Gateway::start(files);
    let held = |gateway: &Gateway| gateway.record.lock().unwrap().restrictions.get("acme").copied();
    happen(&gateway, "acme", &[offence("acme", "198.51.100.1/32")]);
    eventually("the restriction", || held(&gateway) == Some(Restriction::NO_OUTBOUND));
    let id = cases(&gateway)[0]["id"].as_str().unwrap().to_owned();
    let tenants = stdout(&gateway.fairway(&["tenants"]));
    assert!(tenants.contains(&format!("{id}: outbound")), "{tenants}");
    let explained = stdout(&gateway.fairway(&["explain", "198.51.100.1"]));
    let restricted = format!("RESTRICTED (outbound) by case {id}, strike 1 of class scan");
    assert!(explained.contains(&restricted), "{explained}");
    let metrics = gateway.scrape();
    for sample in [
        "fairway_tenant_standing{tenant=\"acme\",standing=\"quarantined\"} 1",
        "fairway_tenant_restriction{tenant=\"acme\",restriction=\"outbound\"} 1",
        "fairway_approvals_waiting 0",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{sample} is not in\n{metrics}");
    }

    // A restart leaves it, and a reload does.
    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    assert_eq!(held(&gateway), Some(Restriction::NO_OUTBOUND));
    assert!(gateway.fairway(&["reload"]).status.success());
    assert_eq!(held(&gateway), Some(Restriction::NO_OUTBOUND));

    let restored = gateway.fairway(&["restore", "acme", "--reason", "cleaned"]);
    assert!(stderr(&restored).contains(&format!("restored acme: case {id} is closed")), "{restored:?}");
    assert_eq!(held(&gateway), None);
    assert_eq!(acts(&gateway, &id)[4..], ["closed", "noticed"]);

    // It was restricted before: from now on nobody restores it alone.
    happen(&gateway, "acme", &[offence("acme", "198.51.100.1/32")]);
    eventually("the second strike", || held(&gateway) == Some(Restriction::NOTHING));
    let id = cases(&gateway)[0]["id"].as_str().unwrap().to_owned();
    let asked = gateway.fairway(&["restore", "acme", "--reason", "cleaned again"]);
    assert!(stderr(&asked).contains("is NOT restored yet"), "{asked:?}");
    let again = gateway.fairway(&["restore", "acme", "--reason", "please"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let alone = gateway.fairway(&["approve", &id, "--reason", "I say so"]);
    assert!(stderr(&alone).contains("needs the role approve"), "{alone:?}");
    assert_eq!(held(&gateway), Some(Restriction::NOTHING));
    assert!(gateway.scrape().lines().any(|line| line == "fairway_approvals_waiting 1"));
}

#[test]
fn a_tenant_is_slowed_by_hand_until_it_is_restored() {
    let gateway = Gateway::start(Files::new());
    let slow = |tenant, rate| gateway.fairway(&["slow", tenant, rate, "--for", "1h", "--reason", "backups"]);
    let slowed = slow("acme", "2 Mbit/s");
    assert!(stderr(&slowed).starts_with("slowed acme: 2 Mbit/s both ways, until "), "{slowed:?}");
    let caps = || gateway.record.lock().unwrap().policies.last().unwrap().caps[0];
    assert_eq!(caps(), [2_000_000; 2]);
    let explained = stdout(&gateway.fairway(&["explain", "198.51.100.1"]));
    assert!(explained.contains("RESTRICTED (cap 2 Mbit/s) by case "), "{explained}");
    assert!(explained.contains("10 Mbit/s, lowered to 2 Mbit/s by case "), "{explained}");
    // Again by hand takes the place of what holds.
    slow("acme", "1 Mbit/s");
    assert_eq!((caps(), cases(&gateway).len()), ([1_000_000; 2], 1));
    assert!(stderr(&slow("nobody", "1 Mbit/s")).contains("no tenant \"nobody\" is configured"));
    let restored = gateway.fairway(&["restore", "acme", "--reason", "done"]);
    assert!(stderr(&restored).contains("is closed"), "{restored:?}");
    assert_eq!(caps(), [10_000_000; 2]);
}

#[test]
fn an_offence_opens_a_case_that_a_restart_keeps_and_an_operator_closes() {
    let gateway = Gateway::start(Files::new());
    let mut watched = offence("beta", "198.51.100.17/32");
    watched.mode = DetectMode::Watch;
    happen(&gateway, "beta", &[watched]);
    happen(&gateway, "acme", &[offence("acme", "198.51.100.1/32")]);
    eventually("the case", || cases(&gateway).len() == 1);
    let open = cases(&gateway).remove(0);
    assert_eq!((&open["tenant"], &open["class"]), (&"acme".into(), &"scan".into()));
    let in_force = &open["in_force"];
    assert_eq!((&in_force["strike"], &in_force["enforced"]), (&1.into(), &false.into()));
    let id = open["id"].as_str().unwrap().to_owned();
    assert_eq!(acts(&gateway, &id), ["opened", "collected", "struck"]);
    let metric = "fairway_cases{class=\"scan\",severity=\"serious\"} 1\n";
    let metrics = gateway.scrape();
    assert!(metrics.contains(metric), "{metrics}");

    // The same again within the hour is the same strike; what a restart finds is what was there.
    happen(&gateway, "acme", &[offence("acme", "198.51.100.2/32")]);
    eventually("the second fact", || acts(&gateway, &id).len() == 4);
    let before = cases(&gateway);
    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    assert_eq!(cases(&gateway), before);

    let noted = gateway.fairway(&["case", &id, "--note", "called them"]);
    assert!(stdout(&noted).contains("called them"), "{noted:?}");
    let closed = gateway.fairway(&["case", &id, "--close", "--mistaken", "--reason", "a pentest"]);
    assert!(stdout(&closed).starts_with(&format!("{id} is closed\n")), "{closed:?}");
    assert_eq!(cases(&gateway), [Value::Null; 0]);
    assert_eq!(acts(&gateway, &id)[4..], ["noted", "closed"]);
    let again = gateway.fairway(&["case", &id, "--close", "--reason", "twice"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("there is no open case"), "{again:?}");
    let unknown = gateway.fairway(&["case", "C-2026-99999"]);
    assert!(stderr(&unknown).contains("there is no case C-2026-99999"), "{unknown:?}");
    let misspelt = gateway.fairway(&["case", "42"]);
    assert_eq!(misspelt.status.code(), Some(2), "{misspelt:?}");
}
