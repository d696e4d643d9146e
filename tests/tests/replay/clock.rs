//! The capture's clock is the programs' clock.

use fairway_tests::frames::{datagram, syn};

use crate::command::{Files, TENANTS, verdicts};
use crate::writer::{SECOND_NS, START_NS, at, pcap};

#[test]
#[ignore = "needs root: BPF programs"]
fn caps_hold_on_the_captures_clock() {
    let own = "id = \"acme\"\ncap = { up = \"10 Mbit/s\", algorithm = \"bucket\" }";
    let files = Files::new(&TENANTS.replacen("id = \"acme\"", own, 1));
    // 20 Mbit/s for ten seconds: 1,250 bytes every half millisecond.
    let frame = datagram("203.0.113.1", "192.0.2.1", (4_000, 53), 1_208).frame();
    let times = (START_NS..START_NS + 10 * SECOND_NS).step_by(500_000);
    let packets: Vec<_> = times.map(|at_ns| at(at_ns, frame.clone())).collect();
    let report = files.json(&pcap(1, &packets), &[]);
    let up = &report["tenants"]["acme"]["up"];
    let passed = up["bytes"].as_u64().unwrap() - up["dropped_bytes"].as_u64().unwrap();
    // The rate for ten seconds and the burst of 350 ms, to the packet.
    let allowed = 10_000_000 / 8 * 10 + 10_000_000 / 8 * 35 / 100;
    assert!(passed.abs_diff(allowed) <= 2 * frame.len() as u64, "{passed} of {allowed}");
    assert_eq!(report["by_reason"]["over_cap"], report["dropped"]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn time_never_goes_back() {
    let files =
        Files::new(&TENANTS.replacen("id = \"acme\"", "id = \"acme\"\ncap = { up = \"8 kbit/s\" }", 1));
    let frame = || datagram("203.0.113.1", "192.0.2.1", (4_000, 53), 1_208).frame();
    let at_second = |second: u64| at(START_NS + second * SECOND_NS, frame());
    // A frame takes 1.25 s. The third has an earlier time than the second, and is judged at the second's.
    let capture = pcap(1, &[at_second(0), at_second(10), at_second(5), at_second(12)]);
    let report = files.json(&capture, &["--per-packet"]);
    assert_eq!(
        verdicts(&report),
        ["1 acme up pass -", "2 acme up pass -", "3 acme up drop over_cap", "4 acme up pass -"]
    );
    assert_eq!(report["verdicts"][2]["at"], "2026-11-01T00:00:05Z");
    assert_eq!(report["last"], "2026-11-01T00:00:12Z");
}

#[test]
#[ignore = "needs root: BPF programs"]
fn exemptions_hold_and_lapse_when_the_capture_was_made() {
    let exemption = "[[tenant.smtp_exemption]]\ndirection = \"out\"\nticket = \"T\"\napproved_by = \"x\"\nexpires = 2026-11-01T00:00:10Z\n\n[[tenant]]\nid = \"tagged\"";
    let files = Files::new(&TENANTS.replacen("[[tenant]]\nid = \"tagged\"", exemption, 1));
    let mail = || syn("203.0.113.1", "192.0.2.1", 4_000, 25).frame();
    let end_ns = START_NS + 10 * SECOND_NS;
    let capture = pcap(1, &[at(START_NS, mail()), at(end_ns - 1, mail()), at(end_ns, mail())]);
    assert_eq!(
        verdicts(&files.json(&capture, &["--per-packet"])),
        ["1 acme up pass -", "2 acme up pass -", "3 acme up drop smtp_blocked"]
    );
    let later = pcap(1, &[at(end_ns + SECOND_NS, mail())]);
    assert_eq!(verdicts(&files.json(&later, &["--per-packet"])), ["1 acme up drop smtp_blocked"]);
}
