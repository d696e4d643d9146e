//! `fairway explain`, from the rules in the files and the programs' events to what is told.

use gateway::dataplane::{Event, EventKind, PacketSample};
use gateway_ebpf::{Direction, DropReason};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fake::{Files, Gateway, exemption, stderr, stdout};

/// An IPv4 TCP SYN in an Ethernet frame, from 198.51.100.1:4000 to 192.0.2.25:25.
const SYN: [u8; 54] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 51, 100, 1,
    192, 0, 2, 25, 0x0f, 0xa0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
];

/// A tenant that makes use of everything, in twelve lines before its exemption.
const ACME: &str = r#"[[tenant]]
id = "acme"
name = "acme Ltd"
prefixes = ["198.51.100.0/31", "198.51.100.1"]
vlan = 110
contact = "admin@acme.example"
cap = { up = "2 Mbit/s" }
relay = true
open = ["smb"]
submission = "block"
fragments = "drop"

"#;

const SECTIONS: &str = r#"
[smtp]
refuse = "reset"
relays = ["192.0.2.53"]
[walled_garden]
hosts = ["192.0.2.80"]
[[closed_port]]
name = "smb"
protocol = "tcp"
ports = [445, "137-139"]
[[closed_port]]
name = "memcached"
protocol = "udp"
ports = [11211]
direction = "in"
"#;

fn files() -> Files {
    let files = Files::new();
    files.write("gateway.toml", &(files.gateway_toml("") + SECTIONS));
    files.write("tenants.d/acme.toml", &(ACME.to_owned() + &exemption("2999-12-31T00:00:00Z")));
    files
}

fn report(gateway: &Gateway, tenant: Option<&str>, reason: DropReason, second: i64) {
    let packet = PacketSample { ifindex: 1, frame_bytes: 60, head: SYN.to_vec() };
    gateway.record.lock().unwrap().events.push(Event {
        at: Timestamp::from_second(second).unwrap(),
        tenant: tenant.map(Into::into),
        direction: Direction::Up,
        kind: EventKind::Drop(reason, packet),
    });
}

fn explain(gateway: &Gateway, address: &str) -> Value {
    let output = gateway.fairway(&["explain", address, "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn every_rule_is_told_with_its_place() {
    let gateway = Gateway::start(files());
    let explanation = explain(&gateway, "198.51.100.1");
    let main = gateway.files.config();
    let line = |text: &str| {
        let written = std::fs::read_to_string(&main).unwrap();
        let index = written.lines().position(|line| line.starts_with(text)).unwrap();
        format!("{}:{}:1", main.display(), index + 1)
    };
    let acme = gateway.files.path("tenants.d/acme.toml");
    let own = |place: &str| format!("{}:{place}", acme.display());
    // The header of a list's entry is its place.
    let closed = |name: &str| {
        let written = std::fs::read_to_string(&main).unwrap();
        let index = written.lines().position(|line| line == format!("name = \"{name}\"")).unwrap();
        format!("{}:{index}:1", main.display())
    };
    let told: Vec<_> = explanation["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            let text = |key: &str| rule[key].as_str().unwrap_or("default").to_owned();
            (text("about"), text("says"), text("key"), text("configured_at"))
        })
        .collect();
    let rule = |about: &str, says: &str, key: &str, place: String| {
        (about.to_owned(), says.to_owned(), key.to_owned(), place)
    };
    let answered = "closed, and the tenant is told so";
    let default = || "default".to_owned();
    let expected = [
        rule("networks", "198.51.100.0/31, 198.51.100.1/32", "tenant.prefixes", own("4:1")),
        rule("VLAN", "110, checked on eth1", "tenant.vlan", own("5:1")),
        rule("fragments", "dropped", "tenant.fragments", own("11:1")),
        rule("walled garden", "192.0.2.80/32 in a suspension", "walled_garden.hosts", line("hosts")),
        rule("TCP 25 out", &format!("{answered}, but for exemptions"), "smtp.default", default()),
        rule("TCP 25 in", "closed", "smtp.default", default()),
        rule("TCP 25 to relays", "open (192.0.2.53/32)", "tenant.relay", own("8:1")),
        rule("TCP 465, 587, 2525", answered, "tenant.submission", own("10:1")),
        rule("TCP 445, 137-139", "open (smb)", "tenant.open", own("9:1")),
        rule("UDP 11211 in", "closed (memcached)", "closed_port", closed("memcached")),
        rule("cap up", "2 Mbit/s", "tenant.cap.up", own("7:9")),
        rule("cap down", "10 Mbit/s", "fair_use.ceiling", default()),
        rule("cap algorithm", "fair", "cap.algorithm", default()),
    ];
    assert_eq!(told, expected);

    let tenant = &explanation["tenant"];
    assert_eq!((&tenant["id"], &tenant["prefix"]), (&json!("acme"), &json!("198.51.100.1/32")));
    assert_eq!(tenant["configured_at"], own("1:1"));
    assert_eq!(
        tenant["exemptions"],
        json!([{
            "ticket": "SMTP-1",
            "direction": "out",
            "peers": [],
            "approved_by": "j.doe",
            "expires": "2999-12-31T00:00:00Z",
            "configured_at": own("13:1"),
        }])
    );
    // 100 ms of 2 Mbit/s, and 526 ms of 10 Mbit/s, which is one more than 1.5 bursts.
    let bucket = |ms, bytes, over, queues: Value| {
        json!({
            "algorithm": "fair",
            "backlog_ms": ms,
            "backlog_bytes": bytes,
            "burst_ms": 350,
            "over_cap": over,
            "queues_ms": queues,
        })
    };
    assert_eq!(tenant["up"]["bucket"], bucket(100, 25_000, false, json!([])));
    assert_eq!(tenant["down"]["bucket"], bucket(526, 657_500, true, json!([516, 10])));
    assert_eq!(tenant["up"]["over_cap"], json!({ "signal": 3, "queue_full": 30, "credit_used": 7 }));
    assert_eq!(tenant["up"]["by_reason"]["smtp_blocked"], json!({ "packets": 3, "bytes": 180 }));
}

#[test]
fn dropped_packets_are_told_to_whom_they_concern() {
    let gateway = Gateway::start(files());
    report(&gateway, Some("acme"), DropReason::SmtpBlocked, 1_000);
    report(&gateway, Some("beta"), DropReason::PortBlocked, 1_001);
    report(&gateway, None, DropReason::UnknownSource, 1_002);
    let samples = explain(&gateway, "198.51.100.1")["samples"].take();
    assert_eq!(
        samples,
        json!([{
            "tenant": "acme",
            "at": "1970-01-01T00:16:40Z",
            "direction": "up",
            "reason": "smtp_blocked",
            "interface": "lo",
            "frame_bytes": 60,
            "protocol": "tcp",
            "source": "198.51.100.1",
            "source_port": 4_000,
            "destination": "192.0.2.25",
            "destination_port": 25,
            "opens_connection": true,
            "fragment": false,
            "of_address": true,
        }])
    );
    // Another server of the same tenant.
    assert_eq!(explain(&gateway, "198.51.100.0")["samples"][0]["of_address"], false);
    // Their peer, whom nobody here owns.
    let strangers = explain(&gateway, "192.0.2.25");
    assert_eq!(strangers["tenant"], Value::Null);
    let whose: Vec<_> =
        strangers["samples"].as_array().unwrap().iter().map(|sample| &sample["tenant"]).collect();
    assert_eq!(whose, [&Value::Null, &json!("beta"), &json!("acme")]);
    assert_eq!(explain(&gateway, "192.0.2.26")["samples"], json!([]));

    let text = stdout(&gateway.fairway(&["explain", "198.51.100.1"]));
    for part in [
        "198.51.100.1 is a server of acme (acme Ltd).\n\n restriction none\n network     198.51.100.1/32\n",
        "\nTraffic of acme\n",
        " down  10 Mbit/s  OVER IT, 526 of 350 ms ahead in 2 queues ",
        "\nover_cap up: 7 because the credit was used up, 30 because their flow's queue was full, 3 as early signals\n",
        "over_cap 40, smtp_blocked 3\n",
        "\nLast dropped packets of 198.51.100.1\n",
        " 1970-01-01T00:16:40.000Z  acme  up  smtp_blocked  tcp 198.51.100.1:4000 > 192.0.2.25:25 opening     60  lo\n",
        "\nRules, in the order in which they are applied\n",
        "\nExemptions from the closed port 25\n",
        " SMTP-1  out  anybody  j.doe        2999-12-31T00:00:00Z, in ",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
}

#[test]
fn an_address_of_nobody_is_told_apart_by_side() {
    let gateway = Gateway::start(files());
    // An IPv4 address is one in whatever form.
    for address in ["192.0.2.25", "::ffff:192.0.2.25"] {
        let text = stdout(&gateway.fairway(&["explain", address]));
        for part in [
            "192.0.2.25 is no tenant's.\n\nLast dropped packets of 192.0.2.25: none was sampled.\n",
            " sent to eth1      dropped as unknown_source, but for control traffic of the link (ARP, DHCP...)  \
             gateway.unknown_sources  default\n",
            " received on eth0  let through unpoliced, counted as unmatched ",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }
    let output = gateway.fairway(&["explain", "acme"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("invalid IP address"), "{output:?}");
}
