//! What is known of sources outlasts reloads and moves, and ends when the operator says so.

use fairway_tests::bench::in_force;
use gateway::dataplane::ProgramClock;
use gateway::detect::Lift;
use gateway_ebpf::DropReason::Quarantined;

use super::*;

/// `acme` in quarantine, with 30 open contacts of one of its neighbours.
fn scene() -> Scene {
    let mut scene = Scene::new(SETTINGS);
    (0..4).for_each(|n| _ = scene.up(&probe(ACME, n)));
    scene.pass((0..30).map(|n| syn(SIBLING, &host(n), 40_000, 443)));
    assert_eq!(scene.offences().len(), 1);
    scene
}

const SETTINGS: &str = "[detect.scan_stealth]\nmode = \"enforce\"\nports_per_5_minutes = 4\nfor = \"1h\"\n\
     [detect.scan_horizontal]\nmode = \"enforce\"\nhosts_per_5_minutes = 40\nmeasure = \"quarantine\"\n";

/// The quarantine holds, the open contacts are known, and with ten more they are a scan.
fn check(scene: &mut Scene) {
    assert_eq!(scene.up(&connect(900, 443)), Some(Quarantined));
    let before = scene.contacts();
    scene.pass((0..30).map(|n| syn(SIBLING, &host(n), 40_000, 443)));
    assert_eq!(scene.contacts(), before);
    assert_eq!(scene.down(&segment(&host(0), SIBLING, (443, 40_000), SYN_ACK)), None);
    assert_eq!(scene.contacts(), (before.0, before.1 + 1));
    scene.pass((30..41).map(|n| syn(SIBLING, &host(n), 40_000, 443)));
    scene.wait(3 * SECOND_NS);
    let offences = scene.offences();
    assert_eq!(only(&offences)["hosts_attempted"], 41);
    assert_eq!(offences[0].source.unwrap().to_string(), format!("{SIBLING}/32"));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_reload_forgets_nothing() {
    let mut scene = scene();
    for _ in 0..3 {
        scene.engine().apply(&in_force(&policy(SETTINGS))).unwrap();
    }
    check(&mut scene);
    scene.engine().apply(&in_force(&policy(SETTINGS))).unwrap();
    assert_eq!(scene.up(&syn(SIBLING, &host(0), 40_000, 443)), Some(Quarantined));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_move_to_larger_tables_forgets_nothing() {
    let mut scene = scene();
    // Another order of tenants, so that slots differ, and more sources.
    let prefixes: Vec<_> = (0..16).map(|n| format!("\"100.0.{n}.0/24\"")).collect();
    let prefixes = prefixes.join(", ");
    let more = format!("[[tenant]]\nid = \"aaa\"\nprefixes = [{prefixes}]\ncontact = \"a@aaa.example\"\n");
    let larger = policy(&format!("sources = 100000\n{SETTINGS}{more}"));
    let mut engine = Engine::detached(&in_force(&larger), ProgramClock::Virtual).unwrap();
    let places = |engine: &Engine| engine.detection_counters().source_places;
    assert!(places(&engine) > places(scene.engine()));
    engine.register(&larger.interfaces[0], 1).unwrap();
    engine.take_over(scene.engine());
    scene.bench.replace(larger, engine);
    check(&mut scene);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn what_is_lifted_begins_anew() {
    let mut scene = scene();
    let lift = |tenant: &str, source: Option<&str>| Lift {
        tenant: tenant.to_owned(),
        source: source.map(|source| source.parse().unwrap()),
        at: jiff::Timestamp::UNIX_EPOCH,
        by: "j.doe".to_owned(),
        reason: "cleaned".to_owned(),
    };
    for other in [lift("nested", None), lift("acme", Some(SIBLING)), lift("nobody", None)] {
        scene.engine().lift(&other);
        assert_eq!(scene.up(&connect(900, 443)), Some(Quarantined));
    }
    scene.engine().lift(&lift("acme", Some(ACME)));
    scene.pass((900..950).map(|n| connect(n, 443)));
    // It is not forgiven in advance: three segments are fine, the fourth is not.
    scene.pass((100..103).map(|n| probe(ACME, n)));
    assert_eq!(scene.up(&probe(ACME, 103)), Some(Quarantined));
    scene.engine().lift(&lift("acme", None));
    scene.pass([connect(950, 443)]);
}
