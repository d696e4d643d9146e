//! Who is spared: by the operator's word, by a detector that is off, by the breaker.

use gateway_ebpf::DropReason::Quarantined;

use super::*;

/// An allowance for `acme`'s first address, until the 1,000th second after the start.
fn allow(kinds: &str) -> String {
    format!(
        "[[detect.allow]]\nsources = [\"{ACME}/32\"]\nkinds = {kinds}\nreason = \"research\"\nticket = \"T\"\n\
         approved_by = \"j.doe\"\nexpires = 2099-01-01\n"
    )
}

#[test]
#[ignore = "needs root: BPF programs"]
fn what_is_off_does_nothing() {
    let mut scene = Scene::new("");
    for n in 0..300 {
        scene.pass([connect(n, 23), probe(ACME, n), send(n, 1_900), icmp(ACME, &host(n), 8)]);
    }
    let counters = scene.engine().detection_counters();
    assert_eq!((counters.sources, counters.attempted, counters.throttled), (0, 0, 0));
    scene.wait(10 * SECOND_NS);
    assert_eq!(scene.offences(), []);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn the_allowed_are_left_alone_in_what_they_are_allowed() {
    let mut scene = Scene::new(&format!("{}{QUICK}", allow("[\"scan_stealth\"]")));
    scene.pass((0..100).map(|n| probe(ACME, n)));
    assert_eq!(scene.offences(), []);
    (0..4).for_each(|n| _ = scene.up(&probe(SIBLING, n)));
    assert_eq!(scene.up(&probe(SIBLING, 9)), Some(Quarantined));
    // It says nothing of other detectors, and nothing of credit.
    assert_eq!(scene.admitted((0..100).map(|n| connect(n, 443))), 64);

    let horizontal = "[detect.scan_horizontal]\nmode = \"enforce\"\nhosts_per_5_minutes = 40\n";
    let mut scene = Scene::new(&format!("{}{horizontal}", allow("[\"scan_horizontal\", \"scan_udp\"]")));
    scene.pass((0..1_000).map(|n| connect(n, 443)));
    scene.pass((0..1_000).map(|n| send(n, 1_900)));
    scene.wait(10 * SECOND_NS);
    assert_eq!(scene.offences(), []);
    scene.pass([connect(2_000, 443)]);

    let ping = "[detect.scan_ping]\nmode = \"enforce\"\nhosts_per_5_minutes = 40\n";
    let mut scene = Scene::new(&format!("{}{ping}", allow("[\"scan_ping\"]")));
    scene.pass((0..1_000).map(|n| icmp(ACME, &host(n), 8)));
    scene.wait(10 * SECOND_NS);
    assert_eq!(scene.offences(), []);
    assert_eq!(scene.admitted((0..100).map(|n| connect(n, 443))), 64);

    // No kinds: all of them.
    let mut scene = Scene::new(&format!("{}{QUICK}{horizontal}", allow("[]")));
    scene.pass((0..100).map(|n| probe(ACME, n)));
    scene.pass((0..1_000).map(|n| connect(n, 443)));
    scene.wait(10 * SECOND_NS);
    assert_eq!(scene.offences(), []);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn an_allowance_ends_in_the_kernel() {
    let mut scene = Scene::new(&format!("{}{QUICK}for = \"1m\"\n", allow("[]")));
    scene.pass((0..10).map(|n| probe(ACME, n)));
    let end: jiff::Timestamp = "2099-01-02T00:00:00Z".parse().unwrap();
    scene.now_ns = u64::try_from(end.as_nanosecond()).unwrap() - SECOND_NS;
    scene.pass((10..20).map(|n| probe(ACME, n)));
    scene.wait(100 * SECOND_NS);
    (20..30).for_each(|n| _ = scene.up(&probe(ACME, n)));
    assert_eq!(scene.kinds(), [(OffenceKind::ScanStealth, Measure::Quarantine)]);
    assert_eq!(scene.up(&probe(ACME, 31)), Some(Quarantined));
}

/// Many offenders at once are more likely a fault of the network than of the tenants.
#[test]
#[ignore = "needs root: BPF programs"]
fn the_breaker_holds_the_21st_measure_of_a_minute() {
    let mut scene = Scene::new(QUICK);
    let nested = |n: u32| Ipv4Addr::from_bits(0xc612_0000 + n).to_string();
    let offend = |scene: &mut Scene, n: u32| {
        scene.pass((0..3).map(|target| probe(&nested(n), target)));
        scene.up(&probe(&nested(n), 3))
    };
    for n in 0..20 {
        assert_eq!(offend(&mut scene, n), Some(Quarantined), "{n}");
    }
    assert!(scene.offences().iter().all(|offence| offence.until.is_some()));
    assert_eq!(offend(&mut scene, 20), None);
    let held = scene.offences();
    assert_eq!(only(&held)["held_by_breaker"], 1);
    assert_eq!((held[0].until, held[0].mode), (None, gateway::config::DetectMode::Enforce));
    // A twentieth of a minute later, there is room for one more.
    scene.wait(3 * SECOND_NS);
    assert_eq!(offend(&mut scene, 21), Some(Quarantined));
    assert_eq!(offend(&mut scene, 22), None);
    // Those in quarantine stay there.
    assert_eq!(scene.up(&probe(&nested(0), 9)), Some(Quarantined));
    // Who was spared and goes on is judged anew after a minute, not after an hour.
    scene.pass((10..14).map(|target| probe(&nested(20), target)));
    scene.wait(60 * SECOND_NS);
    assert_eq!(scene.up(&probe(&nested(20), 20)), Some(Quarantined));
}
