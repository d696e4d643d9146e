//! Offences that become cases, `fairway cases` and `fairway case`, and what a restart leaves of them.

use gateway::config::DetectMode;
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
