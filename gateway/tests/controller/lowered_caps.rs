//! Caps that are lowered for a sudden rise: in force, shown, over restarts and reloads, and ended.

use gateway::config::{Measure, OffenceKind};
use gateway::detect::{LoweredCap, Offence};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::fake::{Files, Gateway, controller, eventually, fairway, stderr, stdout};
use crate::offences::{happen, history, offence};

const OWN: [u64; 2] = [10_000_000; 2];
const LOWERED: [u64; 2] = [2_000_000, 10_000_000];

/// Of `acme`, which is held to 2 Mbit/s upwards for an hour.
fn rise() -> Offence {
    let lowered_cap = LoweredCap { up_bits_per_second: Some(LOWERED[0]), down_bits_per_second: None };
    Offence {
        source: None,
        kind: OffenceKind::SuddenRise,
        measure: Measure::LowerCap,
        lowered_cap: Some(lowered_cap),
        targets: Vec::new(),
        frames: Vec::new(),
        ..offence("acme", "198.51.100.1/32")
    }
}

fn caps(gateway: &Gateway) -> Vec<[u64; 2]> {
    gateway.policy().caps
}

fn explain(gateway: &Gateway) -> Value {
    serde_json::from_str(&stdout(&gateway.fairway(&["explain", "198.51.100.1", "--json"]))).unwrap()
}

#[test]
fn a_lowered_cap_is_in_force_and_shown_wherever_caps_are() {
    let files = Files::new();
    files
        .write("gateway.toml", &(files.gateway_toml("") + "[detect.sudden_rise]\nmeasure = \"lower_cap\"\n"));
    let gateway = Gateway::start(files);
    let measures = "fairway_measures{kind=\"sudden_rise\",measure=\"lower_cap\"}";
    assert!(gateway.scrape().contains(&format!("{measures} 0\n")));
    assert_eq!((caps(&gateway), &explain(&gateway)["tenant"]["lowered_cap"]), (vec![OWN; 2], &Value::Null));

    let rise = rise();
    happen(&gateway, "acme", std::slice::from_ref(&rise));
    assert_eq!(caps(&gateway), [LOWERED, OWN]);
    let acme = gateway.json("tenants")["tenants"][0].take();
    assert_eq!(
        (&acme["up"]["cap_bits_per_second"], &acme["down"]["cap_bits_per_second"]),
        (&json!(LOWERED[0]), &json!(OWN[1]))
    );
    let (since, until) = (rise.at.to_string(), rise.until.unwrap());
    let lowered_cap = json!({ "up_bits_per_second": LOWERED[0], "down_bits_per_second": null });
    let measure = json!({
        "tenant": "acme", "source": null, "kind": "sudden_rise", "measure": "lower_cap",
        "lowered_cap": lowered_cap, "since": since, "until": until.to_string(),
    });
    assert_eq!(acme["measures"], json!([measure]));
    assert!(stdout(&gateway.fairway(&["tenants"])).contains("lower_cap: up 2 Mbit/s"));
    let scraped = gateway.scrape();
    for sample in [
        format!("{measures} 1"),
        "fairway_tenant_cap_bytes_per_second{tenant=\"acme\",direction=\"up\"} 250000".into(),
        "fairway_offences_total{tenant=\"acme\",kind=\"sudden_rise\"} 1".into(),
    ] {
        assert!(scraped.lines().any(|line| line == sample), "{sample} is not in\n{scraped}");
    }

    let explained = explain(&gateway);
    assert_eq!(explained["tenant"]["lowered_cap"], measure);
    assert_eq!(explained["tenant"]["up"]["cap_bits_per_second"], LOWERED[0]);
    let rule = |about: &str| {
        let rules = explained["rules"].as_array().unwrap();
        rules.iter().find(|rule| rule["about"] == about).unwrap()["says"].clone()
    };
    assert_eq!(rule("cap up"), format!("10 Mbit/s, lowered to 2 Mbit/s until {until:.0} for sudden_rise"));
    assert_eq!(rule("cap down"), "10 Mbit/s");
    let text = stdout(&gateway.fairway(&["explain", "198.51.100.1"]));
    assert!(text.contains("UNDER A MEASURE for sudden_rise: cap up 2 Mbit/s, for another 59m"), "{text}");

    let shown = history(&gateway, "acme")[0]["taken"].take();
    assert_eq!(
        shown,
        json!({ "since": since, "until": until.to_string(), "lowered_cap": lowered_cap, "lifted": null })
    );
    let text = stdout(&gateway.fairway(&["history", "acme"]));
    assert!(text.contains(&format!("lower_cap up 2 Mbit/s until {until:.0}")), "{text}");

    let mut check = fairway(&["check", "--against-running", "--json", "--config"]);
    let check = check.arg(gateway.files.config()).output().unwrap();
    let check: Value = serde_json::from_str(&stdout(&check)).unwrap();
    assert_eq!(check["against_running"]["changes"], json!([]), "nobody configured it");
}

#[test]
fn a_lowered_cap_outlasts_reloads_and_restarts_until_somebody_restores_the_tenant() {
    let gateway = Gateway::start(Files::new());
    happen(&gateway, "acme", &[rise()]);
    assert!(gateway.fairway(&["reload"]).status.success());
    assert_eq!(caps(&gateway), [LOWERED, OWN]);
    let smaller = std::fs::read_to_string(gateway.files.path("tenants.d/acme.toml")).unwrap();
    gateway.files.replace("tenants.d/acme.toml", &(smaller.clone() + "cap = { up = \"1 Mbit/s\" }\n"));
    eventually("the cap to be the smaller of both", || caps(&gateway)[0] == [1_000_000, OWN[1]]);
    gateway.files.replace("tenants.d/acme.toml", &smaller);
    eventually("the lowered cap to hold again", || caps(&gateway)[0] == LOWERED);

    let (files, ended) = gateway.stop();
    ended.unwrap();
    let gateway = Gateway::start(files);
    assert_eq!(gateway.record.lock().unwrap().policies[0].caps, [LOWERED, OWN], "from the first packet on");

    let one = ["restore", "acme", "--source", "198.51.100.1", "--reason", "x"];
    assert_eq!(gateway.fairway(&one).status.code(), Some(1), "it is not held against one source");
    let output = gateway.fairway(&["restore", "acme", "--reason", "a new mirror"]);
    assert!(stderr(&output).starts_with("restored acme: lower_cap since "), "{output:?}");
    assert_eq!(caps(&gateway), [OWN, OWN]);
    assert_eq!(history(&gateway, "acme")[0]["taken"]["lifted"]["reason"], "a new mirror");
    let (files, ended) = gateway.stop();
    ended.unwrap();
    assert_eq!(caps(&Gateway::start(files)), [OWN, OWN]);
}

#[test]
fn a_lowered_cap_ends_by_itself() {
    let gateway = Gateway::start(Files::new());
    let until = Timestamp::now() + 3.seconds();
    happen(&gateway, "acme", &[Offence { until: Some(until), ..rise() }]);
    eventually("the end of the measure", || {
        let policies = gateway.record.lock().unwrap().policies.clone();
        policies.iter().any(|policy| policy.caps[0] == LOWERED) && policies.last().unwrap().caps[0] == OWN
    });
    assert!(Timestamp::now() >= until, "ended before its time");
    assert_eq!(gateway.json("tenants")["tenants"][0]["measures"], json!([]));
    assert_eq!(history(&gateway, "acme")[0]["taken"]["lifted"], Value::Null);
}

#[test]
fn a_lower_cap_that_the_data_plane_does_not_take_is_tried_again() {
    let files = Files::new();
    let (controller, record) = controller(&files);
    let caps = || record.lock().unwrap().policies.last().unwrap().caps.clone();
    record.lock().unwrap().refusal = Some("no space left");
    controller.offended(rise());
    assert_eq!(controller.observe().offences.in_force(Timestamp::now()).count(), 1, "it is decided");
    controller.compare().unwrap();
    assert_eq!(caps(), [OWN, OWN]);
    record.lock().unwrap().refusal = None;
    controller.compare().unwrap();
    assert_eq!(caps(), [LOWERED, OWN]);
    let policies = record.lock().unwrap().policies.len();
    controller.compare().unwrap();
    assert_eq!(record.lock().unwrap().policies.len(), policies, "nothing differs any more");
}

#[test]
fn a_lower_cap_that_cannot_be_recorded_is_not_taken() {
    let gateway = Gateway::start(Files::new());
    let database = rusqlite::Connection::open(gateway.files.path("state/ledger.sqlite")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON bodies WHEN instr(NEW.body, 'lower_cap')
         BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
    database.execute_batch(full).unwrap();
    happen(&gateway, "acme", &[rise()]);
    assert_eq!(history(&gateway, "acme")[0]["taken"], Value::Null);
    assert_eq!(gateway.json("tenants")["tenants"][0]["measures"], json!([]));
    assert_eq!(caps(&gateway), [OWN, OWN]);
}
