//! Which side a packet is judged on, and how often it counts.

use fairway_tests::frames::{ethernet, number, syn};
use serde_json::{Value, json};

use crate::command::{Files, TENANTS, verdicts};
use crate::writer::{self, START_NS, at, pcap};

/// `passed`, `dropped`, `unmatched`; all of `packets`.
fn totals(report: &Value) -> [u64; 3] {
    let totals = ["passed", "dropped", "unmatched"].map(|key| report[key].as_u64().unwrap());
    assert_eq!(totals.iter().sum::<u64>(), report["packets"].as_u64().unwrap(), "{report:#}");
    totals
}

#[test]
#[ignore = "needs root: BPF programs"]
fn prefixes_tell_the_side() {
    let files = Files::new(TENANTS);
    let capture = writer::ethernet(&[
        syn("203.0.113.1", "192.0.2.1", 4_000, 80),
        syn("192.0.2.1", "203.0.113.1", 4_000, 25),
        syn("2001:db8:10::1", "2001:db8:ffff::1", 4_000, 80),
        syn("2001:db8:ffff::1", "2001:db8:10::1", 4_000, 80),
        syn("192.0.2.1", "192.0.2.2", 4_000, 25),
        // A header that lies has addresses all the same, and the program has its own view of it.
        syn("203.0.113.1", "192.0.2.1", 4_000, 80).lie_about_length(100),
    ]);
    let report = files.json(&capture, &["--per-packet"]);
    assert_eq!(
        verdicts(&report),
        [
            "1 acme up pass -",
            "2 acme down drop smtp_blocked",
            "3 acme up pass -",
            "4 acme down pass -",
            "5 - - unmatched -",
            "6 - up drop malformed",
        ]
    );
    assert_eq!(totals(&report), [3, 2, 1]);
    assert_eq!(report["by_reason"], json!({ "malformed": 1, "smtp_blocked": 1 }));
    assert_eq!(report["first"], "2026-11-01T00:00:00Z");
    assert_eq!(report["last"], "2026-11-01T00:00:00.005Z");
    assert_eq!(report["verdicts"][1]["at"], "2026-11-01T00:00:00.001Z");
    let empty =
        json!({ "packets": 0, "bytes": 0, "dropped_packets": 0, "dropped_bytes": 0, "by_reason": {} });
    assert_eq!(report["tenants"]["tagged"], json!({ "up": empty, "down": empty }));
    let down = json!({ "packets": 2, "bytes": 60 + 74, "dropped_packets": 1, "dropped_bytes": 60, "by_reason": { "smtp_blocked": 1 } });
    assert_eq!(report["tenants"]["acme"]["down"], down);
    assert_eq!(
        (&report["version"], &report["offences"], &report["error"]),
        (&json!(1), &json!([]), &Value::Null)
    );
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_side_that_is_given_is_every_packets() {
    let files = Files::new(TENANTS);
    let arp = ethernet(&[], number::ARP, &[0; 46]);
    let strangers = syn("192.0.2.1", "192.0.2.2", 4_000, 25).frame();
    let outbound = syn("203.0.113.1", "192.0.2.1", 4_000, 80).frame();
    let capture = pcap(1, &[arp, strangers, outbound].map(|frame| at(START_NS, frame)));
    let up = files.json(&capture, &["--per-packet", "--side", "tenant"]);
    assert_eq!(verdicts(&up), ["1 - up unmatched -", "2 - up drop unknown_source", "3 acme up pass -"]);
    assert_eq!(totals(&up), [1, 1, 1]);
    let down = files.json(&capture, &["--per-packet", "--side", "uplink"]);
    assert_eq!(verdicts(&down), ["1 - down unmatched -", "2 - down unmatched -", "3 - down unmatched -"]);
    assert_eq!(totals(&down), [0, 0, 3]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn between_two_tenants_both_sides_judge() {
    let policy = "[[closed_port]]\nname = \"smb\"\nprotocol = \"tcp\"\nports = [445]\ndirection = \"in\"\n";
    let files = Files::new(&format!("{policy}{TENANTS}").replace("vlan = 110", ""));
    let capture = writer::ethernet(&[
        syn("203.0.113.1", "203.0.113.16", 4_000, 80),
        // Refused where it leaves: it never arrives.
        syn("203.0.113.1", "203.0.113.16", 4_000, 25),
        // Refused where it arrives.
        syn("203.0.113.1", "203.0.113.16", 4_000, 445),
        // Between two addresses of one tenant.
        syn("203.0.113.1", "203.0.113.2", 4_000, 80),
    ]);
    let report = files.json(&capture, &["--per-packet"]);
    assert_eq!(
        verdicts(&report),
        [
            "1 acme up pass -",
            "1 tagged down pass -",
            "2 acme up drop smtp_blocked",
            "3 acme up pass -",
            "3 tagged down drop port_blocked",
            "4 acme up pass -",
            "4 acme down pass -",
        ]
    );
    // Each packet counts once in the totals, and for each tenant that it reached.
    assert_eq!(totals(&report), [2, 2, 0]);
    let counted = |tenant: &str, way: &str| report["tenants"][tenant][way]["packets"].as_u64().unwrap();
    assert_eq!([counted("acme", "up"), counted("acme", "down"), counted("tagged", "down")], [4, 1, 2]);
}
