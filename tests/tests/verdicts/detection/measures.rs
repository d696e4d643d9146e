//! What each measure leaves a source, and for how long.

use gateway_ebpf::DropReason::{Flood, MailClosed, Quarantined, Throttled};

use super::*;

/// `acme` under a measure, for ten minutes.
fn under(measure: &str) -> Scene {
    let mut scene = Scene::new(&format!("{QUICK}measure = \"{measure}\"\nfor = \"10m\"\n"));
    (0..4).for_each(|n| _ = scene.up(&probe(ACME, n)));
    assert_eq!(scene.offences().len(), 1);
    scene
}

/// A packet of each kind that measures tell apart.
fn packets() -> [(&'static str, Packet); 9] {
    let far = host(900);
    [
        ("web", syn(ACME, &far, 40_000, 443)),
        ("an open connection", segment(ACME, &far, (40_000, 443), ACK)),
        ("mail", syn(ACME, &far, 40_000, 587)),
        ("an open mail connection", segment(ACME, &far, (40_000, 587), ACK)),
        ("a datagram", datagram(ACME, &far, (40_000, 53), 20)),
        ("ping", icmp(ACME, &far, 8)),
        ("a later fragment", packet(ACME, &far, number::UDP, vec![0; 64]).fragment(9, false)),
        ("the portal", syn(ACME, PORTAL, 40_000, 443)),
        ("a datagram to the portal", datagram(ACME, PORTAL, (40_000, 53), 20)),
    ]
}

fn check(measure: &str, expected: [Option<DropReason>; 9]) {
    let mut scene = under(measure);
    let found = |scene: &mut Scene| packets().map(|(name, packet)| (name, scene.up(&packet)));
    let mut wanted = packets().map(|(name, _)| (name, None));
    wanted.iter_mut().zip(expected).for_each(|(wanted, reason)| wanted.1 = reason);
    assert_eq!(found(&mut scene), wanted, "{measure}");
    // Who turns to it is let through, and neither its neighbours nor its tenant's other sources notice.
    assert_eq!(scene.down(&syn(&host(900), ACME, 40_000, 443)), None);
    for source in [SIBLING, NESTED] {
        scene.pass([syn(source, &host(900), 40_000, 443), syn(source, &host(900), 40_000, 587)]);
        scene.pass([datagram(source, &host(900), (40_000, 53), 20), icmp(source, &host(900), 8)]);
    }
    scene.wait(600 * SECOND_NS - 1);
    assert_eq!(found(&mut scene), wanted, "{measure}, to its last moment");
    scene.wait(1);
    assert_eq!(found(&mut scene), packets().map(|(name, _)| (name, None)), "{measure}, after its end");
}

#[test]
#[ignore = "needs root: BPF programs"]
fn quarantine_leaves_the_walled_garden() {
    let closed = Some(Quarantined);
    check("quarantine", [closed, closed, closed, closed, closed, closed, closed, None, None]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn close_smtp_closes_mail_alone() {
    let closed = Some(MailClosed);
    check("close_smtp", [None, None, closed, closed, None, None, None, None, None]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn drop_syn_leaves_open_connections() {
    let closed = Some(Flood);
    check("drop_syn", [closed, None, closed, None, None, None, None, closed, None]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn drop_udp_leaves_everything_else() {
    let closed = Some(Flood);
    check("drop_udp", [None, None, None, None, closed, None, None, None, closed]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn slow_is_one_new_contact_a_second() {
    let mut scene = under("slow");
    // What it had saved fades first.
    scene.wait(20 * SECOND_NS);
    scene.admitted((0..1).map(|n| connect(n, 443)));
    scene.wait(20 * SECOND_NS);
    for second in 1..30 {
        let burst = (second * 10..second * 10 + 10).map(|n| connect(n, 443));
        assert_eq!(scene.admitted(burst), 1, "second {second}");
        scene.pass([connect(second * 10, 443)]);
        scene.wait(SECOND_NS);
    }
    assert_eq!(scene.up(&connect(1_000, 443)), None);
    assert_eq!(scene.up(&connect(1_001, 443)), Some(Throttled));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn nothing_is_done_about_what_is_only_reported() {
    check("none", [None; 9]);
    let mut scene = Scene::new(&QUICK.replace("enforce", "watch"));
    scene.pass((0..40).map(|n| probe(ACME, n)));
    let offences = scene.offences();
    assert_eq!((offences.len(), offences[0].until, offences[0].taken()), (1, None, None));
    assert_eq!(offences[0].mode, gateway::config::DetectMode::Watch);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_second_offence_brings_its_own_measure() {
    let both = format!(
        "{QUICK}measure = \"close_smtp\"\n[detect.scan_vertical]\nmode = \"enforce\"\nports_per_5_minutes = 32\n"
    );
    let mut scene = Scene::new(&both);
    (0..4).for_each(|n| _ = scene.up(&probe(ACME, n)));
    assert_eq!(scene.up(&connect(1, 587)), Some(MailClosed));
    (0..32).for_each(|n| _ = scene.up(&connect(1, 2_000 + n)));
    assert_eq!(
        scene.kinds(),
        [(OffenceKind::ScanStealth, Measure::CloseSmtp), (OffenceKind::ScanVertical, Measure::Quarantine)]
    );
    assert_eq!(scene.up(&connect(1, 587)), Some(Quarantined));
}
