//! What would have followed from the offences of a capture, and what another ladder would have made of them.

use fairway_tests::frames::syn;
use serde_json::{Value, json};

use crate::command::{Files, TENANTS};
use crate::writer::{ETHERNET, SECOND_NS, START_NS, Written, at, pcap};

/// A scan of telnet, two hours after it the same again, and some packet two days later.
fn two_scans() -> Vec<u8> {
    const HOUR_NS: u64 = 3_600 * SECOND_NS;
    let scan = |start_ns: u64| {
        (1..=60_u64).map(move |host| {
            let probe = syn("203.0.113.1", &format!("198.51.100.{host}"), 4_000, 23);
            at(start_ns + host * SECOND_NS / 2, probe.frame())
        })
    };
    let later = at(START_NS + 50 * HOUR_NS, syn("203.0.113.1", "192.0.2.1", 4_000, 80).frame());
    let packets: Vec<Written> = scan(START_NS).chain(scan(START_NS + 2 * HOUR_NS)).chain([later]).collect();
    pcap(ETHERNET, &packets)
}

/// The steps and ends of a report, without their times.
fn decided(report: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |it: &Value| {
        let fields = ["case", "class", "decided", "standing", "step", "resolution", "notice"];
        fields.map(|field| text(&it[field])).join(" ")
    };
    report["enforcement"]["decisions"].as_array().unwrap().iter().map(line).collect()
}

#[test]
#[ignore = "needs root: BPF programs"]
fn ladders_are_climbed_by_the_time_of_the_capture() {
    let files = Files::new(TENANTS);
    let report = files.json(&two_scans(), &[]);
    let expected = [
        "C-2026-00001 scan step noticed notice for 1d - misuse",
        "C-2026-00001 scan step quarantined outbound for 1d - restricted",
        "C-2026-00001 scan closed - - served restored",
    ];
    assert_eq!(decided(&report), expected, "{report:#}");
    assert_eq!(report["enforcement"]["mode"], "watch");
    assert_eq!(report["enforcement"]["standings"]["acme"]["standing"], "quarantined");

    let text = files.replay(&two_scans(), &[]);
    assert_eq!(text.code, Some(0));
    assert!(text.stdout.contains("quarantined: outbound for 1d"), "{}", text.stdout);
    assert!(text.stdout.ends_with("this is what enforce would have done\n"), "{}", text.stdout);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn two_ladders_are_compared() {
    let files = Files::new(TENANTS);
    let strict =
        "[enforcement.ladder.scan]\nsteps = [{ restrict = \"everything\", release = \"approval\" }]\n";
    let other = files.other_policy(&format!("{strict}{TENANTS}"));
    let comparison = files.json(&two_scans(), &["--what-if", other.to_str().unwrap()]);
    let differences = comparison["standing_differences"].as_array().unwrap();
    let standings: Vec<_> = differences
        .iter()
        .map(|it| json!([it["tenant"], it["before"]["standing"], it["after"]["standing"]]))
        .collect();
    assert_eq!(standings, [json!(["acme", "quarantined", "suspended"])], "{comparison:#}");
    assert_eq!(comparison["differences"], json!([]));

    let text = files.replay(&two_scans(), &["--what-if", other.to_str().unwrap()]);
    let row =
        text.stdout.lines().find(|line| line.contains("quarantined at") && line.contains("suspended at"));
    assert!(row.is_some_and(|row| row.trim_start().starts_with("acme")), "{}", text.stdout);
}
