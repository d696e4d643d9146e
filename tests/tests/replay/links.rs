//! Every link type gives the same packets, and so the same verdicts and counts.

use fairway_tests::frames::{datagram, number, packet, syn};
use serde_json::json;

use crate::command::{Files, TENANTS, verdicts};
use crate::writer::{START_NS, at, pcap};

const FRAME_HEADER: usize = 14;

/// Headers of other links than Ethernet, for an EtherType.
fn header(link_type: u32, ether_type: u16) -> Vec<u8> {
    let [high, low] = ether_type.to_be_bytes();
    let family = if ether_type == number::IPV4 { 2 } else { 30 };
    match link_type {
        0 => vec![family, 0, 0, 0],
        108 => vec![0, 0, 0, family],
        113 => [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &[high, low]].concat(),
        276 => [&[high, low][..], &[0; 18]].concat(),
        _ => vec![],
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn every_link_type_gives_the_same_verdicts() {
    let files = Files::new(TENANTS);
    // Long enough for Ethernet to need no padding, which the other links do not have.
    let v4 = [
        datagram("203.0.113.1", "192.0.2.1", (4_000, 53), 40),
        packet("203.0.113.1", "192.0.2.1", number::TCP, fairway_tests::frames::tcp(4_000, 25, &[0; 40])),
        packet("192.0.2.1", "203.0.113.1", number::TCP, fairway_tests::frames::tcp(80, 4_000, &[0; 400])),
    ];
    let v6 = [
        syn("2001:db8:10::1", "2001:db8:ffff::1", 4_000, 80),
        syn("2001:db8:10::1", "2001:db8:ffff::1", 4_000, 25),
        syn("2001:db8:ffff::1", "2001:db8:10::1", 80, 4_000),
    ];
    for (packets, ether_type, other_links) in [
        (v4, number::IPV4, &[101, 12, 14, 228, 0, 108, 113, 276][..]),
        (v6, number::IPV6, &[101, 12, 14, 229, 0, 108, 113, 276]),
    ] {
        let frames = packets.map(|packet| packet.frame());
        let replay = |link_type: u32| {
            let written = frames.iter().map(|frame| {
                let bytes = match link_type {
                    1 => frame.clone(),
                    _ => [&header(link_type, ether_type), &frame[FRAME_HEADER..]].concat(),
                };
                at(START_NS, bytes)
            });
            files.json(&pcap(link_type, &written.collect::<Vec<_>>()), &["--per-packet"])
        };
        let ethernet = replay(1);
        assert_eq!(
            verdicts(&ethernet),
            ["1 acme up pass -", "2 acme up drop smtp_blocked", "3 acme down pass -"]
        );
        for link_type in other_links {
            assert_eq!(replay(*link_type), ethernet, "link type {link_type}");
        }
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn tags_count_where_the_capture_shows_them() {
    let files = Files::new(TENANTS);
    let tagged = |vid| datagram("203.0.113.16", "192.0.2.1", (4_000, 53), 40).tag(number::VLAN, vid).frame();
    let untagged = datagram("203.0.113.16", "192.0.2.1", (4_000, 53), 40).frame();
    let inbound = datagram("192.0.2.1", "203.0.113.16", (53, 4_000), 40).tag(number::VLAN, 111).frame();
    let ethernet = [tagged(110), tagged(111), untagged.clone(), inbound].map(|frame| at(START_NS, frame));
    assert_eq!(
        verdicts(&files.json(&pcap(1, &ethernet), &["--per-packet"])),
        [
            "1 tagged up pass -",
            "2 - up drop wrong_vlan",
            "3 - up drop wrong_vlan",
            "4 - down drop wrong_vlan",
        ]
    );
    // Raw IP shows no tags, so none can be wrong.
    let raw = [at(START_NS, untagged[FRAME_HEADER..].to_vec())];
    assert_eq!(verdicts(&files.json(&pcap(101, &raw), &["--per-packet"])), ["1 tagged up pass -"]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn packets_cut_short_are_counted_in_full() {
    let files = Files::new(TENANTS);
    let long = || datagram("203.0.113.1", "192.0.2.1", (4_000, 53), 1_400).frame();
    let mail = || syn("203.0.113.1", "192.0.2.1", 4_000, 25).frame();
    let capture = [
        at(START_NS, long()).cut(42),
        at(START_NS, mail()).cut(54),
        // The ports were not captured: zeros stand in for them.
        at(START_NS, mail()).cut(34),
        // Not even the addresses.
        at(START_NS, mail()).cut(20),
    ];
    let report = files.json(&pcap(1, &capture), &["--per-packet"]);
    assert_eq!(
        verdicts(&report),
        ["1 acme up pass -", "2 acme up drop smtp_blocked", "3 acme up drop malformed", "4 - - unmatched -",]
    );
    assert_eq!(report["truncated"], 4);
    assert_eq!(report["tenants"]["acme"]["up"]["bytes"], long().len() + 2 * mail().len());
}

#[test]
#[ignore = "needs root: BPF programs"]
fn the_longest_packet_is_judged() {
    let files = Files::new(TENANTS);
    let longest = datagram("203.0.113.1", "192.0.2.1", (4_000, 53), 65_535 - 28).frame();
    let bytes = longest.len();
    let report = files.json(&pcap(1, &[at(START_NS, longest)]), &[]);
    let up = &report["tenants"]["acme"]["up"];
    assert_eq!((&up["packets"], &up["bytes"]), (&json!(1), &json!(bytes)));
    assert_eq!(report["passed"], 1);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn other_links_are_refused_by_name() {
    let files = Files::new(TENANTS);
    let outcome = files.replay(&pcap(105, &[at(START_NS, vec![0; 60])]), &["--json"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("no packet could be judged: link type 105."), "{}", outcome.stderr);
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&report["packets"], &report["unsupported"]), (&json!(1), &json!(1)));
}
