//! Who only looks who is there: connections that end without a word from the one who opened them.

use gateway::config::OffenceKind::{ScanBlock, ScanHorizontal};
use gateway_ebpf::DropReason::Quarantined;

use super::*;

const RULES: &str = "[detect.scan_horizontal]\nmode = \"enforce\"\nmeasure = \"quarantine\"\n\
    probing_contacts = 40\nprobing_failed_percent = 25\n\
    [detect.scan_block]\nmode = \"enforce\"\nmeasure = \"quarantine\"\n\
    probing_contacts = 40\nprobing_failed_percent = 25\n";

const FIN_ACK: u8 = 0x11;
const RST: u8 = 0x04;

/// The sequence number of the SYN to the `n`th host.
fn first(n: u32) -> u32 {
    0xffff_ffff_u32.wrapping_sub(n.wrapping_mul(0x0101_0101))
}

/// A segment with a payload, from a port to a port.
fn tcp(from: &str, to: &str, ports: (u16, u16), numbers: (u32, u32), flags: u8, data: &[u8]) -> Packet {
    let mut bytes = fairway_tests::frames::tcp(ports.0, ports.1, data);
    bytes[4..8].copy_from_slice(&numbers.0.to_be_bytes());
    bytes[8..12].copy_from_slice(&numbers.1.to_be_bytes());
    bytes[13] = flags;
    packet(from, to, number::TCP, bytes)
}

/// How a source ends its connection to the `n`th host, after `sent_bytes`, with `data` in the last segment.
fn end(n: u32, port: u16, flags: u8, sent_bytes: u32, data: &[u8]) -> Packet {
    let numbers = (first(n).wrapping_add(1 + sent_bytes), 1);
    tcp(ACME, &host(n), (40_000, port), numbers, flags, data)
}

impl Scene {
    /// Turns to the `n`th host, which answers or not; whether the packet was dropped.
    fn open(&mut self, n: u32, port: u16, is_answered: bool) -> Option<DropReason> {
        let syn = tcp(ACME, &host(n), (40_000, port), (first(n), 0), 0x02, &[]);
        let dropped = self.up(&syn);
        if dropped.is_none() && is_answered {
            let numbers = (77, first(n).wrapping_add(1));
            let accept = tcp(&host(n), ACME, (port, 40_000), numbers, SYN_ACK, &[]);
            assert_eq!(self.down(&accept), None);
        }
        dropped
    }

    /// Ports of hosts that a source turned to, by window: all, answered, only probed.
    fn ports_probed(&mut self, source: &str) -> Vec<(u32, u32, u32)> {
        let watched = self.engine().watched(source.parse().unwrap()).unwrap();
        let ports = watched.counts.iter().filter(|count| count.what == "tcp_ports");
        ports.map(|count| (count.attempted, count.answered, count.probed)).collect()
    }

    /// Five contacts a second, `answered` of ten answered and ended in some way, until one is dropped: which.
    fn look_around(
        &mut self,
        answered: u32,
        port: impl Fn(u32) -> u16,
        end: impl Fn(u32, u16) -> Packet,
    ) -> Option<u32> {
        for n in 0..400 {
            let is_answered = n * answered % 10 < answered;
            match self.open(n, port(n), is_answered) {
                None => {}
                Some(Quarantined) => return Some(n),
                reason => panic!("contact {n}: {reason:?}"),
            }
            if is_answered {
                assert_eq!(self.up(&end(n, port(n))), None);
            }
            self.wait(SECOND_NS / 5);
        }
        None
    }
}

fn same(_: u32) -> u16 {
    8_080
}

fn any(n: u32) -> u16 {
    20_000 + (n * 61 % 10_000) as u16
}

#[test]
#[ignore = "needs root: BPF programs"]
fn scanners_that_many_answer_are_found_out_by_how_they_end() {
    for (kind, port) in [(ScanHorizontal, same as fn(u32) -> u16), (ScanBlock, any)] {
        // The reset of a kernel that knows of no connection, that of a program in a hurry, and an ordinary end.
        for flags in [RST, RST_ACK, FIN_ACK] {
            for answered in [5, 7] {
                let mut scene = Scene::new(RULES);
                let stopped = scene.look_around(answered, port, |n, port| end(n, port, flags, 0, &[]));
                // The fortieth contact arms, and three seconds later it is confirmed.
                assert!(stopped.is_some_and(|n| (40..60).contains(&n)), "{kind:?} {flags:#x}: {stopped:?}");
                let offences = scene.offences();
                assert_eq!(offences[0].kind, kind);
                let probed = only(&offences)["contacts_probed"];
                assert!(probed >= 40 * u64::from(answered) / 10, "{probed}");
            }
        }
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn programs_that_say_something_are_left_alone() {
    let ends: [fn(u32, u16) -> Packet; 5] = [
        |n, port| end(n, port, FIN_ACK, 68, &[]),
        |n, port| end(n, port, RST, 300, &[]),
        |n, port| end(n, port, RST_ACK, 1, &[]),
        // All that it says, and the end, in one segment.
        |n, port| end(n, port, FIN_ACK, 0, b"GET /\r\n"),
        // It ends nothing: its peer will.
        |n, port| end(n, port, ACK, 0, &[]),
    ];
    for end in ends {
        let mut scene = Scene::new(RULES);
        assert_eq!(scene.look_around(5, any, end), None);
        assert_eq!(scene.offences(), []);
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn monitoring_by_bare_connections_is_left_alone() {
    let mut scene = Scene::new(RULES);
    assert_eq!(scene.look_around(9, same, |n, port| end(n, port, FIN_ACK, 0, &[])), None);
    assert_eq!(scene.offences(), []);
}

/// Neither the peers nor anybody else can end a tenant's connections in its name.
#[test]
#[ignore = "needs root: BPF programs"]
fn only_the_source_itself_can_have_said_nothing() {
    let mut scene = Scene::new(RULES);
    for n in 0..100 {
        assert_eq!(scene.open(n, any(n), n % 2 == 0), None);
        let numbers = (78, first(n).wrapping_add(1));
        for flags in [RST, RST_ACK, FIN_ACK] {
            assert_eq!(scene.down(&tcp(&host(n), ACME, (any(n), 40_000), numbers, flags, &[])), None);
            // Of another source of the same tenant, and of an end that nobody answered.
            let sequence = first(n).wrapping_add(1);
            scene.pass([tcp(SIBLING, &host(n), (40_000, any(n)), (sequence, 1), flags, &[])]);
            scene.pass([tcp(ACME, &host(n + 1_000), (40_000, any(n)), (sequence, 1), flags, &[])]);
        }
        scene.wait(SECOND_NS / 5);
    }
    assert_eq!(scene.offences(), []);
    let watched = scene.engine().watched(ACME.parse().unwrap()).unwrap();
    assert!(watched.counts.iter().all(|count| count.probed == 0), "{watched:?}");
}

#[test]
#[ignore = "needs root: BPF programs"]
fn an_end_counts_once() {
    let mut scene = Scene::new(WATCHING);
    for n in 0..20 {
        assert_eq!(scene.open(n, any(n), true), None);
        scene.pass([RST, FIN_ACK, RST].map(|flags| end(n, any(n), flags, 0, &[])));
    }
    assert_eq!(scene.ports_probed(ACME), [(20, 20, 20); 2]);
}

/// What the source sent is the number of its last segment and what that carries, behind all headers and options.
#[test]
#[ignore = "needs root: BPF programs"]
fn ends_are_read_behind_headers_and_options() {
    const V6: &str = "2001:db8:10::1";
    let mut scene = Scene::new(WATCHING);
    for n in 0..40 {
        let far = format!("2600::{n:x}");
        scene.pass([tcp(V6, &far, (40_000, 443), (first(n), 0), 0x02, &[])]);
        let accept = tcp(&far, V6, (443, 40_000), (77, first(n).wrapping_add(1)), SYN_ACK, &[]);
        assert_eq!(scene.down(&accept), None);
        // With the option of timestamps (RFC 7323), and with data behind it in every second segment.
        let rest =
            [&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2][..], if n % 2 == 0 { &[] } else { b"hello" }].concat();
        let mut segment = fairway_tests::frames::tcp(40_000, 443, &rest);
        segment[4..8].copy_from_slice(&first(n).wrapping_add(1).to_be_bytes());
        (segment[12], segment[13]) = (0x80, FIN_ACK);
        let end = packet(V6, &far, number::TCP, segment);
        scene.pass([end.extension(number::DESTINATION_OPTIONS, &[0, 0, 1, 4, 0, 0, 0, 0])]);
    }
    assert_eq!(scene.ports_probed(V6), [(40, 40, 20); 2]);
}

/// Where many fail, answers that were not made use of pay for no more contacts.
#[test]
#[ignore = "needs root: BPF programs"]
fn answers_that_are_not_made_use_of_do_not_pay() {
    for (flags, sent_bytes, least, most) in [(RST, 0, 64, 76), (RST, 68, 150, 400)] {
        let mut scene = Scene::new(WATCHING);
        let mut passed = 0;
        for n in 0..400 {
            // Three of five answer.
            let is_answered = n % 5 < 3;
            if scene.open(n, 443, is_answered).is_some() {
                continue;
            }
            passed += 1;
            if is_answered {
                scene.pass([end(n, 443, flags, sent_bytes, &[])]);
            }
        }
        assert!((least..=most).contains(&passed), "{sent_bytes} bytes: {passed}");
    }
}

/// Resets refuse, where it was the other who asked.
#[test]
#[ignore = "needs root: BPF programs"]
fn tenants_refuse_each_other() {
    let mut scene = Scene::new(WATCHING);
    let nested = |n: u32| Ipv4Addr::from_bits(0xc612_0000 + n).to_string();
    scene.pass((0..30).map(|n| syn(ACME, &nested(n), 40_000, 8_443)));
    scene.pass((0..30).map(|n| segment(&nested(n), ACME, (8_443, 40_000), RST_ACK)));
    let watched = scene.engine().watched(ACME.parse().unwrap()).unwrap();
    let hosts = watched.counts.iter().filter(|count| count.what == "tcp_hosts");
    let counted: Vec<_> = hosts.map(|count| (count.attempted, count.answered, count.rejected)).collect();
    assert_eq!(counted, [(30, 0, 30); 2]);
}
