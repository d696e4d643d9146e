//! What a configuration that is taken means: defaults, expiry, files, versions and differences.

#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gateway::config::{self, BitRate, Config, Loaded};
use gateway::policy::{self, Effective, changes};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

const EXAMPLE: &str = "../config/gateway.toml";
const EXAMPLE_TENANTS: &str = "../config/tenants.d";

/// A fixed day, so that exemptions do not expire under the tests.
fn now() -> Timestamp {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

fn loaded(file: &Path) -> Loaded {
    config::load(file).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn taken(file: &Path) -> Config {
    loaded(file).config
}

fn view(config: &Config) -> Value {
    policy::view(&Effective::of(config.clone(), now()))
}

/// A directory with a main file of one interface on each side, and `tenants` after it.
fn written(tenants: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    let interface = |name, side| format!("[[interface]]\nname = \"{name}\"\nside = \"{side}\"\n");
    let interfaces = interface("eth1", "tenant") + &interface("eth0", "uplink");
    fs::write(&file, format!("[gateway]\nname = \"edge1\"\n{interfaces}{tenants}")).unwrap();
    (directory, file)
}

fn tenant(id: &str, prefix: &str, more: &str) -> String {
    format!("[[tenant]]\nid = \"{id}\"\nprefixes = [\"{prefix}\"]\n{more}\n")
}

/// The example with another main file and some of its tenants.
fn copy_of_example(main: &str, tenants: &[&str]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    fs::write(&file, main).unwrap();
    fs::create_dir(directory.path().join("tenants.d")).unwrap();
    for name in tenants {
        fs::copy(Path::new(EXAMPLE_TENANTS).join(name), directory.path().join("tenants.d").join(name))
            .unwrap();
    }
    (directory, file)
}

/// Tenants in a file of this name beside the main file.
fn tenants_in(name: &str, text: &str) -> Config {
    let main = fs::read_to_string(EXAMPLE).unwrap().replacen("tenants.d/*.toml", "tenants.d/a.*", 1);
    let (directory, file) = copy_of_example(&main, &[]);
    fs::write(directory.path().join("tenants.d").join(name), text).unwrap();
    taken(&file)
}

#[test]
fn tenants_are_the_same_in_every_notation() {
    let toml = tenants_in(
        "a.toml",
        r#"
        [[tenant]]
        id = "acme"
        name = "Acme, \"the\" first"
        prefixes = ["203.0.113.0/28", "2001:db8:10::/48"]
        vlan = 110
        contact = "admin@acme-office.example"
        domains = ["acme.example"]
        cap = { up = "5 Mbit/s", down = "10 Mbit/s" }
        burst = "100ms"
        fragments = "drop"
        submission = "block"
        relay = true
        open = ["smb"]
        detect_class = "game-hosting"
        [[tenant]]
        id = "beta"
        prefixes = ["203.0.113.16/28"]
        "#,
    );
    // With the mark of byte order and the ends of lines that spreadsheets write.
    let csv = tenants_in(
        "a.csv",
        "\u{feff}detect_class,id,name,prefixes,vlan,contact,domains,cap.up,cap.down,burst,fragments,submission,relay,open\r\n\
         game-hosting,acme,\"Acme, \"\"the\"\" first\",203.0.113.0/28; 2001:db8:10::/48,110,admin@acme-office.example,\
         acme.example,5 Mbit/s,10 Mbit/s,100ms,drop,block,TRUE,smb\r\n\
         \r\n\
         ,beta,, 203.0.113.16/28 ,,,,,,,,,,\r\n",
    );
    let json = tenants_in(
        "a.json",
        r#"[
          { "id": "acme", "name": "Acme, \"the\" first", "prefixes": ["203.0.113.0/28", "2001:db8:10::/48"],
            "vlan": 110, "contact": "admin@acme-office.example", "domains": ["acme.example"],
            "cap": { "up": "5 Mbit/s", "down": "10 Mbit/s" }, "burst": "100ms", "fragments": "drop",
            "submission": "block", "relay": true, "open": ["smb"], "detect_class": "game-hosting" },
          { "id": "beta", "prefixes": ["203.0.113.16\/28"], "vlan": null }
        ]"#,
    );
    for other in [&csv, &json] {
        assert_eq!(view(&toml)["tenants"], view(other)["tenants"]);
    }
    // What `fairway explain` names: the cell of the row, and the key of the object.
    let line =
        |config: &Config, key| config.tenants[0].written.place(key).map(|place| (place.line, place.column));
    assert_eq!([line(&csv, "cap.up"), line(&csv, "prefixes")], [Some((2, 117)), Some((2, 41))]);
    assert_eq!([line(&json, "cap.up"), line(&json, "prefixes")], [Some((4, 23)), Some((2, 59))]);
    assert_eq!((csv.tenants[1].place.line, json.tenants[1].place.line), (4, 6));
}

#[test]
fn exemptions_in_json_have_their_dates_in_quotes() {
    let config = tenants_in(
        "a.json",
        r#"[{ "id": "acme", "prefixes": ["203.0.113.0/28"], "contact": "a@b.example", "smtp_exemption": [
            { "direction": "out", "ticket": "T-1", "approved_by": "j.doe", "expires": "2027-03-31" },
            { "direction": "in", "ticket": "T-2", "approved_by": "j.doe", "expires": "2027-03-31T12:00:00+02:00" }
        ] }]"#,
    );
    let expiries: Vec<_> =
        config.tenants[0].smtp_exemptions.iter().map(|exemption| exemption.expires.to_string()).collect();
    assert_eq!(expiries, ["2027-04-01T00:00:00Z", "2027-03-31T10:00:00Z"]);
}

#[test]
fn the_example_is_taken_as_it_is() {
    let loaded = loaded(Path::new(EXAMPLE));
    let (config, warnings) = (&loaded.config, loaded.warnings_at(now()));
    assert!(warnings.is_empty(), "{warnings}");
    let ids: Vec<_> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    assert_eq!(ids, ["acme", "bolt", "cafe", "dune", "echo"]);
    assert_eq!(config.tenants[0].smtp_exemptions[0].expires, "2027-04-01T00:00:00Z".parse().unwrap());
    assert_eq!(config.tenants[1].cap_up.to_string(), "5 Mbit/s");
    assert_eq!(config.tenants[1].cap_down, config.fair_use.ceiling);
    assert_eq!(config.tenants[2].name, "cafe");
}

/// The example shows each default behind a `#`: with all of them written out, nothing changes.
#[test]
fn the_example_shows_the_defaults() {
    // These depend on the machine or on the tenants.
    let without_default = ["control_group", "tenants", "top_tenants"];
    let example = fs::read_to_string(EXAMPLE).unwrap();
    let mut shown = 0;
    let mut explicit = String::new();
    for line in example.lines() {
        let setting = line.strip_prefix("# ").and_then(|setting| setting.split_once(" = "));
        if setting.is_some_and(|(key, _)| !key.contains(' ') && !without_default.contains(&key)) {
            shown += 1;
            explicit += &line[2..];
        } else {
            explicit += line;
        }
        explicit.push('\n');
    }
    assert!(shown >= 17, "only {shown} defaults were found behind a #");
    let (_directory, file) = copy_of_example(&explicit, &["acme.toml", "bolt.toml", "cafe.toml", "crm.csv"]);
    assert_eq!(view(&taken(&file)), view(&taken(Path::new(EXAMPLE))));
}

#[test]
fn what_is_left_out_has_its_default() {
    let (_directory, file) = written(&tenant("a", "192.0.2.0/28", "contact = \"a@b.example\""));
    let expected = json!({
        "version": 1,
        "gateway": {
            "name": "edge1",
            "state_dir": "/var/lib/fairway",
            "control_socket": "/run/fairway/control.sock",
            "control_group": null,
            "pin_dir": "/sys/fs/bpf/fairway/edge1",
            "on_stop": "keep",
            "removal_limit_percent": 50,
            "forwarding": "stack",
            "unknown_sources": "drop",
            "fragments": "allow",
        },
        "limits": { "tenants": null },
        "interfaces": {
            "eth0": { "side": "uplink", "mode": "native", "match_vlan": false, "capacity": null },
            "eth1": { "side": "tenant", "mode": "native", "match_vlan": true, "capacity": null },
        },
        "cap": { "algorithm": "fair" },
        "fair_use": { "ceiling": "10 Mbit/s", "burst": "350ms" },
        "smtp": { "default": "block", "submission": "allow", "refuse": "drop", "relays": [] },
        "closed_ports": {},
        "walled_garden": [],
        "evidence": { "max_size": "1 GB", "keep": "30d" },
        "metrics": { "listen": "127.0.0.1:9464", "top_tenants": null },
        "tenants": {
            "a": {
                "name": "a",
                "prefixes": ["192.0.2.0/28"],
                "vlan": null,
                "domains": [],
                "contact": "a@b.example",
                "cap": { "up": "10 Mbit/s", "down": "10 Mbit/s", "algorithm": "fair" },
                "burst": "350ms",
                "fragments": "allow",
                "submission": "allow",
                "relay": false,
                "open": [],
                "detect_class": null,
                "smtp_exemptions": [],
            },
        },
    });
    let mut view = view(&taken(&file));
    // `config_detection.rs` and `config_enforcement.rs` look at them.
    for elsewhere in ["detect", "enforcement"] {
        assert!(view.as_object_mut().unwrap().remove(elsewhere).is_some(), "{elsewhere}");
    }
    assert_eq!(view, expected);
}

#[test]
fn every_setting_reaches_the_view() {
    let view = view(&taken(Path::new(EXAMPLE)));
    assert_eq!(view["smtp"]["relays"], json!(["192.0.2.25/32", "2001:db8:ffff::25/128"]));
    let memcached = json!({ "protocol": "udp", "ports": ["11211"], "direction": "in", "refuse": "drop" });
    let smb =
        json!({ "protocol": "tcp", "ports": ["445", "137-139"], "direction": "both", "refuse": "drop" });
    assert_eq!(view["closed_ports"], json!({ "smb": smb, "memcached": memcached }));
    let expected = json!({
        "name": "Acme Ltd",
        "prefixes": ["203.0.113.0/28", "2001:db8:10::/48"],
        "vlan": "110",
        "domains": ["acme.example"],
        "contact": "admin@acme-office.example",
        "cap": { "up": "10 Mbit/s", "down": "10 Mbit/s", "algorithm": "fair" },
        "burst": "250ms",
        "fragments": "allow",
        "submission": "allow",
        "relay": false,
        "open": ["smb"],
        "detect_class": "game-hosting",
        "smtp_exemptions": [{
            "ticket": "SMTP-4711",
            "direction": "out",
            "peers": ["198.51.100.25/32"],
            "approved_by": "j.doe",
            "expires": "2027-04-01T00:00:00Z",
        }],
    });
    assert_eq!(view["tenants"]["acme"], expected);
    assert_eq!(view["tenants"]["bolt"]["relay"], Value::Bool(true));
}

#[test]
fn metrics_can_be_switched_off() {
    let (_directory, file) =
        written(&("[metrics]\nenabled = false\n".to_owned() + &tenant("a", "192.0.2.0/28", "")));
    assert_eq!(taken(&file).metrics, None);
}

#[test]
fn an_exemption_holds_to_the_end_of_its_day() {
    let is_exempt = |expires: &str, now: &str| {
        let exemption = format!(
            "[[tenant.smtp_exemption]]\ndirection = \"out\"\nticket = \"SMTP-1\"\nexpires = {expires}"
        );
        let (_directory, file) = written(&tenant("a", "192.0.2.0/28", &exemption));
        let config = taken(&file);
        let now = now.parse().unwrap();
        let viewed = policy::view(&Effective::of(config.clone(), now))["tenants"]["a"]["smtp_exemptions"]
            .as_array()
            .unwrap()
            .len();
        let holds = config.tenants[0].smtp_exemptions[0].holds_at(now);
        assert_eq!(viewed, usize::from(holds), "the view leaves out what has expired");
        holds
    };
    assert!(is_exempt("2027-03-31", "2027-03-31T23:59:59.999Z"));
    assert!(!is_exempt("2027-03-31", "2027-04-01T00:00:00Z"));
    assert!(is_exempt("2027-03-31T12:00:00", "2027-03-31T11:59:59Z"));
    assert!(!is_exempt("2027-03-31T12:00:00", "2027-03-31T12:00:00Z"));
    assert!(is_exempt("2027-03-31T12:00:00-02:00", "2027-03-31T13:59:59Z"));
    assert!(!is_exempt("2027-03-31 12:00:00-02:00", "2027-03-31T14:00:00Z"));
}

#[test]
fn a_file_that_two_patterns_name_is_read_once() {
    let main = fs::read_to_string(EXAMPLE).unwrap();
    let patterns = r#"["*.d/*.toml", "tenants.d/a*.toml", "*.toml"]"#;
    let main = main.replacen(r#"["tenants.d/*.toml", "tenants.d/*.csv"]"#, patterns, 1);
    let (directory, file) = copy_of_example(&main, &["acme.toml", "bolt.toml"]);
    let tenants = directory.path().join("tenants.d");
    fs::write(tenants.join(".#acme.toml"), "what an editor left").unwrap();

    let config = taken(&file);
    assert_eq!(config.tenants.len(), 2);
    let expected = [file, tenants.join("acme.toml"), tenants.join("bolt.toml")];
    assert_eq!(config.sources.files(), expected);
}

#[test]
fn the_digest_is_of_the_text_and_not_of_the_place() {
    let digest = |text: &str| {
        let (_directory, file) = written(text);
        taken(&file).digest.to_string()
    };
    let text = tenant("a", "192.0.2.0/28", "");
    assert_eq!(digest(&text), digest(&text));
    assert_ne!(digest(&text), digest(&format!("{text}# a note\n")));
    assert_eq!(digest(&text).len(), 64);
}

#[test]
fn what_a_reload_would_change_is_told() {
    let policy = |tenants: &str| {
        let (_directory, file) = written(tenants);
        view(&taken(&file))
    };
    let old = tenant("acme", "192.0.2.0/28", "vlan = 110") + &tenant("gone", "192.0.2.16/28", "");
    let new = tenant("acme", "192.0.2.0/28", "cap = { up = \"5 Mbit/s\" }")
        + &tenant("zeta", "203.0.113.16/28", "");
    let told: Vec<_> = changes(&policy(&old), &policy(&new)).iter().map(ToString::to_string).collect();
    let expected = [
        "tenant acme: cap.up 10 Mbit/s -> 5 Mbit/s",
        "tenant acme: vlan 110 removed",
        "tenant gone: removed (192.0.2.16/28)",
        "tenant zeta: added (203.0.113.16/28)",
    ];
    assert_eq!(told, expected);
}

/// Every one is taken, in the order of ids. The time is printed, not asserted.
#[test]
fn a_hundred_thousand_tenants_are_taken() {
    const TENANTS: u32 = 100_000;
    let mut text = String::new();
    for tenant in (0..TENANTS).rev() {
        let [_, a, b, c] = (tenant * 8).to_be_bytes();
        let (high, low) = (tenant >> 16, tenant & 0xffff);
        writeln!(
            text,
            "[[tenant]]\nid = \"t{tenant:06}\"\nname = \"Tenant {tenant}\"\n\
            prefixes = [\"10.{a}.{b}.{c}/29\", \"2001:db8:{high:x}:{low:x}::/64\"]\n\
            contact = \"admin@t{tenant}.example\"\ncap = {{ up = \"5 Mbit/s\" }}\n",
        )
        .unwrap();
    }
    let (_directory, file) = written(&text);
    let start = std::time::Instant::now();
    let config = taken(&file);
    println!("{TENANTS} tenants, {} bytes: {:?}", text.len(), start.elapsed());
    assert_eq!(config.tenants.len(), TENANTS as usize);
    assert!(config.tenants.is_sorted_by_key(|tenant| &tenant.id));
    assert_eq!(config.tenants[99_999].prefixes[0].to_string(), "10.12.52.248/29");
}

#[test]
fn what_other_systems_export_is_read() {
    let config = taken(Path::new("tests/config/exports/gateway.toml"));
    let ids: Vec<_> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    assert_eq!(ids, ["42", "4711", "7", "815", "beta", "echo", "foxtrot", "gamma"]);
    let named = |id: &str| config.tenants.iter().find(|tenant| tenant.id == id).unwrap();
    let prefixes = |id| named(id).prefixes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(prefixes("42"), ["192.0.2.48/28", "2001:db8:4::/48"]);
    assert_eq!(prefixes("4711"), ["192.0.2.0/28", "2001:db8:1::/48"]);
    assert_eq!(prefixes("beta"), ["192.0.2.16/28", "2001:db8:2::/48"]);
    assert_eq!(prefixes("gamma"), ["192.0.2.32/28", "2001:db8:3::/48"]);
    assert_eq!(prefixes("7"), ["192.0.2.112/28"]);
    assert_eq!(named("gamma").name, "#1 Hosting");
    let rate = BitRate::from_bits_per_sec(5_000_000).unwrap();
    for tenant in &config.tenants {
        assert_eq!((tenant.cap_up, tenant.cap_down), (rate, rate), "{}", tenant.id);
        assert!(tenant.contact.as_ref().unwrap().starts_with("noc@"), "{}", tenant.id);
    }
    // The place of a value is right behind a mark of byte order, a line `sep=` and comments.
    assert_eq!(named("4711").place.to_string(), "tests/config/exports/tenants.d/a-excel.csv:3:1");
    assert_eq!(named("beta").place.to_string(), "tests/config/exports/tenants.d/b-panel.csv:5:1");
}
