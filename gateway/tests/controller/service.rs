//! Start, reload, lapse, stop.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use gateway::config::OnStop;
use gateway::controller::Input;
use gateway::run::{RunError, Signal};
use jiff::{Timestamp, ToSpan};
use nix::unistd::Uid;
use tokio::sync::mpsc;

use crate::fake::{
    Files, Gateway, Record, controller, eventually, exemption, free_port, http_get, serve, stderr, tenant,
};

/// A start that must fail; returns why, and that nothing was attached.
pub(crate) fn refused_start(files: &Files) -> RunError {
    let record = Arc::new(Mutex::new(Record::default()));
    let (_signals, receiver) = mpsc::channel(1);
    let error = serve(&files.config(), Arc::clone(&record), || receiver).unwrap_err();
    assert_eq!(record.lock().unwrap().policies, [], "the data plane was touched");
    error
}

#[test]
fn stop_leaves_the_data_plane_as_configured_and_removes_the_socket() {
    for (more, on_stop) in [("", OnStop::Keep), ("on_stop = \"detach\"", OnStop::Detach)] {
        let files = Files::new();
        files.write("gateway.toml", &files.gateway_toml(more));
        let gateway = Gateway::start(files);
        assert_eq!(gateway.policy().tenants, ["acme", "beta"]);
        assert_eq!(gateway.record.lock().unwrap().stopped, None);
        let record = Arc::clone(&gateway.record);
        let (files, ended) = gateway.stop();
        ended.unwrap();
        assert_eq!(record.lock().unwrap().stopped, Some(on_stop));
        assert!(!files.socket().exists());
        TcpListener::bind(files.metrics).expect("the metrics port is free again");
    }
}

#[test]
fn a_reload_by_command_brings_the_new_policy() {
    let gateway = Gateway::start(Files::new());
    gateway.files.write("tenants.d/gamma.toml", &tenant("gamma", 3));
    let output = gateway.fairway(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stderr(&output).contains("reloaded: 3 tenants, 3 prefixes, "), "{output:?}");
    assert_eq!(gateway.policy().tenants, ["acme", "beta", "gamma"]);
}

#[test]
fn a_reload_by_signal_happens_though_the_files_are_the_same() {
    let gateway = Gateway::start(Files::new());
    let before = gateway.applied();
    gateway.signal(Signal::Reload);
    eventually("the policy to be applied again", || gateway.applied() > before);
    assert_eq!(gateway.policy().tenants, ["acme", "beta"]);
}

#[test]
fn files_that_are_replaced_added_or_removed_are_noticed() {
    let gateway = Gateway::start(Files::new());
    gateway.files.replace("tenants.d/beta.toml", &tenant("better", 2));
    eventually("the replaced file", || gateway.policy().tenants == ["acme", "better"]);
    gateway.files.write("tenants.d/gamma.toml", &tenant("gamma", 3));
    eventually("the added file", || gateway.policy().tenants == ["acme", "better", "gamma"]);
    fs::remove_file(gateway.files.path("tenants.d/acme.toml")).unwrap();
    eventually("the removed file", || gateway.policy().tenants == ["better", "gamma"]);
}

#[test]
fn directories_that_a_reload_brings_are_watched_as_well() {
    let gateway = Gateway::start(Files::new());
    fs::create_dir(gateway.files.path("more.d")).unwrap();
    gateway.files.write("more.d/gamma.toml", &tenant("gamma", 3));
    let text = gateway.files.gateway_toml("").replace("d/*.toml\"]", "d/*.toml\", \"more.d/*.toml\"]");
    gateway.files.replace("gateway.toml", &text);
    eventually("the new directory", || gateway.policy().tenants == ["acme", "beta", "gamma"]);
    gateway.files.write("more.d/gamma.toml", &tenant("delta", 4));
    eventually("a change in it", || gateway.policy().tenants == ["acme", "beta", "delta"]);
}

#[test]
fn a_broken_file_changes_nothing_and_is_reported_everywhere() {
    let gateway = Gateway::start(Files::new());
    let digest = gateway.json("status")["config"]["digest"].clone();
    gateway.files.replace("tenants.d/beta.toml", "[[tenant]\n");
    eventually("the change to be refused", || {
        gateway.json("status")["config"]["last_reload"]["successful"] == false
    });

    let output = gateway.fairway(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("beta.toml"), "{output:?}");
    let refused = gateway.json("reload");
    assert_eq!(refused["version"], 1);
    assert!(refused["error"].as_str().unwrap().contains("beta.toml"), "{refused}");
    assert!(!refused["diagnostics"].is_null(), "{refused}");

    let status = gateway.json("status");
    assert_eq!(status["config"]["digest"], digest);
    assert!(status["config"]["last_reload"]["error"].as_str().unwrap().contains("beta.toml"), "{status}");
    assert_eq!(gateway.policy().tenants, ["acme", "beta"]);
    assert!(gateway.scrape().contains("\nfairway_config_last_reload_successful 0\n"));

    gateway.files.replace("tenants.d/beta.toml", &tenant("beta", 2));
    eventually("the mended file", || gateway.json("status")["config"]["last_reload"]["successful"] == true);
    assert!(gateway.scrape().contains("\nfairway_config_last_reload_successful 1\n"));
}

#[test]
fn a_missing_file_does_not_end_the_service() {
    let gateway = Gateway::start(Files::new());
    fs::remove_file(gateway.files.config()).unwrap();
    let output = gateway.fairway(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("gateway.toml"), "{output:?}");
    gateway.files.write("gateway.toml", &gateway.files.gateway_toml(""));
    eventually("the file to be back", || {
        gateway.json("status")["config"]["last_reload"]["successful"] == true
    });
}

#[test]
fn what_the_data_plane_refuses_changes_nothing() {
    let gateway = Gateway::start(Files::new());
    let before = gateway.json("status");
    gateway.record.lock().unwrap().refusal = Some("no space left");
    gateway.files.write("tenants.d/gamma.toml", &tenant("gamma", 3));
    let output = gateway.fairway(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "error: writing the tables: no space left. Make room\n");
    let after = gateway.json("status");
    assert_eq!(after["config"]["digest"], before["config"]["digest"]);
    assert_eq!(after["tenants"], 2);
    assert_eq!(gateway.json("tenants")["tenants"].as_array().unwrap().len(), 2);

    gateway.record.lock().unwrap().refusal = None;
    assert!(gateway.fairway(&["reload"]).status.success());
    assert_eq!(gateway.json("status")["tenants"], 3);
}

#[test]
fn what_needs_a_restart_is_refused_and_named() {
    let gateway = Gateway::start(Files::new());
    let text = gateway.files.gateway_toml("").replace("edge1", "edge2").replace("control.sock", "other.sock");
    gateway.files.write("gateway.toml", &text);
    let output = gateway.fairway(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    for part in ["gateway.name \"edge1\" -> \"edge2\"", "other.sock", "Restart it: systemctl restart fairway"]
    {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert_eq!(gateway.json("status")["name"], "edge1");
}

#[test]
fn exemptions_lapse_by_themselves() {
    let files = Files::new();
    let soon = Timestamp::now() + 2.seconds();
    files.write("tenants.d/acme.toml", &(tenant("acme", 1) + &exemption(&soon.to_string())));
    files.write("tenants.d/beta.toml", &(tenant("beta", 2) + &exemption("2999-12-31")));
    let gateway = Gateway::start(files);
    let before = gateway.json("status");
    assert_eq!(gateway.record.lock().unwrap().policies[0].exemptions, 2);
    eventually("the lapse", || gateway.policy().exemptions == 1);
    assert!(Timestamp::now() >= soon, "lapsed before its time");
    let after = gateway.json("status");
    assert_eq!(after["exemptions"]["count"], 1);
    assert!(after["exemptions"]["next_expiry"].as_str().unwrap() > "2999", "{after}");
    assert_eq!(after["config"], before["config"], "a lapse is not a reload");
}

#[test]
fn a_lapse_that_the_data_plane_refuses_can_be_tried_again() {
    let files = Files::new();
    let expires = Timestamp::now() + 1.hour();
    files.write("tenants.d/acme.toml", &(tenant("acme", 1) + &exemption(&expires.to_string())));
    let (controller, record) = controller(&files);
    let in_tables = || record.lock().unwrap().policies.last().unwrap().exemptions;
    controller.handle_at(Input::Tick, expires - 1.second());
    assert_eq!(record.lock().unwrap().policies.len(), 1, "nothing to do before the time");

    record.lock().unwrap().refusal = Some("no space left");
    controller.handle_at(Input::Tick, expires);
    // The data plane does not honour it any more either way.
    let policy = controller.policy();
    assert_eq!((policy.effective.exemptions(), policy.effective.next_end()), (0, None));
    assert_eq!(in_tables(), 1);
    record.lock().unwrap().refusal = None;
    controller.handle_at(Input::Tick, expires + 61.seconds());
    assert_eq!(in_tables(), 0);
}

#[test]
fn a_second_controller_is_refused() {
    let gateway = Gateway::start(Files::new());
    let error = refused_start(&gateway.files).to_string();
    assert!(error.contains(&format!("already running (pid {})", std::process::id())), "{error}");
    assert!(gateway.fairway(&["status"]).status.success(), "the first one still serves");
}

#[test]
fn a_busy_metrics_port_is_found_before_anything_is_attached() {
    let files = Files::new();
    let _other = TcpListener::bind(files.metrics).unwrap();
    let error = refused_start(&files).to_string();
    assert!(error.starts_with(&format!("cannot serve metrics on {}: ", files.metrics)), "{error}");
    assert!(error.contains("Another program holds this port"), "{error}");
    assert!(!files.socket().exists());
}

#[test]
fn a_broken_configuration_does_not_start() {
    let files = Files::new();
    files.write("gateway.toml", "[gateway\n");
    assert!(matches!(refused_start(&files), RunError::Config(_)));
}

#[test]
fn the_metrics_endpoint_moves_with_a_reload_or_stays_if_it_cannot() {
    let gateway = Gateway::start(Files::new());
    let (old, new, busy) = (gateway.files.metrics, free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let listen_on = |address: &str| {
        let text = gateway.files.gateway_toml("").replace(&old.to_string(), address);
        gateway.files.write("gateway.toml", &text);
        gateway.fairway(&["reload"])
    };
    let output = listen_on(&busy.local_addr().unwrap().to_string());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("Another program holds this port"), "{output:?}");
    assert!(http_get(old, "/metrics").1.contains("fairway_config_last_reload_successful 0"));

    assert!(listen_on(&new.to_string()).status.success());
    assert!(http_get(new, "/metrics").1.contains("fairway_config_last_reload_successful 1"));
    eventually("the old port to be closed", || std::net::TcpStream::connect(old).is_err());
}

#[test]
fn other_users_are_refused_whatever_the_mode_of_the_socket() {
    if !Uid::effective().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root to become another user");
        eprintln!("SKIPPED other_users_are_refused: needs root to become another user");
        return;
    }
    let gateway = Gateway::start(Files::new());
    // The other user may reach the socket and a copy of the command, but for the socket's own mode.
    let binary = gateway.files.path("fairway");
    fs::copy(env!("CARGO_BIN_EXE_fairway"), &binary).unwrap();
    fs::set_permissions(gateway.files.path("."), Permissions::from_mode(0o755)).unwrap();
    let as_nobody = |command: &str| {
        let mut fairway = Command::new(&binary);
        fairway
            .args([command, "--socket"])
            .arg(gateway.files.socket())
            .uid(65_534)
            .gid(65_534)
            .current_dir("/");
        fairway.output().unwrap()
    };
    let output = as_nobody("status");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: permission denied on "), "{output:?}");

    let applied = gateway.applied();
    fs::set_permissions(gateway.files.socket(), Permissions::from_mode(0o666)).unwrap();
    for command in ["status", "reload"] {
        let output = as_nobody(command);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("for its owner and the members of group 0"), "{output:?}");
    }
    assert_eq!(gateway.applied(), applied);
}
