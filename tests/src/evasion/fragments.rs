//! Ports hidden in fragments, or overwritten by them.

use gateway_ebpf::DropReason::{Fragment, SmtpBlocked};

use super::{ACME4, ACME6, Case, MX4, MX6, case};
use crate::bench::Expected::{Dropped, Passed};
use crate::bench::{Fixture, down, up};
use crate::frames::{Packet, number, packet, syn, tcp, udp};

/// Options of eight bytes: a pad of six.
const PAD: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

pub(super) fn cases() -> Vec<Case> {
    let blocked = Dropped("acme", SmtpBlocked);
    let fragment = Dropped("acme", Fragment);
    let passed = Passed("acme");
    // A whole segment to port 25, to be cut.
    let mail = || tcp(40_000, 25, &[0x20; 40]);
    let piece4 = |bytes: &[u8]| packet(ACME4, MX4, number::TCP, bytes.to_vec());
    let piece6 = |bytes: &[u8]| packet(ACME6, MX6, number::TCP, bytes.to_vec());
    vec![
        case(
            "tiny-first-fragment",
            [
                up("ports, but no flags", piece4(&mail()[..8]).fragment(0, true).frame(), fragment),
                up("the rest of the header", piece4(&mail()[8..]).fragment(1, false).frame(), fragment),
                up("all but the last eight bytes", piece4(&mail()[..16]).fragment(0, true).frame(), fragment),
            ],
        ),
        case(
            "tiny-first-fragment-ipv6",
            [
                up("ports, but no flags", piece6(&mail()[..8]).fragment(0, true).frame(), fragment),
                up("the rest of the header", piece6(&mail()[8..]).fragment(1, false).frame(), fragment),
            ],
        ),
        case(
            "empty-first-fragment",
            [
                up("no byte of TCP", piece4(&[]).fragment(0, true).frame(), fragment),
                up("no byte of TCP, IPv6", piece6(&[]).fragment(0, true).frame(), fragment),
            ],
        ),
        case("overlapping-fragments", overlapping()),
        case(
            "second-first-fragment",
            [
                up("first, to port 80", syn(ACME4, MX4, 40_000, 80).fragment(0, true).frame(), passed),
                up("first again, to port 25", piece4(&mail()).fragment(0, true).frame(), blocked),
                up("last, one byte, to no effect", piece4(&[0]).fragment(8, false).frame(), passed),
            ],
        ),
        case(
            "later-fragment-first",
            [
                up("the end", piece4(&mail()[40..]).fragment(5, false).frame(), passed),
                up("the beginning", piece4(&mail()[..40]).fragment(0, true).frame(), blocked),
            ],
        ),
        case(
            "atomic-fragment",
            [
                up("IPv6, the whole of it", piece6(&mail()).fragment(0, false).frame(), blocked),
                up(
                    "with options behind",
                    piece6(&mail()).fragment(0, false).extension(number::DESTINATION_OPTIONS, &PAD).frame(),
                    blocked,
                ),
            ],
        ),
        case(
            "nested-fragments",
            [
                up(
                    "atomic in atomic",
                    piece6(&mail()).fragment(0, false).fragment(0, false).frame(),
                    blocked,
                ),
                up("atomic in first", piece6(&mail()).fragment(0, true).fragment(0, false).frame(), blocked),
                up(
                    "later in atomic",
                    piece6(&mail()[8..]).fragment(0, false).fragment(1, false).frame(),
                    fragment,
                ),
                up(
                    "tiny first in first",
                    piece6(&mail()[..8]).fragment(0, true).fragment(0, true).frame(),
                    fragment,
                ),
            ],
        ),
        case("header-chain-in-two-fragments", chain_in_two()),
        case(
            "overlap-behind-options",
            [
                up(
                    "options, then TCP to port 80",
                    syn(ACME6, MX6, 40_000, 80)
                        .fragment(0, true)
                        .extension(number::DESTINATION_OPTIONS, &PAD)
                        .frame(),
                    passed,
                ),
                up(
                    "over it: TCP to port 25",
                    packet(ACME6, MX6, number::DESTINATION_OPTIONS, mail()).fragment(1, false).frame(),
                    passed,
                ),
            ],
        ),
        case("honest-fragments", honest()),
    ]
}

/// Later fragments over a TCP header that passed.
fn overlapping() -> Vec<Fixture> {
    let (passed, fragment) = (Passed("acme"), Dropped("acme", Fragment));
    let over = |source, destination| packet(source, destination, number::TCP, vec![0x19; 32]);
    vec![
        up("first, to port 80", syn(ACME4, MX4, 40_000, 80).fragment(0, true).frame(), passed),
        up("over sequence number and flags", over(ACME4, MX4).fragment(1, true).frame(), fragment),
        up("over checksum and urgent pointer", over(ACME4, MX4).fragment(2, false).frame(), fragment),
        up("over the flags, IPv6", over(ACME6, MX6).fragment(1, false).frame(), fragment),
        down("over the flags, in", over(MX4, ACME4).fragment(1, false).frame(), fragment),
    ]
}

/// The ports are in the second fragment; the first is full of options.
fn chain_in_two() -> Vec<Fixture> {
    let cut = packet(ACME6, MX6, number::TCP, vec![]).fragment(0, true);
    // Says that it is 24 bytes long, and ends after eight.
    let longer = cut.extension(number::DESTINATION_OPTIONS, &[0, 2, 1, 4, 0, 0, 0, 0]);
    let rest = [&[1, 6, 0, 0, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0][..], &tcp(40_000, 25, &[])].concat();
    let rest = packet(ACME6, MX6, number::DESTINATION_OPTIONS, rest).fragment(1, false);
    vec![
        up("options that go on in the next", longer.frame(), Dropped("acme", Fragment)),
        up("the rest, and TCP to port 25", rest.frame(), Passed("acme")),
    ]
}

/// Large datagrams that must get through.
fn honest() -> Vec<Fixture> {
    let answer = udp(53, 40_000, &[0x55; 2_000]);
    let parts = |source, destination| -> [Packet; 2] {
        [
            packet(source, destination, number::UDP, answer[..1_232].to_vec()).fragment(0, true),
            packet(source, destination, number::UDP, answer[1_232..].to_vec()).fragment(154, false),
        ]
    };
    let ([first4, last4], [first6, last6]) = (parts(MX4, ACME4), parts(MX6, ACME6));
    vec![
        down("a large DNS answer", first4.frame(), Passed("acme")),
        down("its end", last4.frame(), Passed("acme")),
        down("a large DNS answer, IPv6", first6.frame(), Passed("acme")),
        down("its end", last6.frame(), Passed("acme")),
    ]
}
