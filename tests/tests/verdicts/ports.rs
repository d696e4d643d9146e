//! Closed ports and what opens them (policy rules M1 to M3).

use fairway_tests::frames::{Packet, datagram, syn};
use gateway_ebpf::DropReason::{PortBlocked, SmtpBlocked};

use crate::TENANTS;
use crate::bench::Expected::{Dropped, Passed};
use crate::bench::{Bench, CLOSED_PORTS, down, up};

const MX4: &str = "192.0.2.25";
const MX6: &str = "2001:db8:ffff::25";
const ACME4: &str = "203.0.113.1";
const ACME6: &str = "2001:db8:10::1";

fn out(port: u16) -> Packet {
    syn(ACME4, MX4, 40_000, port)
}

#[test]
#[ignore = "needs root: BPF programs"]
fn port_25_is_closed_both_ways() {
    let blocked = Dropped("acme", SmtpBlocked);
    Bench::new(TENANTS).check_all(&[
        up("to a mail host", out(25).frame(), blocked),
        up("to a mail host, IPv6", syn(ACME6, MX6, 40_000, 25).frame(), blocked),
        up("with IPv4 options", out(25).options(&[1; 40]).frame(), blocked),
        up("tagged", out(25).tag(0x8100, 7).frame(), blocked),
        up("twice tagged", out(25).tag(0x88a8, 7).tag(0x8100, 8).frame(), blocked),
        down("from the Internet", syn(MX4, ACME4, 40_000, 25).frame(), blocked),
        down("from the Internet, IPv6", syn(MX6, ACME6, 40_000, 25).frame(), blocked),
        // A spammer elsewhere forges the tenant's address; the mail hosts answer here.
        down("an answer to mail that left elsewhere", syn(MX4, ACME4, 25, 40_000).frame(), blocked),
        down("the same over IPv6", syn(MX6, ACME6, 25, 40_000).frame(), blocked),
        down("an answer to mail that left from a port of its own", syn(MX4, ACME4, 25, 587).frame(), blocked),
        up("answering as a mail host", syn(ACME4, MX4, 25, 40_000).frame(), blocked),
        up("from port 25 to port 25", syn(ACME4, MX4, 25, 25).frame(), blocked),
        up("submission, TLS", out(465).frame(), Passed("acme")),
        up("submission", out(587).frame(), Passed("acme")),
        up("submission by custom", out(2525).frame(), Passed("acme")),
        up("port 24", out(24).frame(), Passed("acme")),
        up("port 26", out(26).frame(), Passed("acme")),
        up("UDP to port 25", datagram(ACME4, MX4, (40_000, 25), 20).frame(), Passed("acme")),
        down("UDP from port 25", datagram(MX4, ACME4, (25, 40_000), 20).frame(), Passed("acme")),
    ]);
}

const EXEMPT: &str = r#"
[smtp]
relays = ["192.0.2.53", "2001:db8:53::/64"]

[[tenant]]
id = "acme"
prefixes = ["203.0.113.0/28", "2001:db8:10::/48"]
contact = "admin@acme.example"
[[tenant.smtp_exemption]]
direction = "out"
peers = ["192.0.2.25/32", "198.51.100.0/24", "2001:db8:ffff::/64"]
ticket = "SMTP-1"
approved_by = "j.doe"
expires = 2099-01-01

[[tenant]]
id = "mailer"
prefixes = ["203.0.113.16/28", "2001:db8:20::/48"]
contact = "admin@mailer.example"
[[tenant.smtp_exemption]]
direction = "both"
ticket = "SMTP-2"
approved_by = "j.doe"
expires = 2099-01-01

[[tenant]]
id = "renter"
prefixes = ["203.0.113.32/28", "2001:db8:30::/48"]
contact = "admin@renter.example"
relay = true

[[tenant]]
id = "closed"
prefixes = ["203.0.113.48/28"]
contact = "admin@closed.example"
submission = "block"
"#;

#[test]
#[ignore = "needs root: BPF programs"]
fn exemptions_open_port_25_as_far_as_they_say() {
    let blocked = Dropped("acme", SmtpBlocked);
    Bench::new(EXEMPT).check_all(&[
        up("listed peer", out(25).frame(), Passed("acme")),
        up("listed network", syn(ACME4, "198.51.100.77", 4_000, 25).frame(), Passed("acme")),
        up("listed network, IPv6", syn(ACME6, MX6, 4_000, 25).frame(), Passed("acme")),
        up("another peer", syn(ACME4, "192.0.2.26", 4_000, 25).frame(), blocked),
        up("another peer, IPv6", syn(ACME6, "2001:db8:fffe::25", 4_000, 25).frame(), blocked),
        down("the peer's answer", syn(MX4, ACME4, 25, 4_000).frame(), Passed("acme")),
        down("an answer from another", syn("192.0.2.26", ACME4, 25, 4_000).frame(), blocked),
        down("the peer connecting in", syn(MX4, ACME4, 4_000, 25).frame(), blocked),
        down("the peer connecting in from port 25", syn(MX4, ACME4, 25, 25).frame(), blocked),
        up("anybody, out", syn("203.0.113.16", "192.0.2.99", 4_000, 25).frame(), Passed("mailer")),
        up("anybody, out, IPv6", syn("2001:db8:20::1", MX6, 4_000, 25).frame(), Passed("mailer")),
        down("anybody, in", syn("192.0.2.99", "203.0.113.16", 4_000, 25).frame(), Passed("mailer")),
        up("answering in", syn("203.0.113.16", "192.0.2.99", 25, 4_000).frame(), Passed("mailer")),
        up("the rented relay", syn("203.0.113.32", "192.0.2.53", 4_000, 25).frame(), Passed("renter")),
        up(
            "the rented relay, IPv6",
            syn("2001:db8:30::1", "2001:db8:53::9", 4_000, 25).frame(),
            Passed("renter"),
        ),
        up("not the relay", syn("203.0.113.32", MX4, 4_000, 25).frame(), Dropped("renter", SmtpBlocked)),
        down(
            "the relay connecting in",
            syn("192.0.2.53", "203.0.113.32", 4_000, 25).frame(),
            Dropped("renter", SmtpBlocked),
        ),
        up(
            "a relay not rented",
            syn("203.0.113.48", "192.0.2.53", 4_000, 25).frame(),
            Dropped("closed", SmtpBlocked),
        ),
        up("submission closed", syn("203.0.113.48", MX4, 4_000, 587).frame(), Dropped("closed", SmtpBlocked)),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn exemptions_lapse_in_the_kernel() {
    let expires: jiff::Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
    let mut bench = Bench::new(&EXEMPT.replace("expires = 2099-01-01", &format!("expires = {expires}")));
    let permitted = up("before it expires", out(25).frame(), Passed("acme"));
    let expires_ns = u64::try_from(expires.as_nanosecond()).unwrap();
    bench.engine().set_clock(expires_ns - 1);
    bench.check(&permitted);
    bench.engine().set_clock(expires_ns);
    bench.check(&up("after it expired", out(25).frame(), Dropped("acme", SmtpBlocked)));
    bench.check(&down(
        "an answer to an old connection",
        syn(MX4, ACME4, 25, 4_000).frame(),
        Dropped("acme", SmtpBlocked),
    ));
    bench.check(&up(
        "the relay has no expiry",
        syn("203.0.113.32", "192.0.2.53", 4_000, 25).frame(),
        Passed("renter"),
    ));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn operators_close_ports_of_their_own() {
    let config = format!(
        "{CLOSED_PORTS}{}",
        TENANTS.replacen(
            "contact = \"admin@nested.example\"",
            "contact = \"admin@nested.example\"\nopen = [\"smb\"]",
            1
        ),
    );
    let blocked = Dropped("acme", PortBlocked);
    Bench::new(&config).check_all(&[
        up("closed out", out(445).frame(), blocked),
        up("first of a range", out(137).frame(), blocked),
        up("last of a range", out(139).frame(), blocked),
        up("past the range", out(140).frame(), Passed("acme")),
        down("open in", syn(MX4, ACME4, 4_000, 445).frame(), Passed("acme")),
        down("an answer from there", syn(MX4, ACME4, 445, 4_000).frame(), Passed("acme")),
        up("other protocol", datagram(ACME4, MX4, (4_000, 445), 8).frame(), Passed("acme")),
        up("opened for a tenant", syn("198.18.0.1", MX4, 4_000, 445).frame(), Passed("nested")),
        up("only that one", syn("198.18.0.1", MX4, 4_000, 23).frame(), Dropped("nested", PortBlocked)),
        down("UDP closed in", datagram(MX4, ACME4, (4_000, 11_211), 8).frame(), blocked),
        up("UDP open out", datagram(ACME4, MX4, (4_000, 11_211), 8).frame(), Passed("acme")),
        up("both ways, out", out(23).frame(), blocked),
        down("both ways, in", syn(MX4, ACME4, 4_000, 23).frame(), blocked),
        up("mail is still closed", out(25).frame(), Dropped("acme", SmtpBlocked)),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn the_operator_may_open_port_25() {
    let mut bench = Bench::new(&format!("[smtp]\ndefault = \"allow\"\n{TENANTS}"));
    bench.check(&up("open by default", out(25).frame(), Passed("acme")));
    bench.check(&down("open by default, in", syn(MX4, ACME4, 4_000, 25).frame(), Passed("acme")));
}
