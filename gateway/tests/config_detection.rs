//! What `[detect]` means: defaults, what classes inherit, what lapses, what a reload would change.

#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use gateway::config::{Config, DetectMode, Measure, OffenceKind, Threshold, load};
use gateway::policy::{self, Effective, changes};
use serde_json::{Value, json};
use tempfile::TempDir;

const TENANT: &str = "[[tenant]]\nid = \"a\"\nprefixes = [\"192.0.2.0/28\"]\ncontact = \"a@b.example\"\n";

/// A directory with a main file of one interface on each side and one tenant, and `more` after it.
fn written(more: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    let interface = |name, side| format!("[[interface]]\nname = \"{name}\"\nside = \"{side}\"\n");
    let interfaces = interface("eth1", "tenant") + &interface("eth0", "uplink");
    fs::write(&file, format!("[gateway]\nname = \"edge1\"\n{interfaces}{TENANT}{more}")).unwrap();
    (directory, file)
}

fn taken(more: &str) -> Config {
    let (_directory, file) = written(more);
    load(&file).unwrap_or_else(|diagnostics| panic!("{diagnostics}")).config
}

/// On a fixed day, so that allowances do not expire under the tests.
fn view(config: &Config) -> Value {
    policy::view(&Effective::of(config.clone(), "2026-11-01T12:00:00Z".parse().unwrap()))
}

#[test]
fn what_is_left_out_has_its_default() {
    let mut view = view(&taken(""))["detect"].take();
    let rules = view["classes"]["default"].take();
    let expected = json!({
        "sources": 10_000,
        "contacts": 262_144,
        "max_measures_per_minute": 20,
        "drop_lists": [],
        "listed_networks": 0,
        "classes": { "default": null },
        "allow": [],
    });
    assert_eq!(view, expected);
    let kinds: Vec<_> = OffenceKind::ALL.iter().map(|kind| kind.label()).collect();
    assert!(kinds.iter().all(|kind| rules[kind]["mode"] == "enforce"), "{rules}");
    let smtp_rate = json!({
        "mode": "enforce",
        "measure": "close_smtp",
        "for": "1h",
        "connections_per_minute": 60,
        "connections_per_day": 2_000,
    });
    assert_eq!(rules["smtp_rate"], smtp_rate);
}

/// The table of thresholds in the documentation is the code's: each with its default, in its kind's rows.
#[test]
fn the_documentation_has_every_threshold() {
    let documentation = fs::read_to_string("../docs/configuration.md").unwrap();
    let config = taken("");
    for (kind, rule) in config.detection.classes[0].rules() {
        let start = documentation.find(&format!("\n| `{}`", kind.label())).unwrap();
        let is_own = |line: &&str| line.starts_with("| | |");
        let rows: Vec<_> = documentation[start + 1..].lines().enumerate().collect();
        let own: Vec<_> =
            rows.iter().take_while(|(n, line)| *n == 0 || is_own(line)).map(|(_, line)| *line).collect();
        assert_eq!(own.len(), rule.thresholds.len(), "{}: {own:#?}", kind.label());
        for (threshold, default) in &rule.thresholds {
            let cells = format!("| `{}` | {default} |", threshold.label());
            assert!(own.iter().any(|row| row.contains(&cells)), "{}: no {cells} in {own:#?}", kind.label());
        }
    }
}

#[test]
fn a_class_inherits_what_it_does_not_say() {
    let config = taken(
        "[detect]\nmode = \"watch\"\n\
         [detect.scan_ping]\nmode = \"enforce\"\nhosts_per_5_minutes = 100\nfor = \"2h\"\n\
         [detect.class.shop.scan_ping]\nmeasure = \"slow\"\n\
         [detect.class.lab]\nmode = \"off\"\nscan_udp = { mode = \"enforce\", hosts_per_hour = 1000 }\n\
         [[tenant]]\nid = \"b\"\nprefixes = [\"192.0.2.16/28\"]\ndetect_class = \"shop\"\n",
    );
    let detection = &config.detection;
    let rule = |class, kind| detection.classes[detection.class_index(class)].rule(kind);
    let modes = |class| {
        [OffenceKind::ScanPing, OffenceKind::ScanUdp, OffenceKind::BulkMail]
            .map(|kind| rule(class, kind).mode)
    };
    assert_eq!(modes(None), [DetectMode::Enforce, DetectMode::Watch, DetectMode::Watch]);
    assert_eq!(modes(Some("shop")), [DetectMode::Enforce, DetectMode::Watch, DetectMode::Watch]);
    assert_eq!(modes(Some("lab")), [DetectMode::Off, DetectMode::Enforce, DetectMode::Off]);

    let ping = rule(Some("shop"), OffenceKind::ScanPing);
    assert_eq!((ping.measure, ping.duration), (Measure::Slow, Duration::from_secs(7_200)));
    assert_eq!(ping.threshold(Threshold::HostsPerWindow), Some(100));
    assert_eq!(ping.threshold(Threshold::HostsPerDay), None);
    assert_eq!(rule(None, OffenceKind::ScanPing).measure, Measure::Quarantine);
    assert_eq!(rule(Some("lab"), OffenceKind::ScanUdp).threshold(Threshold::HostsPerHour), Some(1_000));
    let classes: Vec<_> = config.tenants.iter().map(|tenant| tenant.detect_class.as_deref()).collect();
    assert_eq!(classes, [None, Some("shop")]);
}

#[test]
fn an_allowance_holds_until_it_expires() {
    let allow = "[[detect.allow]]\nsources = [\"192.0.2.3/32\"]\nkinds = [\"scan_udp\"]\n\
                 reason = \"resolver\"\nticket = \"NET-1\"\nexpires = 2027-03-31\n";
    let config = taken(allow);
    let allowance = &config.detection.allow[0];
    assert_eq!(
        (allowance.ticket.as_str(), allowance.kinds.as_slice()),
        ("NET-1", &[OffenceKind::ScanUdp][..])
    );
    for (now, holds) in [("2027-03-31T23:59:59Z", true), ("2027-04-01T00:00:00Z", false)] {
        let now = now.parse().unwrap();
        assert_eq!(allowance.holds_at(now), holds);
        let viewed =
            policy::view(&Effective::of(config.clone(), now))["detect"]["allow"].as_array().unwrap().len();
        assert_eq!(viewed, usize::from(holds), "the view leaves out what has expired");
    }
}

#[test]
fn drop_lists_are_read_watched_and_part_of_the_digest() {
    let (directory, file) = written("[detect]\ndrop_lists = [\"a.txt\", \"lists/b.txt\"]\n");
    fs::create_dir(directory.path().join("lists")).unwrap();
    let lists = ["a.txt", "lists/b.txt"].map(|name| directory.path().join(name));
    fs::write(&lists[0], "; comment\n198.51.100.0/24 ; SBL1\n2001:db8:bad::/48\n").unwrap();
    fs::write(&lists[1], "192.0.2.128/25\n198.51.100.0/24\n").unwrap();
    let before = load(&file).unwrap().config;
    let listed: Vec<_> = before.detection.listed.iter().map(ToString::to_string).collect();
    assert_eq!(listed, ["192.0.2.128/25", "198.51.100.0/24", "2001:db8:bad::/48"]);
    assert_eq!(before.detection.drop_lists, lists);
    assert!(lists.iter().all(|list| before.sources.files().contains(list)), "{:?}", before.sources);

    fs::write(&lists[1], "").unwrap();
    let after = load(&file).unwrap().config;
    assert_ne!(before.digest, after.digest);
    let told: Vec<_> = changes(&view(&before), &view(&after)).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["detect: listed_networks 3 -> 2"]);
}

#[test]
fn what_a_reload_would_change_is_told() {
    let allow = |until: &str| {
        format!(
            "[[detect.allow]]\nsources = [\"192.0.2.3/32\"]\nreason = \"crawler\"\nticket = \"NET-1\"\n\
             expires = {until}\n"
        )
    };
    let old =
        view(&taken(&("[detect.scan_ping]\nhosts_per_5_minutes = 100\n".to_owned() + &allow("2027-01-01"))));
    let new = view(&taken(&("[detect.class.x]\nmode = \"off\"\n".to_owned() + &allow("2028-01-01"))));
    let told: Vec<_> = changes(&old, &new).iter().map(ToString::to_string).collect();
    let expected = [
        "detect: allowance NET-1.expires 2027-01-02T00:00:00Z -> 2028-01-02T00:00:00Z",
        "detect: classes.default.scan_ping.hosts_per_5_minutes 100 -> 64",
        "detect: classes.x added",
    ];
    assert_eq!(told, expected);
}
