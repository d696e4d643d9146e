//! `fairway suspend` and `restore`, from the command to what the data plane is told.

use std::fs;

use gateway_ebpf::standing::Standing;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::fake::{Files, Gateway, eventually, stderr, stdout};

fn standing(gateway: &Gateway, tenant: &str) -> Option<Standing> {
    gateway.record.lock().unwrap().standings.get(tenant).copied()
}

fn suspension(gateway: &Gateway, tenant: &str) -> Value {
    let tenants = gateway.json("tenants")["tenants"].take();
    let tenants = tenants.as_array().unwrap();
    tenants.iter().find(|found| found["id"] == tenant).unwrap()["suspension"].clone()
}

#[test]
fn a_suspension_takes_effect_is_shown_and_survives_a_restart() {
    let gateway = Gateway::start(Files::new());
    let output = gateway.fairway(&["suspend", "acme", "--scope", "everything", "--reason", "spam run"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stderr(&output), "suspended acme: everything, until restored\n");
    assert_eq!(standing(&gateway, "acme"), Some(Standing::NOTHING));
    assert_eq!(standing(&gateway, "beta"), None);
    let shown = suspension(&gateway, "acme");
    assert_eq!(
        (&shown["scope"], &shown["reason"], &shown["until"]),
        (&"everything".into(), &"spam run".into(), &Value::Null)
    );
    assert_eq!(suspension(&gateway, "beta"), Value::Null);
    assert!(gateway.scrape().contains("fairway_tenant_standing{tenant=\"acme\"} 3\n"));
    assert!(stdout(&gateway.fairway(&["tenants"])).contains("suspended: everything"));

    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    assert_eq!(standing(&gateway, "acme"), Some(Standing::NOTHING));

    let output = gateway.fairway(&["restore", "acme", "--reason", "cleaned up", "--json"]);
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&answer["version"], &answer["tenant"]), (&1.into(), &"acme".into()));
    assert_eq!(answer["suspension"]["reason"], "spam run");
    assert_eq!(standing(&gateway, "acme"), None);
    assert!(gateway.scrape().contains("fairway_tenant_standing{tenant=\"acme\"} 0\n"));
}

#[test]
fn a_suspension_ends_by_itself() {
    let gateway = Gateway::start(Files::new());
    let before = Timestamp::now();
    assert!(
        gateway
            .fairway(&["suspend", "acme", "--scope", "mail", "--reason", "x", "--for", "2s"])
            .status
            .success()
    );
    assert_eq!(standing(&gateway, "acme"), Some(Standing::NO_MAIL));
    eventually("the end of the suspension", || standing(&gateway, "acme").is_none());
    assert!(Timestamp::now() >= before + 2.seconds(), "ended before its time");
    assert_eq!(suspension(&gateway, "acme"), Value::Null);
}

#[test]
fn mistakes_change_nothing_and_say_so() {
    let gateway = Gateway::start(Files::new());
    let refused = |args: &[&str]| {
        let output = gateway.fairway(args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        stderr(&output)
    };
    assert_eq!(
        refused(&["suspend", "nobody", "--scope", "mail", "--reason", "x"]),
        "error: no tenant \"nobody\" is configured; `fairway tenants` lists them\n"
    );
    assert_eq!(
        refused(&["restore", "acme", "--reason", "x"]),
        "error: tenant \"acme\" is not suspended, and no measure holds against it\n"
    );
    let usage = gateway.fairway(&["suspend", "acme", "--scope", "some", "--reason", "x"]);
    assert_eq!(usage.status.code(), Some(2));
    let usage = gateway.fairway(&["suspend", "acme", "--scope", "mail"]);
    assert_eq!(usage.status.code(), Some(2), "a reason is required");
    assert!(gateway.record.lock().unwrap().standings.is_empty());
}

#[test]
fn what_cannot_be_kept_is_not_done() {
    let gateway = Gateway::start(Files::new());
    // A directory where the file would be written, as a full disk would refuse it.
    fs::create_dir_all(gateway.files.path("state/suspensions.json.partial")).unwrap();
    let output = gateway.fairway(&["suspend", "acme", "--scope", "mail", "--reason", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("Nothing has changed"), "{output:?}");
    assert_eq!((standing(&gateway, "acme"), suspension(&gateway, "acme")), (None, Value::Null));
}

#[test]
fn a_damaged_record_stops_the_start() {
    let files = Files::new();
    fs::create_dir_all(files.path("state")).unwrap();
    files.write("state/suspensions.json", "{ not json");
    let error = crate::service::refused_start(&files).to_string();
    assert!(error.contains("cannot read the suspensions in") && error.contains("move it away"), "{error}");
}
