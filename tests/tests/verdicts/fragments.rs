//! No way round a closed port by fragments or extension headers.

use fairway_tests::frames::{number, packet, syn, tcp, udp};
use gateway_ebpf::DropReason::{Fragment, HeaderChain, Malformed, SmtpBlocked};

use crate::TENANTS;
use crate::bench::Expected::{self, Dropped, Passed};
use crate::bench::{Bench, down, up};

const ACME4: &str = "203.0.113.1";
const ACME6: &str = "2001:db8:10::1";
const NESTED4: &str = "198.18.0.1";
const MX4: &str = "192.0.2.25";
const MX6: &str = "2001:db8:ffff::25";

/// Options of eight bytes: a pad of six.
const PAD: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

#[test]
#[ignore = "needs root: BPF programs"]
fn fragments_of_ipv4() {
    let blocked = Dropped("acme", SmtpBlocked);
    let piece = |length: usize| packet(ACME4, MX4, number::TCP, vec![0x19; length]);
    let tiny = |length: usize| packet(ACME4, MX4, number::TCP, tcp(1, 80, &[])[..length].to_vec());
    Bench::new(TENANTS).check_all(&[
        up("first, to port 25", syn(ACME4, MX4, 4_000, 25).fragment(0, true).frame(), blocked),
        up("first, to port 80", syn(ACME4, MX4, 4_000, 80).fragment(0, true).frame(), Passed("acme")),
        up("later", piece(64).fragment(100, true).frame(), Passed("acme")),
        up("last", piece(64).fragment(108, false).frame(), Passed("acme")),
        up("tiny first: no ports", tiny(8).fragment(0, true).frame(), Dropped("acme", Fragment)),
        up("tiny first: no flags", tiny(16).fragment(0, true).frame(), Dropped("acme", Fragment)),
        up("over the flags", piece(32).fragment(1, false).frame(), Dropped("acme", Fragment)),
        up("over the checksum", piece(32).fragment(2, true).frame(), Dropped("acme", Fragment)),
        up("behind the header", piece(32).fragment(3, true).frame(), Passed("acme")),
        up(
            "UDP, a large answer's end",
            packet(ACME4, MX4, number::UDP, vec![0; 64]).fragment(1, false).frame(),
            Passed("acme"),
        ),
        up(
            "UDP first",
            packet(ACME4, MX4, number::UDP, udp(53, 4_000, &[0; 64])).fragment(0, true).frame(),
            Passed("acme"),
        ),
        down("first, in, to port 25", syn(MX4, ACME4, 4_000, 25).fragment(0, true).frame(), blocked),
        down(
            "over the flags, in",
            packet(MX4, ACME4, number::TCP, vec![0; 32]).fragment(1, false).frame(),
            Dropped("acme", Fragment),
        ),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_tenant_may_have_none() {
    let fragment = |source: &str, destination: &str, offset_units: u16, more: bool| {
        let datagram = packet(source, destination, number::UDP, udp(53, 4_000, &[0; 64]));
        datagram.fragment(offset_units, more).frame()
    };
    let rows = |acme: Expected<&'static str>, nested: Expected<&'static str>| {
        [
            up("first", fragment(ACME4, MX4, 0, true), acme),
            up("later", fragment(ACME4, MX4, 100, true), acme),
            up("last, IPv6", fragment(ACME6, MX6, 100, false), acme),
            down("a large DNS answer", fragment(MX4, ACME4, 0, true), acme),
            down("its end, IPv6", fragment(MX6, ACME6, 100, false), acme),
            up("an atomic fragment is whole", fragment(ACME6, MX6, 0, false), Passed("acme")),
            up("whole", packet(ACME4, MX4, number::UDP, udp(53, 4_000, &[0; 64])).frame(), Passed("acme")),
            up("another tenant's", fragment(NESTED4, MX4, 100, true), nested),
        ]
    };
    let (acme, nested) = (Dropped("acme", Fragment), Dropped("nested", Fragment));
    let own = TENANTS.replacen("id = \"acme\"", "id = \"acme\"\nfragments = \"drop\"", 1);
    Bench::new(&own).check_all(&rows(acme, Passed("nested")));
    Bench::new(&format!("fragments = \"drop\"\n{TENANTS}")).check_all(&rows(acme, nested));
    let exception = TENANTS.replacen("id = \"acme\"", "id = \"acme\"\nfragments = \"allow\"", 1);
    Bench::new(&format!("fragments = \"drop\"\n{exception}")).check_all(&rows(Passed("acme"), nested));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn extension_headers_and_fragments_of_ipv6() {
    let blocked = Dropped("acme", SmtpBlocked);
    let mail = || syn(ACME6, MX6, 4_000, 25);
    let web = || syn(ACME6, MX6, 4_000, 80);
    let chain = |count: usize| {
        (0..count).fold(mail(), |packet, _| packet.extension(number::DESTINATION_OPTIONS, &PAD))
    };
    let long = {
        let mut options = vec![0_u8, 255];
        options.resize(2_048, 0);
        options
    };
    Bench::new(TENANTS).check_all(&[
        up("hop by hop", mail().extension(number::HOP_BY_HOP, &PAD).frame(), blocked),
        up("destination options", mail().extension(number::DESTINATION_OPTIONS, &PAD).frame(), blocked),
        up("routing", mail().extension(number::ROUTING, &[0, 0, 4, 0, 0, 0, 0, 0]).frame(), blocked),
        up(
            "authentication",
            mail().extension(number::AUTHENTICATION, &[0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]).frame(),
            blocked,
        ),
        up("mobility", mail().extension(135, &PAD).frame(), blocked),
        up("the longest options", mail().extension(number::DESTINATION_OPTIONS, &long).frame(), blocked),
        up("atomic fragment", mail().fragment(0, false).frame(), blocked),
        up(
            "options behind an atomic fragment",
            mail().fragment(0, false).extension(number::DESTINATION_OPTIONS, &PAD).frame(),
            blocked,
        ),
        up("first fragment", mail().fragment(0, true).frame(), blocked),
        up("first fragment, to port 80", web().fragment(0, true).frame(), Passed("acme")),
        up("eight headers", chain(8).frame(), blocked),
        up("nine headers", chain(9).frame(), Dropped("acme", HeaderChain)),
        down(
            "nine headers, in",
            {
                (0..9)
                    .fold(syn(MX6, ACME6, 4_000, 25), |packet, _| {
                        packet.extension(number::DESTINATION_OPTIONS, &PAD)
                    })
                    .frame()
            },
            Dropped("acme", HeaderChain),
        ),
        up(
            "chain longer than the packet",
            packet(ACME6, MX6, number::TCP, vec![])
                .extension(number::DESTINATION_OPTIONS, &[0, 9, 1, 4, 0, 0, 0, 0])
                .frame(),
            Dropped("acme", Malformed),
        ),
        up(
            "chain split over fragments (RFC 7112)",
            packet(ACME6, MX6, number::TCP, vec![])
                .fragment(0, true)
                .extension(number::DESTINATION_OPTIONS, &[0, 9, 1, 4, 0, 0, 0, 0])
                .frame(),
            Dropped("acme", Fragment),
        ),
        up(
            "tiny first",
            packet(ACME6, MX6, number::TCP, tcp(1, 80, &[])[..8].to_vec()).fragment(0, true).frame(),
            Dropped("acme", Fragment),
        ),
        up("later", packet(ACME6, MX6, number::TCP, vec![0; 64]).fragment(90, true).frame(), Passed("acme")),
        up(
            "over the flags",
            packet(ACME6, MX6, number::TCP, vec![0; 64]).fragment(1, true).frame(),
            Dropped("acme", Fragment),
        ),
        up(
            "later, of options",
            packet(ACME6, MX6, number::DESTINATION_OPTIONS, vec![0xff; 64]).fragment(90, true).frame(),
            Passed("acme"),
        ),
        up("no next header", packet(ACME6, MX6, 59, vec![0; 8]).frame(), Passed("acme")),
        up("fragment within a first fragment", mail().fragment(0, true).fragment(0, true).frame(), blocked),
    ]);
}
