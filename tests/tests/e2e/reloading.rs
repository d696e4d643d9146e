//! A reload is all or nothing, loses no packet, and keeps every counter.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fairway_tests::gateway::Gateway;
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::packets::{self, Receiver};
use fairway_tests::run::wait_for;
use nix::sys::signal::Signal;

use crate::{police, untagged};

const EXEMPTION: &str = "[[smtp_exemption]]\ndirection = 'out'\nticket = 'T-1'\napproved_by = 'test'\n\
    expires = 2099-12-31";

/// Acme's cap from it to the Internet, in bits per second.
fn cap_up(gateway: &Gateway<'_>) -> Option<f64> {
    let labels = [("tenant", "acme"), ("direction", "up")];
    Some(8.0 * gateway.metrics().ok()?.sum("fairway_tenant_cap_bytes_per_second", &labels))
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn command_signal_and_file_change_all_reload() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |_, gateway, mut config| {
            let wait_for_cap = |gateway: &Gateway<'_>, cap: f64| {
                let reached = || (cap_up(gateway)? == cap).then_some(());
                let waited = wait_for("the new cap", Duration::from_secs(10), reached);
                assert!(waited.is_ok(), "{cap} bit/s not in force: {}", gateway.log());
            };
            wait_for_cap(gateway, 10e6);
            config.set_tenant("acme", "cap = { up = '5 Mbit/s' }");
            gateway.reload(&config).unwrap();
            assert_eq!(cap_up(gateway), Some(5e6), "the command returns when it is done");
            config.set_tenant("acme", "cap = { up = '4 Mbit/s' }");
            gateway.write(&config).unwrap();
            wait_for_cap(gateway, 4e6);
            // As after a restore from a backup: the change is older than the files that were read.
            gateway.signal(Signal::SIGHUP).unwrap();
            wait_for("the reload by SIGHUP", Duration::from_secs(10), || {
                gateway.log().contains("cause=\"signal\"").then_some(())
            })
            .unwrap();
            assert_eq!(cap_up(gateway), Some(4e6));
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_mistake_leaves_the_old_policy_in_force() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, good| {
            let outside = MailServer::start(&topology.internet.namespace, 25).unwrap();
            let acme = &topology.tenant("acme").host;
            let address = topology.internet.addresses()[0];
            assert_eq!(outside.receive(&acme.namespace, address).unwrap(), Outcome::NoAnswer);
            let blocked = gateway.counters("acme", "up").unwrap().dropped_for("smtp_blocked").packets;

            let mut bad = good.clone();
            bad.set_tenant("acme", EXEMPTION).set_tenant("acme", "cap = { up = '11 Mbit/s' }");
            let refusal = format!("{:#}", gateway.reload(&bad).unwrap_err());
            assert!(refusal.contains("11 Mbit/s") && refusal.contains("acme.toml"), "{refusal}");
            assert_eq!(gateway.metrics().unwrap().sum("fairway_config_last_reload_successful", &[]), 0.0);
            assert_eq!(outside.receive(&acme.namespace, address).unwrap(), Outcome::NoAnswer);
            assert!(gateway.counters("acme", "up").unwrap().dropped_for("smtp_blocked").packets > blocked);

            let mut better = good.clone();
            better.set_tenant("acme", EXEMPTION);
            gateway.reload(&better).unwrap();
            assert_eq!(gateway.metrics().unwrap().sum("fairway_config_last_reload_successful", &[]), 1.0);
            assert_eq!(outside.receive(&acme.namespace, address).unwrap(), Outcome::Delivered);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn no_packet_is_lost_or_counted_twice_while_policies_change() {
    const DATAGRAMS: u32 = 3_000;
    police(
        &untagged(&["acme", "beta"]),
        // Most tenants go with every second reload.
        |config| {
            config.set("gateway = { removal_limit_percent = 100 }");
        },
        |topology, gateway, config| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            let target = SocketAddr::new(internet.ipv4.into(), 9);
            let mut receiver = Receiver::listen(&internet.namespace, target).unwrap();
            let done = AtomicBool::new(false);
            let reloads = thread::scope(|scope| {
                scope.spawn(|| {
                    // About 4 Mbit/s, under the cap; ten at a time, since a millisecond is the shortest nap.
                    for _ in 0..DATAGRAMS / 10 {
                        packets::send_datagrams(&acme.namespace, acme.ipv4.into(), target, 458, 10).unwrap();
                        thread::sleep(Duration::from_millis(8));
                    }
                    done.store(true, Ordering::Release);
                });
                let mut reloads = 0;
                while !done.load(Ordering::Acquire) {
                    // Tenants come and go, so that everything around acme moves.
                    let mut changed = config.clone();
                    if reloads % 2 == 0 {
                        changed.remove_tenant("beta");
                        for index in 0..50 {
                            let id = format!("t{index}");
                            let prefix = format!("prefixes = ['203.0.113.{}/32']", 64 + index);
                            changed.set_tenant(&id, &format!("id = '{id}'\n{prefix}"));
                        }
                    }
                    gateway.reload(&changed).unwrap();
                    reloads += 1;
                }
                reloads
            });
            assert!(reloads >= 4, "{reloads} reloads only");
            receiver.wait_for(DATAGRAMS).unwrap();
            assert_eq!(receiver.received(), DATAGRAMS);
            let up = gateway.counters("acme", "up").unwrap();
            assert_eq!((up.passed.packets, up.dropped.packets), (u64::from(DATAGRAMS), 0));
            assert_eq!(up.passed.bytes, u64::from(DATAGRAMS) * 500);
        },
    );
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn outgrown_tables_are_replaced_without_losing_a_packet_or_a_count() {
    // At least so many, and then until the tables are replaced, however long that takes, within reason.
    const LEAST: u32 = 2_000;
    const MOST: u32 = 60_000;
    // More than the smallest tables hold.
    const TENANTS: u32 = 1_100;
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, mut config| {
            let (acme, internet) = (&topology.tenant("acme").host, &topology.internet);
            let target = SocketAddr::new(internet.ipv4.into(), 9);
            let mut receiver = Receiver::listen(&internet.namespace, target).unwrap();
            let capacity =
                |gateway: &Gateway<'_>| gateway.status().unwrap()["tables"]["tenant_capacity"].as_u64();
            assert_eq!(capacity(gateway), Some(1_024));
            for index in 0..TENANTS {
                let id = format!("t{index}");
                let prefix = format!("prefixes = ['198.18.{}.{}/32']", index / 256, index % 256);
                config.set_tenant(&id, &format!("id = '{id}'\n{prefix}"));
            }
            let replaced = AtomicBool::new(false);
            let sent = thread::scope(|scope| {
                let sender = scope.spawn(|| {
                    let mut sent = 0;
                    while sent < LEAST || (sent < MOST && !replaced.load(Ordering::Relaxed)) {
                        packets::send_datagrams(&acme.namespace, acme.ipv4.into(), target, 458, 10).unwrap();
                        sent += 10;
                        thread::sleep(Duration::from_millis(8));
                    }
                    sent
                });
                gateway.reload(&config).unwrap();
                assert!(!sender.is_finished(), "the tables were replaced under traffic");
                replaced.store(true, Ordering::Relaxed);
                sender.join().unwrap()
            });
            assert!(capacity(gateway) >= Some(u64::from(TENANTS) + 1), "{:?}", capacity(gateway));
            receiver.wait_for(sent).unwrap();
            let up = gateway.counters("acme", "up").unwrap();
            assert_eq!((up.passed.packets, up.dropped.packets), (u64::from(sent), 0));
            assert_eq!(up.passed.bytes, u64::from(sent) * 500);
            let pinned = std::fs::read_dir(gateway.pin_directory()).unwrap().flatten();
            let tables: Vec<_> =
                pinned.filter(|pin| pin.file_name().to_string_lossy().starts_with("maps-")).collect();
            assert_eq!(tables.len(), 1, "the old tables are gone: {tables:?}");

            // The next controller takes the larger ones over.
            gateway.kill().unwrap();
            gateway.launch().unwrap();
            assert_eq!(gateway.counters("acme", "up").unwrap().passed.packets, u64::from(sent));
        },
    );
}
