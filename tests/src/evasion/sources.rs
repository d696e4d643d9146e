//! Sources that are not the sender's own.

use gateway_ebpf::DropReason::UnknownSource;

use super::{ACME4, Case, MX4, WEB4, WEB6, case};
use crate::bench::Expected::{LinkControl, Passed, Refused};
use crate::bench::{Fixture, up};
use crate::frames::{Packet, datagram, number, packet, syn, udp};

pub(super) fn cases() -> Vec<Case> {
    let refused = Refused(UnknownSource);
    let from = |source: &str| {
        let target = if source.contains(':') { WEB6 } else { WEB4 };
        syn(source, target, 40_000, 80).frame()
    };
    vec![
        case(
            "forged-source",
            [
                up("a stranger's", from("198.51.100.1"), refused),
                up("a stranger's, IPv6", from("2001:db8:99::1"), refused),
                up("the victim's own", syn(MX4, MX4, 40_000, 80).frame(), refused),
                up("next to the tenant's", from("203.0.112.255"), refused),
            ],
        ),
        case(
            "impossible-source",
            [
                up("loopback", from("127.0.0.1"), refused),
                up("broadcast", from("255.255.255.255"), refused),
                up("multicast", from("224.0.0.1"), refused),
                up("loopback, IPv6", from("::1"), refused),
                up("the tenant's IPv4 address, mapped", from(&format!("::ffff:{ACME4}")), refused),
            ],
        ),
        case(
            "link-local-source",
            [
                up("IPv4", from("169.254.1.1"), refused),
                up("none, IPv4", from("0.0.0.0"), refused),
                up("IPv6", from("fe80::1"), refused),
                up("none, IPv6", from("::"), refused),
                up("a flood of UDP", datagram("169.254.1.1", WEB4, (1, 2), 1_000).frame(), refused),
            ],
        ),
        case("false-neighbour-discovery", false_discovery()),
        case("honest-link-control", honest()),
        case("a-neighbours-address", [up("on one segment", from("203.0.113.17"), Passed("mailer"))]),
    ]
}

fn icmpv6(source: &str, destination: &str, kind: u8) -> Packet {
    packet(source, destination, number::ICMPV6, vec![kind, 0, 0, 0, 0, 0, 0, 0])
}

/// Neighbour discovery passes from link-local addresses; this only looks like it.
fn false_discovery() -> Vec<Fixture> {
    let refused = Refused(UnknownSource);
    let solicitation = || icmpv6("fe80::1", WEB6, 135).hops(255);
    vec![
        up("through a router", solicitation().hops(254).frame(), refused),
        up("an echo", icmpv6("fe80::1", WEB6, 128).hops(255).frame(), refused),
        up("fragmented", solicitation().fragment(0, false).frame(), refused),
        up("behind options", solicitation().extension(60, &[0, 0, 1, 4, 0, 0, 0, 0]).frame(), refused),
        up("in the padding", solicitation().lie_about_length(-8).frame(), refused),
        up("within IPv4", icmpv6("169.254.1.1", WEB4, 135).hops(255).frame(), refused),
    ]
}

/// What must work for everybody, without an address of its own.
fn honest() -> Vec<Fixture> {
    let dhcp = |source, destination, ports: (u16, u16)| {
        packet(source, destination, number::UDP, udp(ports.0, ports.1, &[1; 240])).frame()
    };
    vec![
        up("DHCP", dhcp("0.0.0.0", "255.255.255.255", (68, 67)), LinkControl),
        up("DHCPv6", dhcp("fe80::1", "ff02::1:2", (546, 547)), LinkControl),
        up("duplicate address detection", icmpv6("::", "ff02::1:ff00:1", 135).hops(255).frame(), LinkControl),
        up("router solicitation", icmpv6("fe80::1", "ff02::2", 133).hops(255).frame(), LinkControl),
        up("probe of a global address", icmpv6("fe80::1", WEB6, 135).hops(255).frame(), LinkControl),
    ]
}
