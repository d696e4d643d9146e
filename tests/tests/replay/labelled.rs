//! Detection on captures that others published: those with a label give what it says, and all the others
//! no offence at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fairway_tests::bench::in_force;
use gateway::config::{self, Config, Side};
use gateway::replay::{Capture, Replay};
use jiff::Timestamp;

use crate::published::{files_below, published};

/// Nearly every address is the tenant's, and everything is on the tenant's side: whoever in a capture turns
/// to others is a source, and whoever answers, answers.
const EVERYBODY: &str = r#"[
    "1.0.0.0/8", "2.0.0.0/7", "4.0.0.0/6", "8.0.0.0/5", "16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/3", "96.0.0.0/4",
    "112.0.0.0/5", "120.0.0.0/6", "124.0.0.0/7", "126.0.0.0/8", "128.0.0.0/2", "192.0.0.0/3", "2000::/3", "fd00::/8"
]"#;

/// Where an offence is right though no label asks for one: none.
const EXPLAINED: [(&str, &str); 0] = [];

/// An offence takes at least as many contacts.
const LEAST_PACKETS: usize = 19;

fn config(prefixes: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    let text = format!(
        r#"
[gateway]
name = "captures"
[[interface]]
name = "tenants"
side = "tenant"
[[interface]]
name = "internet"
side = "uplink"
[fair_use]
ceiling = "10 Gbit/s"
[smtp]
default = "allow"
[[tenant]]
id = "acme"
prefixes = {prefixes}
contact = "admin@acme.example"
cap = {{ up = "10 Gbit/s", down = "10 Gbit/s" }}
"#
    );
    fs::write(&file, text).unwrap();
    config::load(&file).unwrap().config
}

/// Kinds of the offences in a capture, as far as it can be read.
fn offences(config: &Config, capture: &Path, side: Option<Side>) -> Vec<&'static str> {
    let Ok(mut capture) = Capture::open(capture) else { return Vec::new() };
    let mut replays = [Replay::new(&in_force(config), side, false, start()).unwrap()];
    gateway::replay::run(&mut capture, &mut replays).unwrap();
    let [replay] = replays;
    replay.report().offences.iter().map(|offence| offence.kind.label()).collect()
}

/// Packets of a capture, as far as it can be read.
fn packets(capture: &Path) -> usize {
    let Ok(mut capture) = Capture::open(capture) else { return 0 };
    let mut packets = 0;
    while let Ok(Some(_)) = capture.next_packet() {
        packets += 1;
    }
    packets
}

fn start() -> Timestamp {
    "2001-01-01T00:00:00Z".parse().unwrap()
}

#[test]
#[ignore = "needs root: BPF programs"]
fn labelled_captures_give_what_their_labels_say() {
    let Some(captures) = published() else { return };
    let labels = fs::read_to_string(captures.join("LABELS.csv")).unwrap();
    let mut seen = BTreeMap::new();
    for line in labels.lines().skip(1) {
        let fields: Vec<_> = line.splitn(5, ',').collect();
        let [file, address, kind, expected, _] = fields[..] else { panic!("five fields: {line}") };
        let bits = if address.contains(':') { 128 } else { 32 };
        let config = config(&format!("[\"{address}/{bits}\"]"));
        let found = offences(&config, &captures.join(file), None);
        let is_scan = |kind: &&str| kind.starts_with("scan");
        match expected {
            "detect" => assert!(found.iter().any(is_scan), "{file} ({kind}): {found:?}"),
            "no scan verdict" => assert!(!found.iter().any(is_scan), "{file} ({kind}): {found:?}"),
            // 200 SYNs to one service: a flood only for those who set their limit as low.
            "detect-if-h<=200" | "below-threshold" | "no-verdict" | "n/a at L3" => {
                assert_eq!(found, Vec::<&str>::new(), "{file} ({kind})");
            }
            other => panic!("a label that this test does not know: {other}"),
        }
        *seen.entry(expected.to_owned()).or_insert(0) += 1;
    }
    assert!(seen.get("detect").is_some_and(|count| *count > 0), "{seen:?}");
    assert!(seen.get("no-verdict").is_some_and(|count| *count > 0), "{seen:?}");
}

#[test]
#[ignore = "needs root: BPF programs"]
fn ordinary_captures_hold_no_offence() {
    let Some(captures) = published() else { return };
    let config = config(EVERYBODY);
    let labels = fs::read_to_string(captures.join("LABELS.csv")).unwrap();
    let scans: Vec<_> = labels
        .lines()
        .filter(|line| line.contains(",detect,"))
        .filter_map(|line| line.split(',').next())
        .collect();
    let mut judged = 0;
    for capture in files_below(&captures).into_iter().filter(|file| packets(file) >= LEAST_PACKETS) {
        let name = capture.strip_prefix(&captures).unwrap().to_string_lossy().into_owned();
        if scans.contains(&name.as_str()) {
            continue;
        }
        let found = offences(&config, &capture, Some(Side::Tenant));
        let explained = EXPLAINED.iter().find(|(file, _)| *file == name).map(|(_, kind)| *kind);
        assert_eq!(found, explained.into_iter().collect::<Vec<_>>(), "{name}");
        judged += 1;
    }
    assert!(judged >= 80, "{judged} captures");
}
