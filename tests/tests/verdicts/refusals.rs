//! Refusal instead of silence (policy rule M3): the answers that the programs make, read by etherparse.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use fairway_tests::frames::{Packet, datagram, number, packet, syn, tcp};
use gateway::config::Side;
use gateway::dataplane::Verdict;

use crate::TENANTS;
use crate::bench::{Bench, START_NS};

const ACME4: &str = "203.0.113.1";
const ACME6: &str = "2001:db8:10::1";
const MX4: &str = "192.0.2.25";
const MX6: &str = "2001:db8:ffff::25";

const REFUSING: &str = r#"
[smtp]
refuse = "reset"
[[closed_port]]
name = "memcached"
protocol = "udp"
ports = [11211]
refuse = "reset"
[[closed_port]]
name = "telnet"
protocol = "tcp"
ports = [23]
"#;

fn refusing() -> Bench {
    Bench::new(&format!("{REFUSING}{TENANTS}"))
}

fn answer(bench: &mut Bench, frame: &[u8]) -> Option<Vec<u8>> {
    let (verdict, answer) = bench.engine().run_for_answer(Side::Tenant, frame).unwrap();
    assert_eq!(verdict == Verdict::Refuse, answer.is_some());
    assert_ne!(verdict, Verdict::Pass);
    answer
}

/// The answer to a packet that is refused, with the addresses that it must have.
fn refused(bench: &mut Bench, packet: &Packet) -> Vec<u8> {
    let frame = packet.frame();
    let answer = answer(bench, &frame).expect("an answer");
    assert!(answer.len() >= 60, "the shortest frame that a link carries");
    assert_eq!((&answer[..6], &answer[6..12]), (&frame[6..12], &frame[..6]), "turned round");
    answer
}

fn check_reset(answer: &[u8], from: &str, to: &str, ports: (u16, u16), expected_ack: Option<u32>) {
    let sliced = SlicedPacket::from_ethernet(answer).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("no TCP: {answer:02x?}") };
    let checksum = match sliced.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            assert_eq!(
                (header.source_addr().to_string(), header.destination_addr().to_string()),
                (from.into(), to.into())
            );
            tcp.calc_checksum_ipv4(header.source(), header.destination())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            assert_eq!(
                (header.source_addr().to_string(), header.destination_addr().to_string()),
                (from.into(), to.into())
            );
            tcp.calc_checksum_ipv6(header.source(), header.destination())
        }
        NetSlice::Arp(_) => panic!("ARP"),
    };
    assert_eq!(tcp.checksum(), checksum.unwrap());
    assert_eq!((tcp.source_port(), tcp.destination_port()), ports);
    assert!(tcp.rst());
    assert_eq!(tcp.ack().then_some(tcp.acknowledgment_number()), expected_ack);
    assert!(tcp.payload().is_empty());
}

#[test]
#[ignore = "needs root: BPF programs"]
fn connections_to_closed_ports_are_reset() {
    let mut bench = refusing();
    // The frames module sends sequence number 1; SYN takes one.
    let v4 = syn(ACME4, MX4, 4_000, 25);
    for packet in [
        v4.clone(),
        v4.clone().options(&[1; 8]),
        v4.clone().tag(0x8100, 7),
        v4.clone().tag(0x88a8, 7).tag(0x8100, 8),
    ] {
        check_reset(&refused(&mut bench, &packet), MX4, ACME4, (25, 4_000), Some(2));
    }
    let v6 = syn(ACME6, MX6, 4_000, 25);
    let pad = [0, 0, 1, 4, 0, 0, 0, 0];
    for packet in
        [v6.clone(), v6.clone().tag(0x8100, 7), v6.clone().extension(number::DESTINATION_OPTIONS, &pad)]
    {
        check_reset(&refused(&mut bench, &packet), MX6, ACME6, (25, 4_000), Some(2));
    }
    // In the middle of a connection (an exemption has lapsed): at the sequence number that is expected.
    let mut segment = tcp(4_000, 25, b"MAIL FROM:<a@acme.example>\r\n");
    segment[8..12].copy_from_slice(&77_u32.to_be_bytes());
    segment[13] = 0x18;
    let reset = refused(&mut bench, &packet(ACME4, MX4, number::TCP, segment));
    check_reset(&reset, MX4, ACME4, (25, 4_000), None);
    let sliced = SlicedPacket::from_ethernet(&reset).unwrap();
    assert!(matches!(sliced.transport, Some(TransportSlice::Tcp(tcp)) if tcp.sequence_number() == 77));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn datagrams_to_closed_ports_are_prohibited() {
    let mut bench = refusing();
    for length in [0, 8, 400, 1_400] {
        let frame = datagram(ACME4, MX4, (4_000, 11_211), length);
        let answer = refused(&mut bench, &frame.clone().tag(0x8100, 7));
        let sliced = SlicedPacket::from_ethernet(&answer).unwrap();
        let Some(TransportSlice::Icmpv4(icmp)) = &sliced.transport else { panic!("no ICMP") };
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 13));
        assert_eq!(icmp.payload(), &frame.frame()[14..42], "quotes the header and eight bytes");

        let frame = datagram(ACME6, MX6, (4_000, 11_211), length);
        let answer = refused(&mut bench, &frame);
        let sliced = SlicedPacket::from_ethernet(&answer).unwrap();
        let Some(NetSlice::Ipv6(ip)) = &sliced.net else { panic!("no IPv6") };
        let Some(TransportSlice::Icmpv6(icmp)) = &sliced.transport else { panic!("no ICMPv6") };
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (1, 1));
        assert_eq!(icmp.payload(), &frame.frame()[14..62]);
        assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn some_packets_are_dropped_in_silence() {
    let mut bench = refusing();
    let mut reset = tcp(4_000, 25, &[]);
    reset[13] = 0x04;
    let mut to_a_group = syn(ACME4, MX4, 4_000, 25).frame();
    to_a_group[0] |= 1;
    for (what, frame) in [
        ("a reset", packet(ACME4, MX4, number::TCP, reset).frame()),
        ("a frame to many", to_a_group),
        ("a multicast", datagram(ACME4, "224.1.2.3", (4_000, 11_211), 8).frame()),
        ("an IPv6 multicast", datagram(ACME6, "ff0e::1", (4_000, 11_211), 8).frame()),
        ("a first fragment", syn(ACME4, MX4, 4_000, 25).fragment(0, true).frame()),
        ("a port that is not refused", syn(ACME4, MX4, 4_000, 23).frame()),
        ("a malformed packet", syn(ACME4, MX4, 4_000, 25).lie_about_length(-1).frame()),
    ] {
        assert_eq!(answer(&mut bench, &frame), None, "{what}");
    }
    let inbound = syn(MX4, ACME4, 4_000, 25).frame();
    let (verdict, _) = bench.engine().run_for_answer(Side::Uplink, &inbound).unwrap();
    assert_eq!(verdict, Verdict::Drop, "strangers are told nothing");
}

#[test]
#[ignore = "needs root: BPF programs"]
fn answers_are_limited_per_tenant() {
    let mut bench = refusing();
    let acme = syn(ACME4, MX4, 4_000, 25).frame();
    let answers = |bench: &mut Bench, count| (0..count).filter(|_| answer(bench, &acme).is_some()).count();
    // Twenty at once, and the one that crosses the line.
    assert_eq!(answers(&mut bench, 100), 21);
    bench.engine().set_clock(START_NS + 1_000_000_000);
    assert_eq!(answers(&mut bench, 100), 10);
    let neighbour = syn("198.18.0.1", MX4, 4_000, 25).frame();
    assert!(answer(&mut bench, &neighbour).is_some());
    // Answered or not, every packet is counted as dropped.
    let snapshot = bench.engine().snapshot();
    assert_eq!(snapshot.tenants[0].up.dropped_total().packets, 200);
    assert_eq!(snapshot.tenants[0].up.dropped_total().bytes, 200 * acme.len() as u64);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn silence_is_the_default() {
    let mut bench = Bench::new(TENANTS);
    assert_eq!(answer(&mut bench, &syn(ACME4, MX4, 4_000, 25).frame()), None);
}
