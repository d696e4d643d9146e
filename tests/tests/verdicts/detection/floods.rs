//! Floods: what is sent beyond what is answered.

use gateway::config::OffenceKind::UdpFlood;
use gateway_ebpf::DropReason::Flood;

use super::*;

#[test]
#[ignore = "needs root: BPF programs"]
fn answers_speak_for_those_who_send_fast() {
    let mut scene = Scene::new("[detect.syn_flood]\nmode = \"enforce\"\nsyns_per_second = 50\nexcess = 500");
    // 200 connections a second, three in four set up: for what is not, 50 a second are fine.
    for n in 0..6_000 {
        scene.pass([connect(1, 443)]);
        if n % 4 != 0 {
            assert_eq!(scene.down(&accept(1, 443)), None);
        }
        scene.wait(SECOND_NS / 200);
    }
    assert_eq!(scene.offences(), []);
}

/// One datagram in 32 is counted, for all of them, on each CPU by itself, at intervals of up to 55: hence the
/// tolerance.
#[test]
#[ignore = "needs root: BPF programs"]
fn datagrams_without_answers_are_a_flood() {
    let flood = "[detect.udp_flood]\nmode = \"enforce\"\npackets_per_second = 100\nexcess = 1600";
    let cpus = std::thread::available_parallelism().unwrap().get() as u32;
    let mut scene = Scene::new(flood);
    let sent = (0..10_000_u32).find(|_| scene.up(&send(1, 5_000)) == Some(Flood)).unwrap();
    assert!(sent.abs_diff(1_600) <= 2 * 55 * cpus, "{sent}");
    assert_eq!(scene.kinds(), [(UdpFlood, Measure::DropUdp)]);

    let mut scene = Scene::new(flood);
    for _ in 0..5_000 {
        scene.pass([send(1, 5_000)]);
        assert_eq!(scene.down(&reply(1, 5_000)), None);
    }
    assert_eq!(scene.offences(), []);
}
