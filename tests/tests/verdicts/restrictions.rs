//! Suspended tenants (policy rule E1): what each scope leaves them, and the walled garden.

use fairway_tests::frames::{Packet, datagram, ethernet, number, packet, segment, syn};
use gateway::domain::Scope;
use gateway_ebpf::DropReason::{SmtpBlocked, Suspended};

use crate::TENANTS;
use crate::bench::Expected::{Dropped, LinkControl, Passed};
use crate::bench::{Bench, config, down, suspending, up};

const ACME4: &str = "203.0.113.1";
const ACME6: &str = "2001:db8:10::1";
const WEB4: &str = "192.0.2.80";
const PORTAL4: &str = "198.51.100.80";
const PORTAL6: &str = "2001:db8:ffff::80";
const GARDEN: &str = "[walled_garden]\nhosts = [\"198.51.100.80/32\", \"2001:db8:ffff::/64\"]\n";

fn suspended(scopes: &[Scope]) -> Bench {
    let mut bench = Bench::new(&format!("{GARDEN}{TENANTS}"));
    bench.suspend("acme", scopes);
    bench
}

fn discovery(source: &str, destination: &str) -> Packet {
    packet(source, destination, number::ICMPV6, vec![135, 0, 0, 0, 0, 0, 0, 0])
}

const ACK: u8 = 0x10;
const SYN_ACK: u8 = 0x12;

#[test]
#[ignore = "needs root: BPF programs"]
fn everything_leaves_only_the_garden() {
    let closed = Dropped("acme", Suspended);
    suspended(&[Scope::Everything]).check_all(&[
        up("web", syn(ACME4, WEB4, 4_000, 443).frame(), closed),
        up("an answer", segment(ACME4, WEB4, (443, 4_000), ACK).frame(), closed),
        up("DNS elsewhere", datagram(ACME4, WEB4, (4_000, 53), 20).frame(), closed),
        up("ping", packet(ACME4, WEB4, 1, vec![8, 0, 0, 0, 0, 0, 0, 0]).frame(), closed),
        up(
            "a later fragment",
            packet(ACME4, WEB4, number::UDP, vec![0; 64]).fragment(9, false).frame(),
            closed,
        ),
        up("IPv6", syn(ACME6, "2001:db8:fffe::1", 4_000, 443).frame(), closed),
        down("web in", syn(WEB4, ACME4, 4_000, 443).frame(), closed),
        up("the portal", syn(ACME4, PORTAL4, 4_000, 443).frame(), Passed("acme")),
        up("the portal, IPv6", syn(ACME6, PORTAL6, 4_000, 443).frame(), Passed("acme")),
        up("a name server there", datagram(ACME6, PORTAL6, (4_000, 53), 20).frame(), Passed("acme")),
        down("the portal's answer", segment(PORTAL4, ACME4, (443, 4_000), SYN_ACK).frame(), Passed("acme")),
        // The garden opens no closed ports.
        up("mail to the portal", syn(ACME4, PORTAL4, 4_000, 25).frame(), Dropped("acme", SmtpBlocked)),
        up("discovery of its router", discovery(ACME6, "ff02::1:ff00:1").hops(255).frame(), LinkControl),
        up("telling its router", discovery(ACME6, "fe80::1").hops(255).frame(), LinkControl),
        up(
            "a router in its own network",
            discovery(ACME6, "2001:db8:10::ff").hops(255).frame(),
            Passed("acme"),
        ),
        up("no discovery: far away", discovery(ACME6, "2001:db8:fffe::1").hops(255).frame(), closed),
        up("no discovery: forwarded", discovery(ACME6, "fe80::1").hops(254).frame(), closed),
        up("ARP", ethernet(&[], number::ARP, &[0; 46]), LinkControl),
        up("another tenant", syn("198.18.0.1", WEB4, 4_000, 443).frame(), Passed("nested")),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn outbound_leaves_answers() {
    let closed = Dropped("acme", Suspended);
    suspended(&[Scope::Outbound]).check_all(&[
        up("opening a connection", syn(ACME4, WEB4, 4_000, 443).frame(), closed),
        up("opening one with data in it", segment(ACME4, WEB4, (4_000, 443), 0x0a).frame(), closed),
        up("a datagram", datagram(ACME4, WEB4, (4_000, 53), 20).frame(), closed),
        up("answering", segment(ACME4, WEB4, (443, 4_000), SYN_ACK).frame(), Passed("acme")),
        up("going on", segment(ACME4, WEB4, (443, 4_000), ACK).frame(), Passed("acme")),
        down("being asked", syn(WEB4, ACME4, 4_000, 443).frame(), Passed("acme")),
        down("a datagram in", datagram(WEB4, ACME4, (53, 4_000), 20).frame(), Passed("acme")),
        up("the portal", syn(ACME4, PORTAL4, 4_000, 443).frame(), Passed("acme")),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn mail_closes_mail_alone() {
    let exempt = TENANTS.replacen(
        "contact = \"admin@acme.example\"",
        "contact = \"admin@acme.example\"\n[[tenant.smtp_exemption]]\ndirection = \"both\"\nticket = \"T\"\napproved_by = \"x\"\nexpires = 2099-01-01\n",
        1,
    );
    let mut bench = Bench::new(&exempt);
    let mail = || syn(ACME4, WEB4, 4_000, 25).frame();
    bench.check(&up("exempt", mail(), Passed("acme")));
    bench.suspend("acme", &[Scope::Mail]);
    let closed = Dropped("acme", Suspended);
    bench.check_all(&[
        up("exempt, suspended", mail(), closed),
        up("submission", syn(ACME4, WEB4, 4_000, 587).frame(), closed),
        down("mail in", syn(WEB4, ACME4, 4_000, 25).frame(), closed),
        down("an answer from port 25", segment(WEB4, ACME4, (25, 4_000), SYN_ACK).frame(), closed),
        up("web", syn(ACME4, WEB4, 4_000, 443).frame(), Passed("acme")),
    ]);
    bench.suspend("acme", &[]);
    bench.check(&up("restored", mail(), Passed("acme")));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn mail_and_outbound_close_both_and_each_is_given_back_by_itself() {
    let mut bench = suspended(&[Scope::Mail, Scope::Outbound]);
    let closed = Dropped("acme", Suspended);
    let mail_in = || syn(WEB4, ACME4, 4_000, 587).frame();
    let opening = || syn(ACME4, WEB4, 4_000, 443).frame();
    bench.check_all(&[
        down("mail in", mail_in(), closed),
        up("opening a connection", opening(), closed),
        down("web in", syn(WEB4, ACME4, 4_000, 443).frame(), Passed("acme")),
    ]);
    bench.suspend("acme", &[Scope::Outbound]);
    bench.check_all(&[
        down("mail in, given back", mail_in(), Passed("acme")),
        up("opening a connection, still closed", opening(), closed),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_suspension_survives_reloads() {
    let mut bench = Bench::new(&format!("{GARDEN}{TENANTS}"));
    let web = || syn(ACME4, WEB4, 4_000, 443).frame();
    let config = config(&format!("{GARDEN}{TENANTS}"));
    for _ in 0..3 {
        bench.engine().apply(&suspending(&config, [("acme", Scope::Everything)])).unwrap();
        bench.check(&up("after a reload", web(), Dropped("acme", Suspended)));
    }
    bench.suspend("acme", &[]);
    bench.check(&up("restored", web(), Passed("acme")));
}
