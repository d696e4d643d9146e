//! `fairway suspend` and `restore`, from the command to what the data plane is told.

use std::collections::HashMap;
use std::fs;

use gateway::controller::{Release, Released};
use gateway::suspension::{Scope, Suspension};
use gateway_ebpf::restriction::Restriction;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::fake::{Files, Gateway, controller, eventually, fairway, stderr, stdout};

/// Who runs the tests, as the ledger names them.
fn operator() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap().name
}

fn history(gateway: &Gateway, tenant: &str) -> Vec<Value> {
    let output = gateway.fairway(&["history", tenant, "--json"]);
    let mut history: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{output:?}"));
    history["entries"].take().as_array().unwrap().clone()
}

fn restriction(gateway: &Gateway, tenant: &str) -> Option<Restriction> {
    gateway.record.lock().unwrap().restrictions.get(tenant).copied()
}

fn suspension(gateway: &Gateway, tenant: &str) -> Value {
    let tenants = gateway.json("tenants")["tenants"].take();
    let tenants = tenants.as_array().unwrap();
    tenants.iter().find(|found| found["id"] == tenant).unwrap()["suspension"].clone()
}

/// That `acme` is forbidden something, as metrics show it.
fn series(what: &str) -> String {
    format!("fairway_tenant_restriction{{tenant=\"acme\",restriction=\"{what}\"}} 1\n")
}

#[test]
fn a_suspension_takes_effect_is_shown_and_survives_a_restart() {
    let gateway = Gateway::start(Files::new());
    let output = gateway.fairway(&["suspend", "acme", "--scope", "everything", "--reason", "spam run"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stderr(&output), "suspended acme: everything, until restored\n");
    assert_eq!(restriction(&gateway, "acme"), Some(Restriction::NOTHING));
    assert_eq!(restriction(&gateway, "beta"), None);
    let shown = suspension(&gateway, "acme");
    assert_eq!(
        (&shown["scope"], &shown["reason"], &shown["by"], &shown["until"]),
        (&"everything".into(), &"spam run".into(), &operator().into(), &Value::Null)
    );
    assert_eq!(suspension(&gateway, "beta"), Value::Null);
    assert!(gateway.scrape().contains(&series("everything")));
    assert!(stdout(&gateway.fairway(&["tenants"])).contains("suspended: everything"));

    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    assert_eq!(restriction(&gateway, "acme"), Some(Restriction::NOTHING));

    let output = gateway.fairway(&["restore", "acme", "--reason", "cleaned up", "--json"]);
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&answer["version"], &answer["tenant"]), (&1.into(), &"acme".into()));
    assert_eq!(answer["suspension"]["reason"], "spam run");
    assert_eq!(restriction(&gateway, "acme"), None);
    assert!(!gateway.scrape().contains("fairway_tenant_restriction"));
}

#[test]
fn the_history_tells_who_suspended_and_restored_when_and_why() {
    let gateway = Gateway::start(Files::new());
    let digest = gateway.json("status")["config"]["digest"].clone();
    for args in [
        &["suspend", "acme", "--scope", "mail", "--reason", "spam run", "--for", "1h"][..],
        &["suspend", "acme", "--scope", "everything", "--reason", "it goes on"],
        &["restore", "acme", "--reason", "cleaned up"],
        &["suspend", "beta", "--scope", "mail", "--reason", "other"],
    ] {
        assert!(gateway.fairway(args).status.success(), "{args:?}");
    }
    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    let shown = history(&gateway, "acme");
    let [restored_all, restored_mail, again, first] = &shown[..] else { panic!("{shown:?}") };
    let entry = |at: &Value, change, scope, reason, until: Option<Timestamp>| {
        json!({
            "entry": "suspension", "at": at, "change": change, "scope": scope, "source": null,
            "until": until.map(|until| until.to_string()), "by": operator(), "reason": reason,
            "config_digest": digest,
        })
    };
    let until = first["at"].as_str().unwrap().parse::<Timestamp>().unwrap() + 1.hour();
    assert_eq!(*first, entry(&first["at"], "suspended", "mail", "spam run", Some(until)));
    assert_eq!(*again, entry(&again["at"], "suspended", "everything", "it goes on", None));
    assert_eq!(restored_all["at"], restored_mail["at"]);
    let at = &restored_all["at"];
    assert_eq!(*restored_mail, entry(at, "restored", "mail", "cleaned up", None));
    assert_eq!(*restored_all, entry(at, "restored", "everything", "cleaned up", None));

    let text = stdout(&gateway.fairway(&["history", "acme"]));
    let lines: Vec<_> = text.lines().collect();
    let by = operator();
    for (line, expected) in lines[1..].iter().zip([
        format!("restored   everything by {by}: cleaned up"),
        format!("restored   mail by {by}: cleaned up"),
        format!("suspended  everything until restored, by {by}: it goes on"),
        format!("suspended  mail until {until:.0}, by {by}: spam run"),
    ]) {
        assert!(line.contains(&expected), "{expected} is not in\n{text}");
    }
    assert_eq!(lines.len(), 5, "{text}");
}

#[test]
fn suspensions_add_up_and_each_is_given_back_by_itself() {
    let gateway = Gateway::start(Files::new());
    let (mail, outbound) = (Restriction::NO_MAIL, Restriction::NO_OUTBOUND);
    let suspend = |scope| gateway.fairway(&["suspend", "acme", "--scope", scope, "--reason", scope]);
    let scopes = |of: &Value| -> Vec<Value> {
        of["suspensions"].as_array().unwrap().iter().map(|held| held["scope"].clone()).collect()
    };
    let tenant = || gateway.json("tenants")["tenants"][0].take();
    suspend("outbound");
    let output = suspend("mail");
    assert_eq!(
        stderr(&output),
        "suspended acme: mail, until restored\nacme is suspended besides (outbound) for: outbound\n"
    );
    assert_eq!(restriction(&gateway, "acme"), Some(mail.with(outbound)));
    assert_eq!(
        (scopes(&tenant()), &tenant()["suspension"]["scope"]),
        (vec!["mail".into(), "outbound".into()], &"outbound".into())
    );
    let scrape = gateway.scrape();
    assert!(scrape.contains(&series("mail")) && scrape.contains(&series("outbound")), "{scrape}");
    assert!(stdout(&gateway.fairway(&["tenants"])).contains("suspended: mail, suspended: outbound"));
    let explained = stdout(&gateway.fairway(&["explain", "198.51.100.1"]));
    for scope in ["mail", "outbound"] {
        let line = format!(" restriction SUSPENDED ({scope}) by {} since ", operator());
        assert!(explained.contains(&line), "{line} is not in\n{explained}");
    }

    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    assert_eq!(restriction(&gateway, "acme"), Some(mail.with(outbound)));
    let output = gateway.fairway(&["restore", "acme", "--scope", "mail", "--reason", "clean", "--json"]);
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((scopes(&answer), &answer["suspension"]["reason"]), (vec!["mail".into()], &"mail".into()));
    assert_eq!(restriction(&gateway, "acme"), Some(outbound));
    let again = gateway.fairway(&["restore", "acme", "--scope", "mail", "--reason", "clean"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        stderr(&again),
        "error: tenant \"acme\" has no suspension of scope mail; `fairway tenants` shows those that it has\n"
    );
    let both = ["restore", "acme", "--scope", "mail", "--source", "198.51.100.1", "--reason", "x"];
    assert_eq!(gateway.fairway(&both).status.code(), Some(2));
    assert!(gateway.fairway(&["restore", "acme", "--reason", "clean"]).status.success());
    assert_eq!((restriction(&gateway, "acme"), suspension(&gateway, "acme")), (None, Value::Null));
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
    assert_eq!(restriction(&gateway, "acme"), Some(Restriction::NO_MAIL));
    eventually("the end of the suspension", || restriction(&gateway, "acme").is_none());
    assert!(Timestamp::now() >= before + 2.seconds(), "ended before its time");
    // It is recorded after it has ended.
    eventually("the record of the end", || history(&gateway, "acme")[0]["change"] == "expired");
    let entry = &history(&gateway, "acme")[0];
    let expected = json!({
        "entry": "suspension",
        "at": entry["at"],
        "change": "expired",
        "scope": "mail",
        "source": null,
        "until": null,
        "by": null,
        "reason": "x",
        "config_digest": entry["config_digest"],
    });
    assert_eq!(entry, &expected);
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
    assert!(gateway.record.lock().unwrap().restrictions.is_empty());
}

#[test]
fn what_the_kernel_refuses_is_recorded_reported_and_tried_again() {
    let files = Files::new();
    let (controller, record) = controller(&files);
    let refuse = |refusal| record.lock().unwrap().refusal = refusal;
    let held = || record.lock().unwrap().restrictions.clone();
    let (by, since) = (Some("j.doe".into()), Timestamp::now());
    let suspension = Suspension { scope: Scope::Mail, reason: "spam run".into(), by, since, until: None };
    let release =
        || Release { of: Released::All, by: crate::fake::operator("j.doe"), reason: "clean".into() };
    let no_mail = HashMap::from([("acme".to_owned(), Restriction::NO_MAIL)]);
    let nothing = HashMap::new();
    let tried_again = |before: &HashMap<_, _>, after: &HashMap<_, _>| {
        controller.compare().unwrap();
        assert_eq!(held(), *before, "it is refused again");
        refuse(None);
        controller.compare().unwrap();
        assert_eq!(held(), *after);
    };
    let report = "it is recorded, but not in force: writing the tables: no space left. Make room. \
                  It is tried again within a minute";

    refuse(Some("no space left"));
    assert_eq!(controller.suspend("acme", suspension).unwrap_err().to_string(), report);
    assert_eq!(controller.history("acme").len(), 1, "it is recorded");
    tried_again(&nothing, &no_mail);

    refuse(Some("no space left"));
    assert_eq!(controller.restore("acme", release()).unwrap_err().to_string(), report);
    assert_eq!(controller.history("acme").len(), 2, "it is recorded");
    tried_again(&no_mail, &nothing);
}

#[test]
fn a_command_that_the_kernel_refuses_fails() {
    let gateway = Gateway::start(Files::new());
    gateway.record.lock().unwrap().refusal = Some("no space left");
    let output = gateway.fairway(&["suspend", "acme", "--scope", "mail", "--reason", "spam run"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("recorded, but not in force: writing the tables"), "{output:?}");
}

/// Refuses entries that hold this text, as a full disk refuses them: in the middle of a transaction.
fn fill_disk(gateway: &Gateway, text: &str) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(gateway.files.path("state/ledger.sqlite")).unwrap();
    let full = format!(
        "CREATE TRIGGER full BEFORE INSERT ON bodies WHEN instr(NEW.body, '{text}')
         BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    );
    database.execute_batch(&full).unwrap();
    database
}

#[test]
fn what_cannot_be_kept_is_not_done() {
    let gateway = Gateway::start(Files::new());
    let suspend = ["suspend", "acme", "--scope", "mail", "--reason", "no room"];
    let database = fill_disk(&gateway, "no room");
    let refused = |args: &[&str]| {
        let output = gateway.fairway(args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let error = stderr(&output);
        assert!(error.contains("disk is full") && error.contains("Nothing has changed"), "{error}");
    };
    refused(&suspend);
    assert_eq!((restriction(&gateway, "acme"), suspension(&gateway, "acme")), (None, Value::Null));
    database.execute_batch("DROP TRIGGER full").unwrap();
    assert!(gateway.fairway(&suspend).status.success());

    let database = fill_disk(&gateway, "still no room");
    refused(&["restore", "acme", "--reason", "still no room"]);
    assert_eq!(restriction(&gateway, "acme"), Some(Restriction::NO_MAIL));
    drop(database);
    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    assert_eq!(restriction(&gateway, "acme"), Some(Restriction::NO_MAIL));
}

#[test]
fn an_end_does_not_wait_for_the_disk() {
    let gateway = Gateway::start(Files::new());
    let args = ["suspend", "acme", "--scope", "mail", "--reason", "x", "--for", "2s"];
    assert!(gateway.fairway(&args).status.success());
    fill_disk(&gateway, "x");
    eventually("the end of the suspension", || restriction(&gateway, "acme").is_none());
    let (files, ended) = gateway.stop();
    ended.unwrap();
    // It is over, whether that was recorded or not.
    let gateway = Gateway::start(files);
    assert_eq!((restriction(&gateway, "acme"), suspension(&gateway, "acme")), (None, Value::Null));
}

#[test]
fn a_damaged_record_is_told_until_somebody_acknowledges_it() {
    let files = Files::new();
    fs::create_dir_all(files.path("state")).unwrap();
    files.write("state/suspensions.json", "{ not json");
    let gateway = Gateway::start(files);
    let losses = || gateway.json("status")["ledger"]["losses"].clone();
    assert!(losses()[0].as_str().unwrap().contains("suspensions.json could not be understood"));
    assert!(stdout(&gateway.fairway(&["status"])).contains("LOST: "));
    assert!(gateway.scrape().contains("fairway_ledger_losses 1\n"));
    let acknowledged = gateway.fairway(&["ledger", "acknowledge", "--reason", "suspended anew"]);
    assert!(stderr(&acknowledged).starts_with("acknowledged: "), "{acknowledged:?}");
    assert_eq!(losses(), json!([]));
    assert!(gateway.scrape().contains("fairway_ledger_losses 0\n"));
}

#[test]
fn suspensions_of_the_release_before_are_in_force_at_once() {
    let files = Files::new();
    fs::create_dir_all(files.path("state")).unwrap();
    let acme = r#"{"scope":"mail","reason":"bulk mail","since":"2026-09-01T00:00:00Z","until":null}"#;
    let over =
        r#"{"scope":"mail","reason":"r","since":"2026-09-01T00:00:00Z","until":"2026-09-02T00:00:00Z"}"#;
    let text = format!(r#"{{"version":2,"suspensions":{{"acme":[{acme}],"beta":[{over}]}}}}"#);
    files.write("state/suspensions.json", &text);
    let gateway = Gateway::start(files);
    assert_eq!(
        (restriction(&gateway, "acme"), restriction(&gateway, "beta")),
        (Some(Restriction::NO_MAIL), None)
    );
    assert!(gateway.fairway(&["restore", "acme", "--reason", "cleaned"]).status.success());
    assert_eq!(restriction(&gateway, "acme"), None);
    let changes: Vec<_> = history(&gateway, "acme").iter().map(|entry| entry["change"].clone()).collect();
    assert_eq!(changes, ["restored", "suspended"]);
    assert_eq!(history(&gateway, "beta")[0]["change"], "expired");
}

#[test]
fn the_ledger_verifies_and_is_exported_while_the_gateway_runs_and_after() {
    let gateway = Gateway::start(Files::new());
    for tenant in ["acme", "beta"] {
        assert!(gateway.fairway(&["suspend", tenant, "--scope", "mail", "--reason", "r"]).status.success());
    }
    let config = gateway.files.config();
    let ledger = |args: &[&str]| fairway(&["ledger"]).args(args).output().unwrap();
    let with_config = |args: &[&str]| {
        let mut args = args.to_vec();
        args.extend(["--config", config.to_str().unwrap()]);
        ledger(&args)
    };
    let head = gateway.json("status")["ledger"]["head"].as_str().unwrap().to_owned();
    assert!(gateway.scrape().contains(&format!("fairway_ledger_head_info{{hash=\"{head}\"}} 1\n")));
    assert!(gateway.scrape().contains("fairway_ledger_entries_total 2\n"));
    let verified = with_config(&["verify", "--head", &head]);
    assert_eq!(stdout(&verified), format!("2 entries follow from each other; the last is 2\n{head}\n"));
    assert_eq!(with_config(&["verify", "--head", &"0".repeat(64)]).status.code(), Some(1));
    let exported = with_config(&["export", "--tenant", "acme", "--csv"]);
    let file = gateway.files.path("acme.csv");
    fs::write(&file, &exported.stdout).unwrap();
    let (files, ended) = gateway.stop();
    ended.unwrap();
    let checked = ledger(&["verify", file.to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((&report["entries"], &report["findings"]), (&json!(1), &json!([])), "{checked:?}");
    fs::write(&file, stdout(&exported).replace("suspended", "restored")).unwrap();
    let changed = ledger(&["verify", file.to_str().unwrap()]);
    assert_eq!(changed.status.code(), Some(1));
    assert_eq!(stderr(&changed), "entry 1: it was changed: its hash is not that of what it says\n");
    let verified = fairway(&["ledger", "verify", "--config"]).arg(files.config()).output().unwrap();
    assert!(stdout(&verified).ends_with(&format!("{head}\n")), "{verified:?}");
}
