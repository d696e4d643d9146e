//! What counts as a contact, and who may speak for or against a source.

use gateway_ebpf::DropReason::{Quarantined, UnknownSource};

use super::*;

const VERTICAL: &str = "[detect.scan_vertical]\nmode = \"enforce\"\nports_per_5_minutes = 32\n";
const PING: &str = "[detect.scan_ping]\nmode = \"enforce\"\nhosts_per_5_minutes = 40\n";

/// What anybody on the Internet can send to a tenant, under any address.
fn forgeries() -> impl Iterator<Item = Packet> {
    (500..700).flat_map(|n| {
        let from = host(n);
        let unreachable = {
            // Type 3, code 1, and the header of a packet that the tenant never sent.
            let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
            message.extend(&connect(n, 443).frame()[14..42]);
            packet(&from, ACME, 1, message)
        };
        [accept(n, 443), refuse(n, 443), icmp(&from, ACME, 0), unreachable, reply(n, 443)]
    })
}

#[test]
#[ignore = "needs root: BPF programs"]
fn forged_answers_move_nothing() {
    let mut scene = Scene::new(PING);
    forgeries().for_each(|packet| assert_eq!(scene.down(&packet), None));
    let counters = scene.engine().detection_counters();
    assert_eq!((counters.sources, counters.attempted, counters.answered), (0, 0, 0));

    // Nor do they speak for a scanner: neither do they pay, nor lower what it failed.
    scene.pass((0..40).map(|n| icmp(ACME, &host(n), 8)));
    scene.pass((0..64).map(|n| connect(n, 443)));
    forgeries().for_each(|packet| assert_eq!(scene.down(&packet), None));
    assert_eq!(scene.admitted((100..200).map(|n| connect(n, 443))), 0);
    assert_eq!(scene.contacts(), (104, 0));
    scene.wait(3 * SECOND_NS);
    let counters = only(&scene.offences()).clone();
    assert_eq!(counters["hosts_attempted"], 40);
    assert!(!counters.contains_key("hosts_answered") && !counters.contains_key("hosts_rejected"));
}

/// Resets cannot frame a tenant that has business with few: only its own contacts can be refused.
#[test]
#[ignore = "needs root: BPF programs"]
fn a_tenant_cannot_be_framed() {
    let mut scene = Scene::new(&format!("{VERTICAL}{QUICK}"));
    scene.pass((0..10).map(|n| connect(1, 2_000 + n)));
    for port in 2_000..3_000 {
        assert_eq!(scene.down(&refuse(1, port)), None);
    }
    // Packets in its name come in on the wrong side, or from the wrong tenant's: none of them is counted.
    (0..40).for_each(|n| _ = scene.down(&probe(ACME, n)));
    let forged = (0..40).map(|n| segment("203.0.113.200", &host(n), (1, 2), 0));
    forged.for_each(|packet| assert_eq!(scene.up(&packet), Some(UnknownSource)));
    assert_eq!(scene.offences(), []);
    assert_eq!(scene.contacts(), (10, 0));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn an_ipv6_network_of_64_bits_is_one_source() {
    let mut scene = Scene::new(VERTICAL);
    let from = |n: u32| syn(&format!("2001:db8:10:7:{n:x}::1"), "2600::1", 40_000, 2_000 + n as u16);
    scene.pass((0..31).map(from));
    assert_eq!(scene.up(&from(31)), Some(Quarantined));
    let offences = scene.offences();
    assert_eq!(offences[0].source.unwrap().to_string(), "2001:db8:10:7::/64");
    assert_eq!(scene.up(&syn("2001:db8:10:7:ffff::9", "2600::2", 1, 443)), Some(Quarantined));
    assert_eq!(scene.up(&syn("2001:db8:10:8::1", "2600::2", 1, 443)), None);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn icmpv6_echo_counts_like_icmp() {
    let far = |n: u32| format!("2600::{n:x}");
    let mut scene = Scene::new(PING);
    scene.pass((0..40).map(|n| icmp6("2001:db8:10::1", &far(n), 128)));
    (0..40).for_each(|n| assert_eq!(scene.down(&icmp6(&far(n), "2001:db8:10::1", 129)), None));
    assert_eq!(scene.contacts(), (40, 40));
    scene.wait(4 * SECOND_NS);
    assert_eq!(scene.offences(), []);
    // Its answers to others' requests are no contacts.
    scene.pass((100..200).map(|n| icmp6("2001:db8:10::1", &far(n), 129)));
    assert_eq!(scene.contacts(), (40, 40));
    scene.wait(SECOND_NS * 400);
    scene.pass((200..240).map(|n| icmp6("2001:db8:10::1", &far(n), 128)));
    scene.wait(3 * SECOND_NS);
    assert_eq!(scene.up(&icmp6("2001:db8:10::1", &far(240), 128)), Some(Quarantined));
}

/// Between two tenants no packet is seen on the uplink: the answer comes in from the other tenant.
#[test]
#[ignore = "needs root: BPF programs"]
fn tenants_answer_each_other() {
    let mut scene = Scene::new(WATCHING);
    let nested = |n: u32| Ipv4Addr::from_bits(0xc612_0000 + n).to_string();
    scene.pass((0..30).map(|n| syn(ACME, &nested(n), 40_000, 8_443)));
    scene.pass((0..30).map(|n| segment(&nested(n), ACME, (8_443, 40_000), SYN_ACK)));
    assert_eq!(scene.contacts(), (30, 30));
    scene.pass((0..30).map(|n| icmp(ACME, &nested(n), 8)));
    scene.pass((0..30).map(|n| icmp(&nested(n), ACME, 0)));
    assert_eq!(scene.contacts(), (60, 60));
    scene.pass((0..30).map(|n| datagram(ACME, &nested(n), (40_000, 53), 20)));
    for _ in 0..20 {
        scene.pass((0..30).map(|n| datagram(&nested(n), ACME, (53, 40_000), 20)));
    }
    assert_eq!(scene.contacts(), (90, 90));
    assert_eq!(scene.admitted((200..400).map(|n| connect(n, 8_443))), 64 - 30 + 60);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_servers_replies_are_no_contacts() {
    let mut scene = Scene::new(WATCHING);
    for n in 0..500 {
        assert_eq!(scene.down(&datagram(&host(n), ACME, (5_000, 53), 20)), None);
        scene.pass([datagram(ACME, &host(n), (53, 5_000), 20)]);
        assert_eq!(scene.down(&syn(&host(n), ACME, 5_000, 443)), None);
        scene.pass([segment(ACME, &host(n), (443, 5_000), SYN_ACK)]);
        scene.pass([segment(ACME, &host(n), (443, 5_000), RST_ACK)]);
    }
    assert_eq!(scene.contacts(), (0, 0));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn some_destinations_do_not_count() {
    let mut scene = Scene::new(WATCHING);
    // Traceroute is meant to fail.
    scene.pass((0..100).map(|n| send(n, 33_434 + n as u16)));
    // From a public address, private ones go nowhere; multicast and broadcast are for nobody.
    for network in ["10.9.8", "172.16.9", "192.168.1", "100.64.3", "169.254.7", "224.0.9", "255.255.255"] {
        let there = |n| format!("{network}.{n}");
        scene.pass((1..100).map(|n| syn(ACME, &there(n), 40_000, 22)));
        scene.pass((1..100).map(|n| icmp(ACME, &there(n), 8)));
        scene.pass((1..100).map(|n| datagram(ACME, &there(n), (40_000, 22), 20)));
        scene.pass((1..100).map(|n| segment(ACME, &there(n), (1, 2), 0)));
    }
    for network in ["fd00:1", "ff0e:0"] {
        scene.pass((1..100).map(|n| syn("2001:db8:10::1", &format!("{network}::{n}"), 40_000, 22)));
    }
    assert_eq!((scene.contacts(), scene.engine().detection_counters().throttled), ((0, 0), 0));
    scene.pass([send(1, 33_433), send(1, 33_701), connect(1, 22)]);
    assert_eq!(scene.contacts(), (3, 0));
}

/// Nor does one host count for many if it is turned to from many addresses of one /64.
#[test]
#[ignore = "needs root: BPF programs"]
fn rotating_within_an_ipv6_network_of_64_bits_makes_no_new_contacts() {
    let mut scene = Scene::new(WATCHING);
    let from = |n: u32| format!("2001:db8:10:7:{n:x}::1");
    scene.pass((0..200).map(|n| syn(&from(n), "2600::1", 40_000, 443)));
    scene.pass((0..200).map(|n| icmp6(&from(n), "2600::1", 128)));
    scene.pass((0..200).map(|n| datagram(&from(n), "2600::1", (40_000, 5_000), 20)));
    assert_eq!(scene.contacts(), (3, 0));
    // Any of its addresses may be answered.
    assert_eq!(scene.down(&segment("2600::1", &from(77), (443, 40_000), SYN_ACK)), None);
    assert_eq!(scene.contacts(), (3, 1));
}
