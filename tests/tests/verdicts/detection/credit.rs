//! New contacts cost credit, and answers pay it back twice.

use super::*;

#[test]
#[ignore = "needs root: BPF programs"]
fn sixty_four_at_once_and_then_a_few_a_second() {
    for (per_second, packet) in [
        (4, (|n| connect(n, 443)) as fn(u32) -> Packet),
        (4, |n| icmp(ACME, &host(n), 8)),
        (8, |n| send(n, 5_000)),
    ] {
        let mut scene = Scene::new(WATCHING);
        assert_eq!(scene.admitted((0..100).map(packet)), 64);
        // What was begun goes on.
        scene.pass((0..64).map(packet));
        scene.pass([segment(ACME, &host(80), (40_000, 443), ACK)]);
        scene.wait(SECOND_NS);
        assert_eq!(scene.admitted((100..200).map(packet)), per_second);
        scene.wait(5 * SECOND_NS);
        assert_eq!(scene.admitted((200..300).map(packet)), 5 * per_second);
        // Idle credit is no more than the start.
        scene.wait(3_600 * SECOND_NS);
        assert_eq!(scene.admitted((300..400).map(packet)), 64);
        let throttled = scene.engine().detection_counters().throttled;
        assert_eq!(throttled, 36 + (100 - per_second as u64) + (100 - 5 * per_second as u64) + 36);
        assert_eq!(scene.offences(), []);
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn protocols_and_sources_do_not_share_their_credit() {
    let mut scene = Scene::new(WATCHING);
    assert_eq!(scene.admitted((0..70).map(|n| connect(n, 443))), 64);
    assert_eq!(scene.admitted((0..70).map(|n| send(n, 443))), 64);
    assert_eq!(scene.admitted((0..70).map(|n| syn(SIBLING, &host(n), 40_000, 443))), 64);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn an_answer_pays_for_two_more() {
    let mut scene = Scene::new(WATCHING);
    scene.pass((0..64).map(|n| connect(n, 443)));
    for n in 0..10 {
        assert_eq!(scene.down(&accept(n, 443)), None);
        // The same answer again pays nothing.
        assert_eq!(scene.down(&accept(n, 443)), None);
    }
    assert_eq!(scene.admitted((100..200).map(|n| connect(n, 443))), 20);
    // A reset is no acceptance.
    (20..30).for_each(|n| assert_eq!(scene.down(&refuse(n, 443)), None));
    assert_eq!(scene.admitted((200..300).map(|n| connect(n, 443))), 0);

    scene.pass((0..64).map(|n| send(n, 5_000)));
    (0..10).for_each(|n| assert_eq!(scene.down(&reply(n, 5_000)), None));
    assert_eq!(scene.admitted((100..200).map(|n| send(n, 5_000))), 20);
}

/// 200 new hosts a second, nine in ten of which answer within 50 ms: a crawler.
#[test]
#[ignore = "needs root: BPF programs"]
fn the_answered_are_not_held_up() {
    let mut scene = Scene::new("[detect.scan_horizontal]\nmode = \"enforce\"\nhosts_per_5_minutes = 2000");
    for n in 0..6_000 {
        scene.pass([connect(n, 443)]);
        if n >= 10 && n % 10 != 0 {
            assert_eq!(scene.down(&accept(n - 10, 443)), None);
        }
        scene.wait(SECOND_NS / 200);
    }
    assert_eq!(scene.offences(), []);
    assert_eq!(scene.contacts(), (6_000, 5_391));
}
