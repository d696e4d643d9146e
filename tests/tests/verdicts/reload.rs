//! A new policy replaces the old one whole; tenants that stay keep their counters and buckets.

use fairway_tests::bench::in_force;
use fairway_tests::frames::{datagram, syn};
use gateway::config::Side;
use gateway::dataplane::Verdict;
use gateway_ebpf::DropReason::{OverCap, SmtpBlocked, UnknownSource};

use crate::TENANTS;
use crate::bench::Expected::{Dropped, Passed, Refused};
use crate::bench::{Bench, config, up};

#[test]
#[ignore = "needs root: BPF programs"]
fn counters_stay_with_their_tenants() {
    let mut bench = Bench::new(TENANTS);
    let web = || syn("203.0.113.1", "192.0.2.80", 4_000, 80).frame();
    let mail = || syn("203.0.113.1", "192.0.2.80", 4_000, 25).frame();
    bench.check(&up("before", web(), Passed("acme")));
    bench.check(&up("before", mail(), Dropped("acme", SmtpBlocked)));
    let before = bench.engine().snapshot();

    // The same tenants in another order, one gone, one new before them all.
    let changed = config(&format!(
        "[[tenant]]\nid = \"aaa\"\nprefixes = [\"203.0.113.64/28\"]\ncontact = \"a@aaa.example\"\n{}",
        TENANTS.split("[[tenant]]\nid = \"nested\"").next().unwrap(),
    ));
    bench.engine().apply(&in_force(&changed)).unwrap();
    let after = bench.engine().snapshot();
    assert_eq!(after.tenants.iter().map(|tenant| tenant.id.as_str()).collect::<Vec<_>>(), ["aaa", "acme"]);
    assert_eq!(after.tenants[1], before.tenants[0]);
    assert_eq!(after.tenants[0].up.passed.packets, 0);
    bench.check(&up("a new tenant", syn("203.0.113.64", "192.0.2.80", 1, 80).frame(), Passed("aaa")));
    bench.check(&up("one that left", syn("198.18.0.1", "192.0.2.80", 1, 80).frame(), Refused(UnknownSource)));

    // A tenant that comes back starts at zero, whichever slot it gets.
    bench.engine().apply(&in_force(&config(TENANTS))).unwrap();
    let back = bench.engine().snapshot();
    assert!(
        back.tenants.iter().filter(|tenant| tenant.id != "acme").all(|tenant| tenant.up.passed.packets == 0)
    );
    assert_eq!(back.tenants[0], before.tenants[0]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn an_exhausted_bucket_stays_exhausted() {
    let bucket = format!("[cap]\nalgorithm = \"bucket\"\n{TENANTS}");
    let mut bench = Bench::new(&bucket);
    let frame = datagram("203.0.113.1", "192.0.2.1", (1, 2), 1_400).frame();
    let mut offered = 0;
    while bench.engine().run(Side::Tenant, &frame).unwrap() == Verdict::Pass {
        offered += 1;
        assert!(offered < 1_000, "the cap never bites");
    }
    bench.engine().apply(&in_force(&config(&bucket))).unwrap();
    bench.check(&up("after a reload", frame, Dropped("acme", OverCap)));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_policy_that_does_not_fit_changes_nothing() {
    let mut bench = Bench::new(TENANTS);
    let many: String = (0..1_100)
        .map(|i| {
            let (high, low) = (i / 16, i % 16 * 16);
            format!("[[tenant]]\nid = \"t{i}\"\nprefixes = [\"10.{high}.0.{low}/28\"]\ncontact = \"a@t.example\"\n")
        })
        .collect();
    let error = bench.engine().apply(&in_force(&config(&many))).unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error}");
    bench.check(&up("the old policy", syn("203.0.113.1", "192.0.2.80", 1, 80).frame(), Passed("acme")));
    bench.check(&up("none of the new", syn("10.0.0.1", "192.0.2.80", 1, 80).frame(), Refused(UnknownSource)));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_hundred_reloads_leak_nothing() {
    let mut bench = Bench::new(TENANTS);
    let exempt = TENANTS.replacen(
        "contact = \"admin@acme.example\"",
        "contact = \"admin@acme.example\"\n[[tenant.smtp_exemption]]\ndirection = \"out\"\nticket = \"T\"\napproved_by = \"x\"\nexpires = 2099-01-01\n",
        1,
    );
    let mail = || syn("203.0.113.1", "192.0.2.80", 4_000, 25).frame();
    for _ in 0..100 {
        bench.engine().apply(&in_force(&config(&exempt))).unwrap();
        bench.check(&up("opened", mail(), Passed("acme")));
        bench.engine().apply(&in_force(&config(TENANTS))).unwrap();
        bench.check(&up("closed again", mail(), Dropped("acme", SmtpBlocked)));
    }
}
