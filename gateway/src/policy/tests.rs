//! What comes of composing files, decisions and time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use gateway_ebpf::Direction::{Down, Up};
use gateway_ebpf::restriction::Restriction;
use jiff::{Timestamp, ToSpan as _};
use proptest::prelude::*;

use super::*;
use crate::config::{self, Config, Direction, Measure, OffenceKind};

use crate::domain::{LoweredCap, MeasureInForce, Scope};
use crate::suspension::Suspension;

const TENANTS: &str = r#"
[[detect.allow]]
sources = ["203.0.113.1/32"]
reason = "resolver"
ticket = "NET-1"
approved_by = "j.doe"
expires = 2026-10-15
[[tenant]]
id = "acme"
prefixes = ["203.0.113.0/28"]
contact = "admin@acme.example"
cap = { up = "5 Mbit/s" }
[[tenant.smtp_exemption]]
direction = "out"
ticket = "SMTP-1"
approved_by = "j.doe"
expires = 2026-10-01
[[tenant.smtp_exemption]]
direction = "in"
ticket = "SMTP-2"
approved_by = "j.doe"
expires = 2026-11-01
[[tenant]]
id = "beta"
prefixes = ["203.0.113.16/28"]
contact = "admin@beta.example"
"#;

fn config_of(tenants: &str) -> Arc<Config> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    let interfaces = "[[interface]]\nname = \"eth1\"\nside = \"tenant\"\n[[interface]]\nname = \"eth0\"\nside = \"uplink\"\n";
    std::fs::write(&file, format!("[gateway]\nname = \"edge1\"\n{interfaces}{tenants}")).unwrap();
    Arc::new(config::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}")).config)
}

/// `seconds` after an arbitrary moment.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn day(text: &str) -> Timestamp {
    format!("{text}T00:00:00Z").parse().unwrap()
}

fn suspension(scope: Scope, until: Option<Timestamp>) -> Suspension {
    Suspension { scope, reason: "bulk mail".into(), by: Some("j.doe".into()), since: at(0), until }
}

fn lowered(kind: OffenceKind, up_bits_per_second: u64, until: Timestamp) -> MeasureInForce {
    MeasureInForce {
        tenant: "acme".into(),
        source: None,
        kind: Some(kind),
        measure: Measure::LowerCap,
        lowered_cap: Some(LoweredCap {
            up_bits_per_second: Some(up_bits_per_second),
            down_bits_per_second: None,
        }),
        since: at(0),
        until,
    }
}

fn tickets(policy: &Effective, tenant: &str) -> Vec<String> {
    policy.tenant(tenant).unwrap().exemptions().map(|exemption| exemption.ticket.to_owned()).collect()
}

#[test]
fn what_has_expired_is_not_in_force_and_stays_in_the_configuration() {
    let config = config_of(TENANTS);
    let overrides = Overrides::default();
    let before = compose(&config, &overrides, day("2026-09-01"));
    assert_eq!(tickets(&before, "acme"), ["SMTP-1", "SMTP-2"]);
    assert_eq!((before.exemptions(), before.allowances().count()), (2, 1));
    assert_eq!(before.next_end(), Some(day("2026-10-02")));

    let during = before.with(&overrides, day("2026-10-02"));
    assert_eq!(tickets(&during, "acme"), ["SMTP-2"]);
    assert_eq!((during.exemptions(), during.next_end()), (1, Some(day("2026-10-16"))));
    let lapsed = before.lapsed_at(during.at());
    assert_eq!(lapsed, [Lapsed::SmtpExemption { tenant: "acme".into(), ticket: "SMTP-1".into() }]);

    let after = during.with(&overrides, day("2026-12-01"));
    assert_eq!((after.exemptions(), after.allowances().count(), after.next_end()), (0, 0, None));
    assert_eq!(during.lapsed_at(after.at()).len(), 2);
    // A replay may go back: the configuration still has all.
    assert_eq!(tickets(&after.with(&overrides, day("2026-09-01")), "acme"), ["SMTP-1", "SMTP-2"]);
}

#[test]
fn what_the_kernel_forbids_and_nobody_decided_is_found_once() {
    let config = config_of(TENANTS);
    let now = day("2026-09-01");
    let mut overrides = Overrides::of([("acme".to_owned(), suspension(Scope::Mail, None))], &[]);
    let both = Restriction::NO_MAIL.with(Restriction::NOTHING);
    // Who is not configured may be suspended, but has no place in the tables.
    let held = HashMap::from([("acme".to_owned(), both), ("gone".to_owned(), Restriction::NO_OUTBOUND)]);
    let policy = compose(&config, &overrides, now).and_found(&held);
    assert_eq!(policy.tenant("acme").unwrap().restriction(), both);
    assert_eq!(policy.tenant("acme").unwrap().suspensions()[0], suspension(Scope::Mail, None));
    let found = overrides.found_in(&held, now);
    let scopes: Vec<_> = found.iter().map(|(tenant, found)| (tenant.as_str(), found.scope)).collect();
    assert_eq!(scopes, [("acme", Scope::Everything), ("gone", Scope::Outbound)]);
    found.into_iter().for_each(|(tenant, found)| overrides.suspend(&tenant, found));
    assert_eq!(overrides.found_in(&held, now), []);
}

#[test]
fn the_lowest_cap_holds_and_names_its_cause() {
    let config = config_of(TENANTS);
    let now = day("2026-09-01");
    let mut overrides = Overrides::default();
    let mbit = |number: u64| number * 1_000_000;
    let rise = lowered(OffenceKind::SuddenRise, mbit(2), now + 1.hour());
    overrides.lower_cap(rise.clone());
    overrides.lower_cap(lowered(OffenceKind::SynFlood, mbit(3), now + 2.hours()));
    let policy = compose(&config, &overrides, now);
    let acme = policy.tenant("acme").unwrap();
    assert_eq!(acme.cap(Up).value.bits_per_sec(), mbit(2));
    assert_eq!(acme.cap(Up).cause, Cause::Measure(&rise));
    let place = acme.configured().written.place("cap.up").cloned();
    let says = |about: &str| rules(&acme).into_iter().find(|rule| rule.about == about).unwrap();
    let up = says("cap up");
    assert_eq!((up.key, up.place), ("tenant.cap.up", place));
    assert_eq!(up.says, "5 Mbit/s, lowered to 2 Mbit/s until 2026-09-01T01:00:00Z for sudden_rise");
    assert_eq!(says("cap down").says, "10 Mbit/s");
    assert_eq!(acme.cap(Down).cause, Cause::Config { key: "fair_use.ceiling", place: None });
    assert_eq!(policy.next_end(), Some(now + 1.hour()));

    let later = policy.with(&overrides, now + 1.hour());
    assert_eq!(later.tenant("acme").unwrap().cap(Up).value.bits_per_sec(), mbit(3));
    // One above what is configured lowers nothing.
    overrides.lower_cap(lowered(OffenceKind::SynFlood, mbit(9), now + 2.hours()));
    let acme = later.with(&overrides, now + 1.hour());
    let cap = acme.tenant("acme").unwrap().cap(Up);
    assert_eq!((cap.value.bits_per_sec(), matches!(cap.cause, Cause::Config { .. })), (mbit(5), true));
}

#[test]
fn suspensions_add_up_until_each_is_over() {
    let config = config_of(TENANTS);
    let now = day("2026-09-01");
    let mut overrides = Overrides::default();
    overrides.suspend("acme", suspension(Scope::Outbound, None));
    overrides.suspend("acme", suspension(Scope::Mail, Some(now + 1.hour())));
    overrides.suspend("gone", suspension(Scope::Everything, None));
    let policy = compose(&config, &overrides, now);
    let restriction = |policy: &Effective, id| policy.tenant(id).unwrap().restriction();
    assert_eq!(restriction(&policy, "acme"), Restriction::NO_MAIL.with(Restriction::NO_OUTBOUND));
    assert_eq!(restriction(&policy, "beta"), Restriction::NONE);
    assert!(policy.tenant("gone").is_none());
    assert_eq!(policy.overridden().map(|tenant| &*tenant.configured().id).collect::<Vec<_>>(), ["acme"]);
    let scopes: Vec<_> =
        policy.tenant("acme").unwrap().suspensions().iter().map(|suspension| suspension.scope).collect();
    assert_eq!(scopes, [Scope::Mail, Scope::Outbound]);
    let later = policy.with(&overrides, now + 1.hour());
    assert_eq!(restriction(&later, "acme"), Restriction::NO_OUTBOUND);
    overrides.restore("acme", |_| true);
    assert_eq!(restriction(&later.with(&overrides, now), "acme"), Restriction::NONE);
    // A tenant that comes back finds its suspension.
    let back = config_of("[[tenant]]\nid = \"gone\"\nprefixes = [\"203.0.113.0/28\"]\n");
    assert_eq!(restriction(&compose(&back, &overrides, now), "gone"), Restriction::NOTHING);
}

#[test]
fn a_grant_is_an_exemption_beside_those_of_the_files() {
    let config = config_of(TENANTS);
    let now = day("2026-12-01");
    let grant = Grant {
        id: "G-7".into(),
        direction: Direction::Out,
        peers: vec!["192.0.2.25/32".parse().unwrap()],
        ticket: "SMTP-9".into(),
        approved_by: "a.n".into(),
        expires: now + 1.hour(),
    };
    let mut overrides = Overrides::default();
    overrides.grant("beta", grant.clone());
    let policy = compose(&config, &overrides, now);
    let beta = policy.tenant("beta").unwrap();
    let given: Vec<_> = beta.exemptions().map(|exemption| exemption.cause).collect();
    assert_eq!(given, [Cause::Grant(&grant)]);
    assert_eq!((policy.exemptions(), policy.next_exemption_end()), (1, Some(grant.expires)));
    let mail_out = rules(&beta).into_iter().find(|rule| rule.about == "TCP 25 out").unwrap();
    assert_eq!(mail_out.says, "closed, but for exemptions");
    // What files give is all that a comparison with other files is about.
    assert_eq!(view(&policy), view(&compose(&config, &Overrides::default(), now)));
    let lapsed = policy.lapsed_at(grant.expires);
    assert_eq!(lapsed, [Lapsed::SmtpExemption { tenant: "beta".into(), ticket: "SMTP-9".into() }]);
    overrides.revoke("beta", "G-7");
    assert_eq!(policy.with(&overrides, now).exemptions(), 0);
}

/// The time is printed, not asserted.
#[test]
fn composing_a_hundred_thousand_tenants_copies_none() {
    let mut text = String::new();
    for number in 0_u32..100_000 {
        let [_, a, b, c] = (number * 8).to_be_bytes();
        text += &format!("[[tenant]]\nid = \"t{number:06}\"\nprefixes = [\"10.{a}.{b}.{c}/29\"]\n");
    }
    let config = config_of(&text);
    let mut overrides = Overrides::default();
    overrides.suspend("t050000", suspension(Scope::Mail, None));
    let started = Instant::now();
    let policy = compose(&config, &overrides, at(0));
    let composed = started.elapsed();
    let started = Instant::now();
    let next = policy.with(&overrides, at(1));
    println!("compose {composed:?}, with {:?}", started.elapsed());
    assert_eq!(policy.tenants().len(), 100_000);
    assert!(config.tenants.iter().all(|tenant| Arc::strong_count(tenant) == 1), "shared, not copied");
    assert_eq!(next.overridden().count(), 1);
}

proptest! {
    /// Composing anew and going on from an earlier policy come to the same, whatever the order of times.
    #[test]
    fn going_on_is_composing_anew(
        moments in prop::collection::vec(0_i64..200, 1..12),
        ends in prop::collection::vec((0_usize..3, prop::option::of(0_i64..200)), 0..4),
    ) {
        let config = config_of(TENANTS);
        let start = day("2026-09-01");
        let moment = |days: i64| start + (days * 24).hours();
        let mut overrides = Overrides::default();
        for (scope, end) in ends {
            overrides.suspend("acme", suspension(Scope::ALL[scope], end.map(moment)));
            if let Some(end) = end {
                overrides.lower_cap(lowered(OffenceKind::SuddenRise, 1_000_000, moment(end)));
            }
        }
        let mut policy = compose(&config, &Overrides::default(), start);
        for now in moments.into_iter().map(moment) {
            policy = policy.with(&overrides, now);
            let anew = compose(&config, &overrides, now);
            prop_assert_eq!(format!("{policy:?}"), format!("{anew:?}"));
            // Whatever ends next is still to come, and nothing that holds is over.
            prop_assert!(policy.next_end().is_none_or(|end| now < end));
            prop_assert!(policy.lapsed_at(now).is_empty());
        }
    }
}
