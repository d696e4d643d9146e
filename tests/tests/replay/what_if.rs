//! Two policies, one capture.

use fairway_tests::frames::syn;
use serde_json::json;

use crate::command::{Files, TENANTS};
use crate::writer;

#[test]
#[ignore = "needs root: BPF programs"]
fn what_differs_is_told_per_tenant_and_reason() {
    let files = Files::new(TENANTS);
    // Mail is open, and the second tenant is not known.
    let acme = TENANTS.split("[[tenant]]\nid = \"tagged\"").next().unwrap();
    let other = files.other_policy(&format!("[smtp]\ndefault = \"allow\"\n{acme}"));
    let capture = writer::ethernet(&[
        syn("203.0.113.1", "192.0.2.1", 4_000, 25),
        syn("203.0.113.1", "192.0.2.1", 4_000, 80),
        syn("192.0.2.1", "203.0.113.16", 4_000, 80).tag(0x8100, 110),
    ]);
    let options = ["--what-if", other.to_str().unwrap()];
    let comparison = files.json(&capture, &options);
    let difference = |tenant, direction, reason, before, after| json!({ "tenant": tenant, "direction": direction, "reason": reason, "before": before, "after": after });
    assert_eq!(
        comparison["differences"],
        json!([
            difference(Some("acme"), Some("up"), None, 1, 2),
            difference(Some("acme"), Some("up"), Some("smtp_blocked"), 1, 0),
            difference(Some("tagged"), Some("down"), None, 1, 0),
            difference(None, None, None, 0, 1),
        ])
    );
    assert_eq!((&comparison["before"]["passed"], &comparison["after"]["passed"]), (&json!(2), &json!(2)));
    assert_ne!(comparison["before"]["config_digest"], comparison["after"]["config_digest"]);

    let text = files.replay(&capture, &options);
    assert_eq!(text.code, Some(0));
    let lines: Vec<_> = text.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert!(lines.contains(&vec!["acme", "up", "smtp_blocked", "1", "0"]), "{}", text.stdout);

    let same = files.replay(&capture, &["--what-if", files.other_policy(TENANTS).to_str().unwrap()]);
    assert!(same.stdout.ends_with("no count of packets differs\n"), "{same:?}");
}
