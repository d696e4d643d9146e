//! Files that vanish or break, while the gateway runs and before it starts: nobody is cut off, and nobody is freed.

use std::fs;

use gateway::run::RunError;

use crate::fake::{Files, Gateway, eventually, stderr, stdout, tenant};
use crate::service::refused_start;

/// A gateway that ran once, with its files.
fn after_a_run() -> Files {
    Gateway::start(Files::new()).stop().0
}

fn remove_tenants(files: &Files) {
    fs::remove_dir_all(files.path("tenants.d")).unwrap();
}

#[test]
fn a_directory_of_tenants_that_vanishes_cuts_nobody_off() {
    let gateway = Gateway::start(Files::new());
    remove_tenants(&gateway.files);
    let output = gateway.fairway(&["reload"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = stderr(&output);
    assert!(told.contains("2 of 2 tenants would be gone (acme, beta)"), "{told}");
    assert!(told.contains("fairway reload --accept-removals"), "{told}");
    assert_eq!(gateway.policy().tenants, ["acme", "beta"]);
    let status = gateway.json("status");
    assert_eq!(status["config"]["last_reload"]["successful"], false, "{status}");

    let output = gateway.fairway(&["reload", "--accept-removals"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(gateway.policy().tenants, [""; 0]);
}

#[test]
fn files_that_break_before_the_start_are_replaced_by_what_was_in_force() {
    let files = after_a_run();
    files.write("tenants.d/beta.toml", "[[tenant]\n");
    let gateway = Gateway::start(files);
    assert_eq!(gateway.policy().tenants, ["acme", "beta"]);
    let status = gateway.json("status");
    assert!(status["config"]["kept_since"].is_string(), "{status}");
    assert_eq!(status["config"]["last_reload"]["successful"], false, "{status}");
    let text = stdout(&gateway.fairway(&["status"]));
    assert!(text.contains("STALE: not ") && text.contains("beta.toml"), "{text}");
    assert!(gateway.scrape().contains("\nfairway_config_stale 1\n"));

    // Mended to the very same text: it is in force by its own right again.
    gateway.files.replace("tenants.d/beta.toml", &tenant("beta", 2));
    eventually("the mended file", || gateway.json("status")["config"]["kept_since"].is_null());
    assert!(gateway.scrape().contains("\nfairway_config_stale 0\n"));
    assert_eq!(gateway.json("status")["config"]["last_reload"]["successful"], true);
}

#[test]
fn a_start_without_its_tenants_keeps_them_until_somebody_insists() {
    let files = after_a_run();
    remove_tenants(&files);
    let gateway = Gateway::start(files);
    assert_eq!(gateway.policy().tenants, ["acme", "beta"]);
    let status = gateway.json("status");
    assert!(
        status["config"]["last_reload"]["error"].as_str().unwrap().contains("2 of 2 tenants"),
        "{status}"
    );
    assert!(gateway.fairway(&["reload", "--accept-removals"]).status.success());
    assert_eq!(gateway.policy().tenants, [""; 0]);
    assert!(gateway.json("status")["config"]["kept_since"].is_null());
    // What was insisted on is what the next start begins with.
    let gateway = Gateway::start(gateway.stop().0);
    assert_eq!(gateway.policy().tenants, [""; 0]);
}

#[test]
fn a_damaged_copy_is_no_policy() {
    let files = after_a_run();
    files.write("tenants.d/beta.toml", "[[tenant]\n");
    let copy = files.path("state/config-in-force");
    let whole = fs::read(&copy).unwrap();
    fs::write(&copy, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(refused_start(&files), RunError::Config(_)));
    // Without broken files it does not matter, and is replaced.
    files.write("tenants.d/beta.toml", &tenant("beta", 2));
    let files = Gateway::start(files).stop().0;
    files.write("tenants.d/beta.toml", "[[tenant]\n");
    assert_eq!(Gateway::start(files).policy().tenants, ["acme", "beta"]);
}
