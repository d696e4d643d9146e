//! Full tables degrade to counting, never to blocking bystanders.

use gateway_ebpf::DropReason::{Quarantined, SmtpBlocked};

use super::*;

fn nested(n: u32) -> String {
    Ipv4Addr::from_bits(0xc612_0000 + n).to_string()
}

#[test]
#[ignore = "needs root: BPF programs"]
fn sources_without_a_place_are_policed_all_the_same() {
    let mut scene = Scene::new(&format!("sources = 1\n{QUICK}"));
    let places = scene.engine().detection_counters().source_places;
    assert_eq!(places, 128);
    scene.pass((0..2_000).map(|n| syn(&nested(n), &host(n), 40_000, 443)));
    let counters = scene.engine().detection_counters();
    assert!(counters.sources > 100 && counters.sources <= places, "{counters:?}");
    assert_eq!(counters.attempted + counters.sources_full, 2_000, "{counters:?}");
    assert_eq!(u64::from(counters.sources), counters.attempted, "{counters:?}");
    scene.pass((0..2_000).map(|n| segment(&nested(n), &host(n), (40_000, 443), ACK)));
    assert_eq!(scene.up(&syn(&nested(1_999), &host(0), 40_000, 25)), Some(SmtpBlocked));

    // Who was idle for ten minutes makes room, but not who is under a measure. Ten newcomers do not fill a set
    // of eight: the chance is below one in a million.
    (0..4).for_each(|n| _ = scene.up(&probe(&nested(0), n)));
    assert_eq!(scene.up(&probe(&nested(0), 9)), Some(Quarantined));
    scene.wait(601 * SECOND_NS);
    let before = scene.engine().detection_counters();
    scene.pass((2_000..2_010).map(|n| syn(&nested(n), &host(n), 40_000, 443)));
    let after = scene.engine().detection_counters();
    assert_eq!((after.attempted, after.sources_full), (before.attempted + 10, before.sources_full));
    assert_eq!(scene.up(&probe(&nested(0), 9)), Some(Quarantined));
}

/// 200 sources with as many contacts as they may make at once, in tables for 512 a region.
fn crowd(scene: &mut Scene) {
    let (host, nested) = (|n: u32| host(10_000 + n), |n: u32| nested(1_000 + n));
    scene.pass((0..200 * 60).map(|n| syn(&nested(n / 60), &host(n), 40_000, 443)));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_crowded_table_judges_nobody_for_a_minute() {
    let scan = "contacts = 1024\n[detect.scan_horizontal]\nmode = \"enforce\"\nhosts_per_5_minutes = 40\n";
    let mut scene = Scene::new(scan);
    scene.pass((0..40).map(|n| connect(n, 443)));
    assert_eq!(scene.engine().detection_counters().crowded, 0);
    // Armed; but now answers to it would meet nothing.
    crowd(&mut scene);
    let crowded = scene.engine().detection_counters().crowded;
    assert!(crowded > 10_000, "{crowded}");
    scene.wait(3 * SECOND_NS);
    assert_eq!(scene.offences(), []);
    scene.pass([connect(40, 443)]);
    scene.wait(56 * SECOND_NS);
    assert_eq!(scene.offences(), []);
    // The crowd is gone, and what it hid is still there.
    scene.wait(2 * SECOND_NS);
    let acme: Vec<_> = scene.offences().into_iter().filter(|offence| offence.tenant == "acme").collect();
    assert_eq!(only(&acme)["hosts_attempted"], 41);
}
