//! Offences from the data plane to the ledger, `fairway history` and back by `fairway restore`.

use std::collections::BTreeMap;
use std::fs;

use gateway::config::{DetectMode, Measure, OffenceKind};
use gateway::controller::Input;
use gateway::detect::{BREAKER_EVERY, Baseline, ContactTotals, Frame, Learned, Offence, Target};
use gateway::store::Store;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::fake::{Files, Gateway, controller, eventually, stderr, stdout, tenant};

/// A quarantine of an hour, from now on.
pub(crate) fn offence(tenant: &str, source: &str) -> Offence {
    // The ledger keeps microseconds.
    let at = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap();
    Offence {
        at,
        tenant: tenant.into(),
        source: Some(source.parse().unwrap()),
        kind: OffenceKind::ScanSensitive,
        mode: DetectMode::Enforce,
        measure: Measure::Quarantine,
        until: Some(at + 1.hour()),
        lowered_cap: None,
        counters: BTreeMap::from([("hosts_attempted".into(), 31), ("hosts_answered".into(), 2)]),
        targets: vec![Target { address: "192.0.2.7".parse().unwrap(), port: Some(22) }],
        frames: vec![Frame { at, bytes: vec![0; 60], length_bytes: 60 }],
    }
}

/// Has the data plane see them, and waits until they are recorded.
pub(crate) fn happen(gateway: &Gateway, tenant: &str, offences: &[Offence]) {
    let before = history(gateway, tenant).len();
    gateway.record.lock().unwrap().offences.extend_from_slice(offences);
    eventually("the offences in the history", || history(gateway, tenant).len() == before + offences.len());
}

/// Its offences, newest first.
pub(crate) fn history(gateway: &Gateway, tenant: &str) -> Vec<Value> {
    let output = gateway.fairway(&["history", tenant, "--json"]);
    let mut history: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&history["version"], &history["tenant"]), (&1.into(), &tenant.into()));
    let entries = history["entries"].take();
    entries.as_array().unwrap().iter().filter(|entry| entry["entry"] == "offence").cloned().collect()
}

#[test]
fn an_offence_is_recorded_shown_survives_a_restart_and_is_lifted() {
    let files = Files::new();
    let prefixes = "prefixes = [\"2001:db8:1::/48\", ";
    files.write("tenants.d/acme.toml", &tenant("acme", 1).replace("prefixes = [", prefixes));
    let gateway = Gateway::start(files);
    let (first, second) = (offence("acme", "198.51.100.1/32"), offence("acme", "2001:db8:1:2::/64"));
    happen(&gateway, "acme", std::slice::from_ref(&first));
    happen(&gateway, "acme", std::slice::from_ref(&second));
    let shown = history(&gateway, "acme");
    assert_eq!(shown[0]["source"], "2001:db8:1:2::/64");
    // Addresses that are another tenant's by the next start.
    happen(&gateway, "beta", &[offence("beta", "198.51.100.1/32")]);
    let digest = gateway.json("status")["config"]["digest"].clone();
    let file = gateway.files.path("state/evidence").join(shown[1]["capture"].as_str().unwrap());
    let expected = json!({
        "entry": "offence",
        "at": first.at.to_string(),
        "source": "198.51.100.1/32",
        "kind": "scan_sensitive",
        "mode": "enforce",
        "measure": "quarantine",
        "taken": { "since": first.at.to_string(), "until": first.until.unwrap().to_string(), "lowered_cap": null, "lifted": null },
        "counters": { "hosts_answered": 2, "hosts_attempted": 31 },
        "targets": ["192.0.2.7:22"],
        "capture": shown[1]["capture"],
        "config_digest": digest,
        "capture_file": file,
    });
    assert_eq!(shown[1], expected);
    assert!(file.is_file());

    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    let imposed = gateway.record.lock().unwrap().imposed.clone();
    assert_eq!(imposed, [first.taken().unwrap(), second.taken().unwrap()]);

    let args = ["restore", "acme", "--reason", "cleaned", "--source", "2001:db8:1:2::99"];
    let output = gateway.fairway(&args);
    assert!(output.status.success(), "{output:?}");
    let expected =
        format!("restored 2001:db8:1:2::/64 of acme: quarantine since {:.0} for scan_sensitive\n", second.at);
    assert_eq!(stderr(&output), expected);
    let again = gateway.fairway(&args);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("no measure holds against 2001:db8:1:2::/64 of tenant \"acme\""),
        "{again:?}"
    );
    assert!(gateway.fairway(&["restore", "acme", "--reason", "all clean"]).status.success());
    let lifts = gateway.record.lock().unwrap().lifts.clone();
    assert_eq!(lifts.iter().map(|lift| lift.source).collect::<Vec<_>>(), [second.source, None]);

    let shown = history(&gateway, "acme");
    let reasons: Vec<_> = shown.iter().map(|offence| &offence["taken"]["lifted"]["reason"]).collect();
    assert_eq!(reasons, ["cleaned", "all clean"]);
    assert!(shown[0]["taken"]["lifted"]["by"].as_str().is_some_and(|by| !by.is_empty()));
    let again = gateway.fairway(&["restore", "acme", "--reason", "x"]);
    assert_eq!(stderr(&again), "error: tenant \"acme\" is not suspended, and no measure holds against it\n");
}

#[test]
fn metrics_count_offences_across_restarts_and_show_what_holds() {
    let gateway = Gateway::start(Files::new());
    let quarantined = "fairway_measures{kind=\"scan_sensitive\",measure=\"quarantine\"}";
    assert!(gateway.scrape().contains(&format!("{quarantined} 0\n")));
    happen(&gateway, "acme", &[offence("acme", "198.51.100.1/32"), offence("acme", "198.51.100.1/32")]);
    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    happen(&gateway, "acme", &[Offence { until: None, ..offence("acme", "198.51.100.1/32") }]);
    let text = gateway.scrape();
    for sample in [
        "fairway_offences_total{tenant=\"acme\",kind=\"scan_sensitive\"} 3",
        &format!("{quarantined} 1"),
        "fairway_ledger_waiting_entries 0",
        "fairway_ledger_lost_entries_total 0",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} is not in\n{text}");
    }
    let tenants = stdout(&gateway.fairway(&["tenants"]));
    assert!(tenants.contains("quarantine: 198.51.100.1/32"), "{tenants}");
    assert_eq!(gateway.json("tenants")["tenants"][0]["measures"][0]["kind"], "scan_sensitive");
    assert!(gateway.fairway(&["restore", "acme", "--reason", "cleaned"]).status.success());
    assert_eq!(gateway.json("tenants")["tenants"][0]["measures"], json!([]));
    assert!(gateway.scrape().contains(&format!("{quarantined} 0\n")));
}

#[test]
fn what_was_learned_of_the_tenants_use_outlasts_a_restart() {
    let files = Files::new();
    let baseline = Baseline { bytes_per_sec: 1_000_000.0, minutes: 2_000 };
    let learned = |tenant: &str, baseline| {
        let quiet_until = Some(Timestamp::from_second(1_790_000_000).unwrap());
        Learned { tenant: tenant.into(), baselines: [baseline; 2], quiet_until }
    };
    let limits = gateway::config::load(&files.config()).unwrap().config.evidence;
    let store = Store::open(&files.path("state"), limits);
    store.keep_baselines(vec![learned("acme", baseline), learned("gone", baseline)]);
    drop(store);

    let gateway = Gateway::start(files);
    // By then counters have been looked at, for the first time since the start.
    happen(&gateway, "acme", &[offence("acme", "198.51.100.1/32")]);
    let (files, ended) = gateway.stop();
    ended.unwrap();
    let store = Store::open(&files.path("state"), limits);
    assert_eq!(
        store.read().unwrap().baselines().unwrap(),
        [learned("acme", baseline)],
        "a tenant that is gone is forgotten"
    );
}

#[test]
fn an_outage_holds_measures_back_for_as_long_as_it_is_seen() {
    let files = Files::new();
    let (controller, record) = controller(&files);
    let mut totals = ContactTotals::default();
    let mut looks = |times, attempted, answered| {
        for _ in 0..times {
            totals.attempted += attempted;
            totals.answered += answered;
            controller.handle(Input::Totals(totals, BREAKER_EVERY));
        }
        let holds = std::mem::take(&mut record.lock().unwrap().holds);
        (holds, controller.observe().are_measures_held)
    };
    assert_eq!(looks(40, 2_000, 1_600), (vec![], false));
    assert_eq!(looks(2, 2_000, 0), (vec![Some(BREAKER_EVERY * 3); 2], true));
    let mut held = Offence { until: None, ..offence("acme", "198.51.100.1/32") };
    held.counters.insert(Offence::HELD.into(), 1);
    let mail = Offence { kind: OffenceKind::BulkMail, ..offence("acme", "198.51.100.1/32") };
    controller.handle(Input::Offences(vec![held, mail]));
    let counted = controller.observe().offences;
    let counted: Vec<_> = counted.counts().map(|(_, kind, times)| (kind, times)).collect();
    assert_eq!(counted, [(OffenceKind::BulkMail, 1)], "failures are nobody's offence during an outage");
    let recovering = vec![Some(BREAKER_EVERY * 3), Some(BREAKER_EVERY * 3), None];
    assert_eq!(looks(5, 2_000, 1_600), (recovering, false));
}

#[test]
fn a_history_for_people_names_the_evidence_and_what_came_of_it() {
    let gateway = Gateway::start(Files::new());
    let until = None;
    let watched = Offence { mode: DetectMode::Watch, until, ..offence("acme", "198.51.100.1/32") };
    let mut too_many = Offence { until, measure: Measure::None, ..offence("acme", "198.51.100.1/32") };
    too_many.counters.insert(Offence::HELD.into(), 1);
    happen(&gateway, "acme", &[watched, too_many, offence("acme", "198.51.100.1/32")]);
    fs::remove_dir_all(gateway.files.path("state/evidence")).unwrap();
    happen(&gateway, "acme", &[offence("acme", "198.51.100.1/32")]);
    let text = stdout(&gateway.fairway(&["history", "acme"]));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[1].contains("quarantine until") && lines[1].contains("hosts_answered 2, hosts_attempted 31")
    );
    assert!(lines[1].contains("192.0.2.7:22") && lines[1].ends_with(".pcapng"), "{text}");
    assert!(lines[2].contains("quarantine until") && lines[2].ends_with("(no longer kept)"), "{text}");
    assert!(lines[3].contains("held back: too many at once"), "{text}");
    assert!(lines[4].contains("watched: would be quarantine"), "{text}");
    assert_eq!(stdout(&gateway.fairway(&["history", "acme", "--limit", "2"])).lines().count(), 3);

    let nothing = gateway.fairway(&["history", "beta"]);
    assert!(nothing.status.success());
    assert_eq!(stderr(&nothing), "nothing is recorded of beta\n");
    let unknown = gateway.fairway(&["history", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).starts_with("error: no tenant \"nobody\" is configured"), "{unknown:?}");
}

#[test]
fn a_damaged_ledger_stops_neither_the_start_nor_policing() {
    let files = Files::new();
    fs::create_dir_all(files.path("state/ledger.sqlite")).unwrap();
    let gateway = Gateway::start(files);
    gateway.record.lock().unwrap().offences.push(offence("acme", "198.51.100.1/32"));
    eventually("the offence to be counted", || {
        // It holds, though it cannot be recorded.
        gateway.json("tenants")["tenants"][0]["measures"][0]["kind"] == "scan_sensitive"
    });
    // Nobody would know of it after the next start.
    let refused = gateway.fairway(&["restore", "acme", "--reason", "cleaned"]);
    assert!(stderr(&refused).contains("Nothing has changed"), "{refused:?}");
    assert_eq!(gateway.record.lock().unwrap().lifts, []);
    let refused = gateway.fairway(&["history", "acme"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("cannot open the ledger"), "{refused:?}");
    assert!(gateway.fairway(&["reload"]).status.success());
}
