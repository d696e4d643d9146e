//! Each detector fires at its threshold, and not below.

use gateway::config::DetectMode;
use gateway::config::OffenceKind::{
    BulkMail, ListedContact, ScanBlock, ScanHorizontal, ScanPing, ScanSensitive, ScanStealth, ScanUdp,
    ScanVertical, SmtpRate, SynFlood,
};
use gateway_ebpf::DropReason::{Flood, MailClosed, Quarantined};

use super::*;

/// A detector, and packets that meet its condition.
struct Case {
    kind: OffenceKind,
    settings: &'static str,
    /// The packet that completes the condition.
    limit: u32,
    /// What it, or the first after it, is dropped for.
    reason: DropReason,
    packet: fn(u32) -> Packet,
}

impl Case {
    fn scene(&self) -> Scene {
        let Self { kind, settings, .. } = self;
        Scene::new(&format!("[detect.{}]\nmode = \"enforce\"\nfor = \"10m\"\n{settings}", kind.label()))
    }

    fn packets(&self, numbers: std::ops::Range<u32>) -> impl Iterator<Item = Packet> {
        numbers.map(self.packet)
    }
}

/// Conditions that no answer can undo.
const AT_ONCE: [Case; 8] = [
    Case {
        kind: ScanVertical,
        settings: "low_ports_per_5_minutes = 20\nports_per_5_minutes = 32\nports_per_hour = 96",
        limit: 32,
        reason: Quarantined,
        packet: |n| connect(1, 2_000 + n as u16),
    },
    Case {
        kind: ScanVertical,
        settings: "low_ports_per_5_minutes = 20\nports_per_5_minutes = 32\nports_per_hour = 96",
        limit: 20,
        reason: Quarantined,
        packet: |n| connect(1, 1 + n as u16),
    },
    Case {
        kind: ScanVertical,
        settings: "low_ports_per_5_minutes = 20\nports_per_5_minutes = 32\nports_per_hour = 96",
        limit: 32,
        reason: Quarantined,
        packet: |n| send(1, 2_000 + n as u16),
    },
    Case {
        kind: ScanStealth,
        settings: "ports_per_5_minutes = 20",
        limit: 20,
        reason: Quarantined,
        packet: |n| probe(ACME, n),
    },
    Case {
        kind: ScanStealth,
        settings: "ports_per_5_minutes = 20",
        limit: 20,
        reason: Quarantined,
        packet: |n| segment(ACME, &host(1), (40_000, 1 + n as u16), 0x29),
    },
    Case {
        kind: SynFlood,
        settings: "syns_per_second = 50\nexcess = 500",
        limit: 500,
        reason: Flood,
        packet: |n| syn(ACME, &host(1), 1_024 + n as u16, 443),
    },
    Case {
        kind: BulkMail,
        settings: "hosts_per_hour = 50",
        limit: 50,
        reason: MailClosed,
        packet: |n| connect(n, 587),
    },
    Case {
        kind: BulkMail,
        settings: "hosts_per_hour = 30",
        limit: 30,
        reason: MailClosed,
        packet: |n| connect(n, [465, 587, 2_525][n as usize % 3]),
    },
];

/// Conditions that hosts may still undo, and that have to hold for three seconds.
const CONFIRMED: [Case; 5] = [
    Case {
        kind: ScanSensitive,
        settings: "hosts_per_5_minutes = 24\nfailed_percent = 25",
        limit: 24,
        reason: Quarantined,
        packet: |n| connect(n, [22, 23, 3_389][n as usize % 3]),
    },
    Case {
        kind: ScanHorizontal,
        settings: "measure = \"quarantine\"\nhosts_per_5_minutes = 40",
        limit: 40,
        reason: Quarantined,
        packet: |n| connect(n, 443),
    },
    Case {
        kind: ScanBlock,
        settings: "measure = \"quarantine\"\nports_per_5_minutes = 40",
        limit: 40,
        reason: Quarantined,
        packet: |n| connect(n / 4, 8_000 + (n % 4) as u16),
    },
    Case {
        kind: ScanPing,
        settings: "hosts_per_5_minutes = 40",
        limit: 40,
        reason: Quarantined,
        packet: |n| icmp(ACME, &host(n), 8),
    },
    Case {
        kind: ScanUdp,
        settings: "measure = \"quarantine\"\nhosts_per_5_minutes = 40",
        limit: 40,
        reason: Quarantined,
        packet: |n| send(n, 1_900),
    },
];

#[test]
#[ignore = "needs root: BPF programs"]
fn the_packet_that_completes_the_condition_is_dropped() {
    for case in AT_ONCE {
        let mut scene = case.scene();
        scene.pass(case.packets(0..case.limit - 1));
        assert_eq!(scene.offences(), [], "{:?} below its threshold", case.kind);
        assert_eq!(scene.up(&(case.packet)(case.limit - 1)), Some(case.reason), "{:?}", case.kind);
        let offences = scene.offences();
        assert_eq!((offences.len(), offences[0].kind), (1, case.kind), "{offences:?}");
        let Offence { at, until, mode, source, tenant, targets, .. } = &offences[0];
        assert_eq!(at.as_nanosecond(), i128::from(scene.now_ns));
        assert_eq!(until.unwrap().duration_since(*at).as_secs(), 600);
        assert_eq!((*mode, tenant.as_str()), (DetectMode::Enforce, "acme"));
        assert_eq!(source.unwrap().to_string(), format!("{ACME}/32"));
        assert!(!targets.is_empty() && targets.len() <= 8, "{targets:?}");
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn what_answers_may_undo_has_to_hold_for_three_seconds() {
    for case in CONFIRMED {
        let mut scene = case.scene();
        scene.pass(case.packets(0..case.limit - 1));
        scene.wait(10 * SECOND_NS);
        assert_eq!(scene.offences(), [], "{:?} below its threshold", case.kind);
        scene.pass(case.packets(case.limit - 1..case.limit));
        assert_eq!(scene.offences(), []);
        scene.wait(3 * SECOND_NS - 1);
        assert_eq!(scene.offences(), [], "{:?} before its time", case.kind);
        scene.wait(1);
        // A source that goes quiet is found out by the controller...
        let offences = scene.offences();
        assert_eq!((offences.len(), offences[0].kind), (1, case.kind), "{offences:?}");
        assert_eq!(scene.up(&(case.packet)(0)), Some(case.reason), "{:?}", case.kind);
        // ...and only once.
        scene.wait(599 * SECOND_NS);
        assert_eq!(scene.offences(), []);

        // One that goes on, by its next packet, which is dropped.
        let mut scene = case.scene();
        scene.pass(case.packets(0..case.limit));
        scene.wait(3 * SECOND_NS);
        assert_eq!(scene.up(&(case.packet)(case.limit)), Some(case.reason), "{:?}", case.kind);
        assert_eq!(scene.offences().len(), 1);
    }
}

/// What was done once is answered for once: a source that was cleaned stays free.
#[test]
#[ignore = "needs root: BPF programs"]
fn an_offence_takes_as_much_misuse_each_time() {
    for case in AT_ONCE.iter().chain(&CONFIRMED) {
        let mut scene = case.scene();
        for round in 0..3 {
            let offset = round * 2_000;
            for n in offset..offset + case.limit - 3 {
                assert_eq!(scene.up(&(case.packet)(n)), None, "{:?}", case.kind);
            }
            // Business as usual, to which its other counts are judged.
            scene.pass([connect(9_000 + round, 8_443), send(9_000 + round, 5_353)]);
            scene.wait(4 * SECOND_NS);
            scene.pass([icmp(ACME, &host(9_000 + round), 8), connect(9_500 + round, 8_443)]);
            assert_eq!(scene.offences(), [], "{:?}, round {round}", case.kind);
            // Floods have drained meanwhile.
            for n in offset + case.limit - 3..offset + 2 * case.limit {
                scene.up(&(case.packet)(n));
            }
            scene.wait(3 * SECOND_NS);
            let kinds = scene.kinds();
            assert_eq!(kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [case.kind], "{round}");
            // The measure's time, and that of the contacts.
            scene.wait(2 * 3_600 * SECOND_NS);
        }
    }
}

/// As nmap scans several hosts at once.
#[test]
#[ignore = "needs root: BPF programs"]
fn two_hosts_in_turn_are_no_way_round() {
    let vertical = "[detect.scan_vertical]\nmode = \"enforce\"\nports_per_5_minutes = 30";
    let mut scene = Scene::new(vertical);
    let scan = (0..60).map(|n| connect(n % 2, 2_000 + (n / 2) as u16));
    let stopped = scan.enumerate().find(|(_, packet)| scene.up(packet) == Some(Quarantined));
    assert!(stopped.as_ref().is_some_and(|(n, _)| *n < 60), "{stopped:?}");
}

#[test]
#[ignore = "needs root: BPF programs"]
fn answers_undo_a_condition() {
    let mut scene = Scene::new("[detect.scan_horizontal]\nmode = \"enforce\"\nhosts_per_5_minutes = 40");
    scene.pass((0..40).map(|n| connect(n, 443)));
    scene.wait(2 * SECOND_NS);
    (0..20).for_each(|n| assert_eq!(scene.down(&accept(n, 443)), None));
    scene.wait(SECOND_NS);
    assert_eq!(scene.offences(), []);
    scene.pass([connect(40, 443)]);
    scene.wait(10 * SECOND_NS);
    assert_eq!(scene.offences(), []);
    assert_eq!(scene.contacts(), (41, 20));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn retransmissions_and_open_connections_do_not_count() {
    let mut scene = Scene::new("[detect.scan_horizontal]\nmode = \"enforce\"\nhosts_per_5_minutes = 40");
    for _ in 0..3 {
        scene.pass((0..39).map(|n| connect(n, 443)));
        scene.pass((39..200).map(|n| segment(ACME, &host(n), (40_000, 443), ACK)));
        // Answers of its own, as a server's, are no contacts either.
        scene.pass((39..200).map(|n| segment(ACME, &host(n), (443, 40_000), SYN_ACK)));
        scene.wait(4 * SECOND_NS);
    }
    assert_eq!(scene.offences(), []);
    assert_eq!(scene.contacts(), (39, 0));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn slow_scans_are_found_over_an_hour_and_a_day() {
    let vertical =
        "[detect.scan_vertical]\nmode = \"enforce\"\nports_per_5_minutes = 32\nports_per_hour = 96";
    let mut scene = Scene::new(vertical);
    for n in 0..95 {
        scene.pass([connect(1, 2_000 + n)]);
        scene.wait(20 * SECOND_NS);
    }
    assert_eq!(scene.up(&connect(1, 3_000)), Some(Quarantined));
    let counters = only(&scene.offences()).clone();
    assert_eq!(counters["ports_attempted"], 96, "{counters:?}");

    let sensitive = "[detect.scan_sensitive]\nmode = \"enforce\"\n\
        hosts_per_5_minutes = 24\nhosts_per_hour = 48\nhosts_per_day = 100";
    let mut scene = Scene::new(sensitive);
    for n in 0..100 {
        assert_eq!(scene.offences(), []);
        scene.pass([connect(n, 22)]);
        scene.wait(600 * SECOND_NS);
    }
    assert_eq!(scene.kinds(), [(ScanSensitive, Measure::Quarantine)]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn mail_connections_are_counted_as_they_are_set_up() {
    let mut scene = Scene::new("[detect.smtp_rate]\nmode = \"enforce\"\nconnections_per_minute = 60");
    // Connections to one host, of which those that are not set up do not count.
    for n in 0..59 {
        scene.pass([connect(1, 587), connect(1, 587)]);
        assert_eq!(scene.down(&accept(1, 587)), None, "{n}");
    }
    assert_eq!(scene.offences(), []);
    assert_eq!(scene.down(&accept(1, 587)), Some(MailClosed));
    assert_eq!(scene.kinds(), [(SmtpRate, Measure::CloseSmtp)]);
    assert_eq!(scene.up(&connect(2, 465)), Some(MailClosed));
    assert_eq!(scene.up(&connect(2, 443)), None);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn contact_with_a_listed_network() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("drop.txt");
    std::fs::write(&list, "; a list\n8.8.0.128/25 ; SBL1\n2001:db8:bad::/48\n").unwrap();
    let mut scene = Scene::new(&format!(
        "drop_lists = [\"{}\"]\n[detect.listed_contact]\nmode = \"enforce\"\nmeasure = \"quarantine\"\n",
        list.display()
    ));
    scene.pass((0..40).map(|n| connect(n, 443)));
    assert_eq!(scene.offences(), []);
    assert_eq!(scene.up(&connect(130, 443)), Some(Quarantined));
    assert_eq!(scene.kinds(), [(ListedContact, Measure::Quarantine)]);
    let v6 = |destination| syn("2001:db8:10::1", destination, 40_000, 443);
    assert_eq!(scene.up(&v6("2001:db8:dad::1")), None);
    assert_eq!(scene.up(&v6("2001:db8:bad::1")), Some(Quarantined));
    let offences = scene.offences();
    assert_eq!(offences[0].targets.last().unwrap().to_string(), "[2001:db8:bad::1]:443");
}
