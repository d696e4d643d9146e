//! Lengths and versions that lie: one parser sees the ports, another does not.

use gateway_ebpf::DropReason::Malformed;

use super::{ACME4, ACME6, Case, MX4, MX6, case};
use crate::bench::Expected::{Dropped, Refused, Unmatched};
use crate::bench::{down, up};
use crate::frames::{ethernet, number, packet, syn, tcp, udp};

/// Where the IP header begins in a frame without tags.
const IP: usize = 14;

pub(super) fn cases() -> Vec<Case> {
    let (of_acme, refused) = (Dropped("acme", Malformed), Refused(Malformed));
    let mail4 = || syn(ACME4, MX4, 40_000, 25);
    let mail6 = || syn(ACME6, MX6, 40_000, 25);
    let offset = |words: u8| {
        let mut segment = tcp(40_000, 25, &[]);
        segment[12] = words << 4;
        packet(ACME4, MX4, number::TCP, segment).frame()
    };
    let first_byte = |value: u8| {
        let mut frame = mail4().frame();
        frame[IP] = value;
        frame
    };
    vec![
        case(
            "ports-in-the-padding",
            [
                up("the packet ends before TCP", mail4().lie_about_length(-20).frame(), of_acme),
                up("the packet ends within TCP", mail4().lie_about_length(-8).frame(), of_acme),
                up("the packet ends before TCP, IPv6", mail6().lie_about_length(-20).frame(), of_acme),
            ],
        ),
        case(
            "longer-than-the-frame",
            [
                up("IPv4", mail4().lie_about_length(1_000).frame(), refused),
                up("IPv6", mail6().lie_about_length(1_000).frame(), refused),
                down("in", syn(MX4, ACME4, 40_000, 25).lie_about_length(1_000).frame(), Unmatched),
            ],
        ),
        case(
            "shorter-than-its-header",
            [
                up("total length 10", mail4().lie_about_length(-30).frame(), refused),
                up("total length 0", mail4().lie_about_length(-40).frame(), refused),
            ],
        ),
        case(
            "header-length",
            [
                up("four words", first_byte(0x44), refused),
                up("none", first_byte(0x40), refused),
                up("15 words, over the ports", first_byte(0x4f), refused),
            ],
        ),
        case(
            "wrong-version",
            [
                up("6 by an EtherType of IPv4", first_byte(0x65), refused),
                up("0", first_byte(0x05), refused),
                up("4 by an EtherType of IPv6", mail6().version(4).frame(), refused),
            ],
        ),
        case(
            "tcp-data-offset",
            [
                up("four words", offset(4), of_acme),
                up("none", offset(0), of_acme),
                up("beyond the packet", offset(15), of_acme),
            ],
        ),
        case(
            "cut-headers",
            [
                up("IPv4", mail4().frame()[..IP + 12].to_vec(), refused),
                up("IPv6", mail6().frame()[..IP + 30].to_vec(), refused),
                up("only an EtherType", ethernet(&[], number::IPV4, &[]), refused),
                up("UDP", packet(ACME4, MX4, number::UDP, udp(1, 2, &[])[..4].to_vec()).frame(), of_acme),
            ],
        ),
    ]
}
