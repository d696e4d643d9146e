//! IPv6 extension headers between the fixed header and the ports.

use gateway_ebpf::DropReason::{HeaderChain, Malformed, SmtpBlocked};

use super::{ACME6, Case, MX6, case};
use crate::bench::Expected::{Dropped, Passed};
use crate::bench::{down, up};
use crate::frames::{Packet, number, packet, syn, tcp};

const PAD: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

fn mail() -> Packet {
    syn(ACME6, MX6, 40_000, 25)
}

fn padded(packet: Packet, headers: usize) -> Packet {
    (0..headers).fold(packet, |packet, _| packet.extension(number::DESTINATION_OPTIONS, &PAD))
}

pub(super) fn cases() -> Vec<Case> {
    let blocked = Dropped("acme", SmtpBlocked);
    let with = |number: u8, bytes: &[u8]| mail().extension(number, bytes).frame();
    let longest = {
        let mut options = vec![0, 255];
        options.resize(2_048, 0);
        options
    };
    let inward = syn(MX6, ACME6, 40_000, 25);
    vec![
        case(
            "extension-headers",
            [
                up("hop-by-hop options", with(number::HOP_BY_HOP, &PAD), blocked),
                up("destination options", with(number::DESTINATION_OPTIONS, &PAD), blocked),
                up("routing", with(number::ROUTING, &[0, 0, 4, 0, 0, 0, 0, 0]), blocked),
                up(
                    "authentication",
                    with(number::AUTHENTICATION, &[0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
                    blocked,
                ),
                up("mobility", with(135, &PAD), blocked),
                up("host identity", with(139, &PAD), blocked),
                up("Shim6", with(140, &PAD), blocked),
                down("destination options, in", inward.clone().extension(60, &PAD).frame(), blocked),
            ],
        ),
        case("eight-extension-headers", [up("eight", padded(mail(), 8).frame(), blocked)]),
        case(
            "endless-extension-headers",
            [
                up("nine", padded(mail(), 9).frame(), Dropped("acme", HeaderChain)),
                up("a hundred", padded(mail(), 100).frame(), Dropped("acme", HeaderChain)),
                down("nine, in", padded(inward, 9).frame(), Dropped("acme", HeaderChain)),
            ],
        ),
        case("longest-options", [up("2,048 bytes", with(number::DESTINATION_OPTIONS, &longest), blocked)]),
        case(
            "options-beyond-the-packet",
            [up(
                "say 80 bytes, have eight",
                packet(ACME6, MX6, number::TCP, vec![]).extension(60, &[0, 9, 1, 4, 0, 0, 0, 0]).frame(),
                Dropped("acme", Malformed),
            )],
        ),
        case(
            "routing-header",
            [
                // Type 0, one segment left: the mail host is the last one.
                up(
                    "by way of another",
                    syn(ACME6, "2001:db8:ffff::1", 40_000, 25)
                        .extension(number::ROUTING, &[&[0, 2, 0, 1, 0, 0, 0, 0][..], &[0x20; 16]].concat())
                        .frame(),
                    blocked,
                ),
            ],
        ),
        case(
            "jumbogram",
            [
                // The length field is 0; the true length stands in a hop-by-hop option (RFC 2675).
                up(
                    "length in an option",
                    mail()
                        .extension(number::HOP_BY_HOP, &[0, 0, 0xc2, 4, 0, 0, 0, 28])
                        .lie_about_length(-28)
                        .frame(),
                    Dropped("acme", Malformed),
                ),
            ],
        ),
        case(
            "no-next-header",
            [up("TCP behind it", packet(ACME6, MX6, 59, tcp(40_000, 25, &[])).frame(), Passed("acme"))],
        ),
    ]
}
