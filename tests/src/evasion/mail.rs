//! Mail past a closed port 25 by sound packets.

use gateway_ebpf::DropReason::SmtpBlocked;

use super::{ACME4, ACME6, Case, MX4, MX6, case};
use crate::bench::Expected::{Dropped, Passed};
use crate::bench::{down, up};
use crate::frames::{number, packet, syn, tcp};

/// May send mail to the one host, in no other way.
const MAILER4: &str = "203.0.113.17";
const MAILER6: &str = "2001:db8:20::1";

pub(super) fn cases() -> Vec<Case> {
    let blocked = Dropped("acme", SmtpBlocked);
    let of_mailer = Dropped("mailer", SmtpBlocked);
    let options = |options: &[u8]| syn(ACME4, MX4, 40_000, 25).options(options).frame();
    let flags = |flags: u8| {
        let mut segment = tcp(40_000, 25, &[]);
        segment[13] = flags;
        packet(ACME4, MX4, number::TCP, segment).frame()
    };
    // Loose source route (RFC 791): by way of the destination to 192.0.2.26.
    let source_route = [131, 7, 4, 192, 0, 2, 26, 0];
    vec![
        case(
            "asymmetric-mail",
            [
                down("an answer of a mail host", syn(MX4, ACME4, 25, 40_000).frame(), blocked),
                down("an answer of a mail host, IPv6", syn(MX6, ACME6, 25, 40_000).frame(), blocked),
            ],
        ),
        case(
            "asymmetric-mail-from-a-known-port",
            [
                down("an answer to port 587", syn(MX4, ACME4, 25, 587).frame(), blocked),
                down("an answer to port 465", syn(MX4, ACME4, 25, 465).frame(), blocked),
                down("an answer to port 25", syn(MX4, ACME4, 25, 25).frame(), blocked),
                down("an answer to port 587, IPv6", syn(MX6, ACME6, 25, 587).frame(), blocked),
            ],
        ),
        case(
            "answering-as-a-mail-host",
            [
                up("from port 25", syn(ACME4, MX4, 25, 40_000).frame(), blocked),
                up("from port 25 to port 25", syn(ACME4, MX4, 25, 25).frame(), blocked),
            ],
        ),
        case(
            "ipv4-options",
            [
                up("40 bytes of nothing", options(&[1; 40]), blocked),
                up("router alert", options(&[148, 4, 0, 0]), blocked),
                up("source route", options(&source_route), blocked),
                up("an option of length 0", options(&[7, 0, 0, 0]), blocked),
            ],
        ),
        case(
            "odd-tcp-flags",
            [
                up("none", flags(0), blocked),
                up("ACK, of no connection", flags(0x10), blocked),
                up("SYN and FIN", flags(0x03), blocked),
                up("all", flags(0xff), blocked),
            ],
        ),
        case(
            "next-to-an-exempt-peer",
            [
                up("the peer", syn(MAILER4, MX4, 40_000, 25).frame(), Passed("mailer")),
                up("its neighbour", syn(MAILER4, "192.0.2.26", 40_000, 25).frame(), of_mailer),
                up("its neighbour, IPv6", syn(MAILER6, "2001:db8:ffff::26", 40_000, 25).frame(), of_mailer),
                down("the peer, in", syn(MX4, MAILER4, 40_000, 25).frame(), of_mailer),
                down("the peer, in, from port 25", syn(MX4, MAILER4, 25, 25).frame(), of_mailer),
            ],
        ),
        case(
            "source-route-by-an-exempt-peer",
            [up("loose", syn(MAILER4, MX4, 40_000, 25).options(&source_route).frame(), Passed("mailer"))],
        ),
    ]
}
