//! Files that cannot be read to their end, or at all: what was read is reported, and where it broke.

use fairway_tests::frames::syn;
use serde_json::{Value, json};

use crate::command::{Files, TENANTS};
use crate::writer;

fn packets() -> Vec<u8> {
    writer::ethernet(&[
        syn("203.0.113.1", "192.0.2.1", 4_000, 80),
        syn("203.0.113.1", "192.0.2.1", 4_000, 25),
        syn("203.0.113.1", "192.0.2.1", 4_000, 80),
    ])
}

#[test]
#[ignore = "needs root: BPF programs"]
fn what_was_read_is_reported() {
    let files = Files::new(TENANTS);
    let whole = packets();
    let cut = &whole[..whole.len() - 1];
    let problem =
        "the capture cannot be read beyond byte 176, after 2 packets: the file ends within a packet";
    let outcome = files.replay(cut, &["--json"]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.starts_with("error: replaying ") && outcome.stderr.contains(problem),
        "{outcome:?}"
    );
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&report["packets"], &report["passed"], &report["dropped"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(report["error"], problem);

    let outcome = files.replay(cut, &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stdout.contains("smtp_blocked 1") && outcome.stderr.contains(problem), "{outcome:?}");
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_capture_without_packets_is_whole() {
    let report = Files::new(TENANTS).json(&packets()[..24], &["--per-packet"]);
    assert_eq!(
        (&report["packets"], &report["first"], &report["verdicts"]),
        (&json!(0), &Value::Null, &json!([]))
    );
}

#[test]
fn what_is_no_capture_is_refused() {
    let files = Files::new(TENANTS);
    let outcome = files.replay(b"not a capture", &["--json"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert!(outcome.stderr.contains("it is neither pcap nor pcapng"), "{outcome:?}");
    let missing = crate::command::replay("/gateway.toml".as_ref(), "/no/such.pcap".as_ref(), &[]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("replaying /no/such.pcap") && missing.stderr.contains("No such file"));
    assert_eq!(files.replay(&packets(), &["--side", "left"]).code, Some(2));
}
