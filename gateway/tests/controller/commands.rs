//! The commands by their built binary: exit codes, messages, JSON.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::fake::{Files, Gateway, exemption, fairway, stderr, stdout, tenant};

/// Keys of an object, in alphabetical order.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn wrong_usage_is_exit_code_two() {
    for args in [
        &["frobnicate"][..],
        &["status", "--socket", "a", "--config", "b"],
        &["run", "--log-format", "xml"],
        &["run", "--log-level", "gateway=loud"],
        &["check", "--socket", "a"],
        &[],
    ] {
        let output = fairway(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
    }
    assert_eq!(fairway(&["--help"]).output().unwrap().status.code(), Some(0));
}

#[test]
fn without_a_controller_the_message_says_what_to_do() {
    let files = Files::new();
    for command in ["status", "tenants", "reload"] {
        let output = fairway(&[command, "--config"]).arg(files.config()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            stderr(&output),
            format!(
                "error: no controller is running on {} (No such file or directory (os error 2)). Start it \
                 (systemctl start fairway), or name its socket with --socket or its configuration with --config\n",
                files.socket().display()
            )
        );
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn check_tells_valid_from_broken() {
    let files = Files::new();
    let check =
        |more: &[&str]| fairway(&["check", "--config"]).arg(files.config()).args(more).output().unwrap();
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        stderr(&output),
        format!("{} is valid: 2 tenants, 2 interfaces, 0 warnings\n", files.config().display())
    );
    let report: Value = serde_json::from_str(&stdout(&check(&["--json"]))).unwrap();
    assert_eq!(keys(&report), ["diagnostics", "digest", "valid", "version"]);
    assert_eq!((&report["version"], &report["valid"]), (&json!(1), &json!(true)));
    assert_eq!(report["digest"].as_str().unwrap().len(), 64);

    files.write("tenants.d/beta.toml", "[[tenant]\n");
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("beta.toml"), "{output:?}");
    let output = check(&["--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "", "everything is in the JSON");
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&report["version"], &report["valid"], &report["digest"]),
        (&json!(1), &json!(false), &Value::Null)
    );
}

#[test]
fn check_against_running_prints_what_a_reload_would_change() {
    let gateway = Gateway::start(Files::new());
    let check = |more: &[&str]| {
        let mut command = fairway(&["check", "--against-running", "--config"]);
        command.arg(gateway.files.path("next.toml")).args(more).output().unwrap()
    };
    let next = gateway.files.gateway_toml("");
    gateway.files.write("next.toml", &next);
    assert_eq!(stdout(&check(&[])), "a reload would change nothing\n");

    // Of another directory, so that the running gateway does not notice.
    std::fs::create_dir(gateway.files.path("next.d")).unwrap();
    gateway.files.write("next.d/beta.toml", &tenant("beta", 2));
    gateway.files.write("next.d/gamma.toml", &tenant("gamma", 3));
    gateway.files.write("next.toml", &next.replace("tenants.d", "next.d").replace("edge1", "edge2"));
    let output = check(&["--socket", gateway.files.socket().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains("gateway.name \"edge1\" -> \"edge2\" (a reload would be refused"), "{text}");
    assert!(text.contains("tenant gamma: added"), "{text}");
    assert!(text.contains("tenant acme: removed"), "{text}");
    assert!(!text.contains("tenant beta"), "{text}");

    let report: Value = serde_json::from_str(&stdout(&check(&["--json"]))).unwrap();
    assert_eq!(keys(&report["against_running"]), ["changes", "needs_restart", "running_digest"]);
    assert_eq!(report["against_running"]["running_digest"], gateway.json("status")["config"]["digest"]);
    assert_eq!(gateway.policy().tenants, ["acme", "beta"], "a check changes nothing");
}

#[test]
fn status_as_json() {
    let files = Files::new();
    files.write("tenants.d/beta.toml", &(tenant("beta", 2) + &exemption("2999-12-31T00:00:00Z")));
    let gateway = Gateway::start(files);
    let status = gateway.json("status");
    assert_eq!(
        keys(&status),
        [
            "abi_version",
            "config",
            "exemptions",
            "interfaces",
            "ledger",
            "metrics",
            "name",
            "pid",
            "release",
            "started_at",
            "tables",
            "tenants",
            "uptime_seconds",
            "version"
        ]
    );
    assert_eq!(status["version"], 1);
    assert_eq!(status["name"], "edge1");
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["tenants"], 2);
    assert_eq!(status["exemptions"], json!({ "count": 1, "next_expiry": "2999-12-31T00:00:00Z" }));
    assert_eq!(status["tables"], json!({ "bytes": 12_345_678, "tenant_capacity": 1_024 }));
    assert_eq!(status["metrics"], format!("http://{}/metrics", gateway.files.metrics));
    assert_eq!(
        keys(&status["config"]),
        ["digest", "file", "kept_since", "last_reload", "loaded_at", "warnings"]
    );
    assert_eq!(status["config"]["file"], gateway.files.config().to_str().unwrap());
    assert_eq!(
        status["interfaces"][0],
        json!({
            "name": "eth1",
            "side": "tenant",
            "mode": "native",
            "attached": true,
            "link_control": { "packets": 5, "bytes": 300 },
            "unmatched": { "packets": 6, "bytes": 600 },
            "unknown_source_passed": { "packets": 2, "bytes": 200 },
            "forwarded": { "packets": 900, "bytes": 800_000 },
            "by_reason": { "unknown_source": { "packets": 7, "bytes": 700 } },
        })
    );
}

#[test]
fn tenants_as_json() {
    let gateway = Gateway::start(Files::new());
    let tenants = gateway.json("tenants");
    assert_eq!(tenants["version"], 1);
    assert_eq!(tenants["tenants"].as_array().unwrap().len(), 2);
    assert_eq!(
        tenants["tenants"][0],
        json!({
            "id": "acme",
            "name": "acme Ltd",
            "prefixes": ["198.51.100.1/32"],
            "vlan": null,
            "suspension": null,
            "suspensions": [],
        "measures": [],
        "restraints": [],
            "up": {
                "cap_bits_per_second": 10_000_000,
                "passed": { "packets": 1_000, "bytes": 1_234_567 },
                "dropped": { "packets": 43, "bytes": 60_180 },
                "by_reason": {
                    "smtp_blocked": { "packets": 3, "bytes": 180 },
                    "over_cap": { "packets": 40, "bytes": 60_000 },
                },
                "over_cap": { "signal": 3, "queue_full": 30, "credit_used": 7 },
            },
            "down": {
                "cap_bits_per_second": 10_000_000,
                "passed": { "packets": 2_000, "bytes": 2_900_000 },
                "dropped": { "packets": 0, "bytes": 0 },
                "by_reason": {},
                "over_cap": {},
            },
        })
    );
}

#[test]
fn status_and_tenants_for_people() {
    let gateway = Gateway::start(Files::new());
    let text = stdout(&gateway.fairway(&["status"]));
    for part in [
        format!("gateway     edge1 (fairway {}, pid {})", env!("CARGO_PKG_VERSION"), std::process::id()),
        "\ntenants     2\n".into(),
        "tables      12.3 MB for up to 1024 tenants\n".into(),
        "last reload succeeded at ".into(),
        " eth1       tenant  native  yes                 5          6               2               900  unknown_source 7"
            .into(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in\n{text}");
    }

    let text = stdout(&gateway.fairway(&["tenants"]));
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let up = "acme acme Ltd up 10 Mbit/s 1000 1.2 MB 43 60.1 kB over_cap 40, smtp_blocked 3";
    assert_eq!(lines[1], up.split_whitespace().collect::<Vec<_>>(), "{text}");
    let down = "198.51.100.1/32 down 10 Mbit/s 2000 2.9 MB 0 0 B";
    assert_eq!(lines[2], down.split_whitespace().collect::<Vec<_>>(), "{text}");
    assert_eq!(lines.len(), 5, "{text}");
}

#[test]
fn no_colours_unless_on_a_terminal() {
    let output = fairway(&["status", "--socket", "/nonexistent"]).output().unwrap();
    assert!(!stderr(&output).contains('\x1b'), "{output:?}");
}

#[test]
fn detach_works_without_a_controller() {
    let files = Files::new();
    let output = fairway(&["detach", "--json", "--config"]).arg(files.config()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report, json!({ "version": 1, "interfaces": [], "controller_pid": null }));

    files.write("gateway.toml", "[gateway\n");
    let output = fairway(&["detach", "--config"]).arg(files.config()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("detach --pin-dir /sys/fs/bpf/fairway/NAME"), "{output:?}");
}

#[test]
fn run_reports_a_broken_configuration_and_ends() {
    let files = Files::new();
    files.write("gateway.toml", "[gateway\n");
    let output = fairway(&["run", "--config"]).arg(files.config()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("gateway.toml"), "{output:?}");
    assert_eq!(stdout(&output), "");
}

#[test]
fn logs_are_json_if_asked() {
    let files = Files::new();
    // A warning to be logged, and a reason to end.
    files.write("tenants.d/beta.toml", &tenant("beta", 2).replace("contact", "# contact"));
    let _busy = TcpListener::bind(files.metrics).unwrap();
    let log = |level: &str| {
        let mut run = fairway(&["run", "--log-format", "json", "--config"]);
        let output = run.arg(files.config()).env("FAIRWAY_LOG", level).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = stderr(&output);
        let (log, error) = text.rsplit_once("error: ").unwrap();
        assert!(error.starts_with("cannot serve metrics on "), "{error}");
        log.to_owned()
    };
    let entry: Value = serde_json::from_str(&log("warn")).unwrap();
    assert_eq!(entry["level"], "WARN");
    assert!(entry["message"].as_str().unwrap().contains("beta.toml"), "{entry}");
    assert_eq!(log("error"), "", "only errors were asked for");
}
