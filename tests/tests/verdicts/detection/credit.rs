//! New contacts cost credit, and answers pay it back: twice, unless too many are missing.

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
    scene.pass((0..64).map(|n| connect(n, 8_443)));
    for n in 0..10 {
        assert_eq!(scene.down(&accept(n, 8_443)), None);
        // The same answer again pays nothing.
        assert_eq!(scene.down(&accept(n, 8_443)), None);
    }
    assert_eq!(scene.admitted((100..200).map(|n| connect(n, 8_443))), 20);
    // A reset is no acceptance.
    (20..30).for_each(|n| assert_eq!(scene.down(&refuse(n, 8_443)), None));
    assert_eq!(scene.admitted((200..300).map(|n| connect(n, 8_443))), 0);

    scene.pass((0..64).map(|n| send(n, 5_000)));
    (0..10).for_each(|n| assert_eq!(scene.down(&reply(n, 5_000)), None));
    assert_eq!(scene.admitted((100..200).map(|n| send(n, 5_000))), 20);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn where_too_many_answers_are_missing_one_pays_for_one() {
    let echo = |n| icmp(&host(n), ACME, 0);
    for (contact, answer) in [
        ((|n| connect(n, 443)) as fn(u32) -> Packet, (|n| accept(n, 443)) as fn(u32) -> Packet),
        (|n| connect(n, 3_389), |n| accept(n, 3_389)),
        (|n| send(n, 161), |n| reply(n, 161)),
        (|n| icmp(ACME, &host(n), 8), echo),
    ] {
        let mut scene = Scene::new(WATCHING);
        scene.pass((0..64).map(contact));
        (0..10).for_each(|n| assert_eq!(scene.down(&answer(n)), None));
        assert_eq!(scene.admitted((100..200).map(contact)), 10);
        // 64 of 74 answered: of what is missing, the rest of the first is less than a fifth.
        (10..64).chain(100..110).for_each(|n| assert_eq!(scene.down(&answer(n)), None));
        let admitted = scene.admitted((200..400).map(contact));
        assert!((64..128).contains(&admitted), "{admitted}");
    }
}

/// Half of the peers answer at once, whichever is tried: 25 a second and no more than 128 ahead of that.
#[test]
#[ignore = "needs root: BPF programs"]
fn a_scan_of_peers_is_as_fast_as_a_peer_to_peer_program() {
    let mut scene = Scene::new(WATCHING);
    let mut passed = 0;
    for n in 0..2_000 {
        if scene.up(&connect(n, 20_000 + n as u16)).is_none() {
            passed += 1;
            if passed % 2 == 0 {
                assert_eq!(scene.down(&accept(n, 20_000 + n as u16)), None);
            }
        }
        scene.wait(SECOND_NS / 200);
    }
    assert!((128 + 200..128 + 350).contains(&passed), "{passed}");

    // A peer-to-peer program: 25 a second, four in ten of which answer.
    let mut scene = Scene::new(WATCHING);
    for n in 0..1_000 {
        scene.pass([connect(n, 20_000 + n as u16)]);
        if n % 5 < 2 {
            assert_eq!(scene.down(&accept(n, 20_000 + n as u16)), None);
        }
        scene.wait(SECOND_NS / 25);
    }
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
