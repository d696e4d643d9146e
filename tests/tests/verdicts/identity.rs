//! Whose packet is it (policy rule S4), on both sides, tagged or not.

use fairway_tests::frames::{ethernet, number, packet, syn};
use gateway_ebpf::DropReason::{Ethertype, UnknownSource, WrongVlan};

use crate::TENANTS;
use crate::bench::Expected::{LinkControl, Passed, Refused, UnknownSourcePassed, Unmatched};
use crate::bench::{Bench, down, up};

const WEB4: &str = "192.0.2.80";
const WEB6: &str = "2001:db8:ffff::80";

#[test]
#[ignore = "needs root: BPF programs"]
fn tenants_are_told_by_the_longest_prefix() {
    Bench::new(TENANTS).check_all(&[
        up("first address", syn("203.0.113.0", WEB4, 4000, 80).frame(), Passed("acme")),
        up("last address", syn("203.0.113.15", WEB4, 4000, 80).frame(), Passed("acme")),
        up("one below", syn("203.0.112.255", WEB4, 4000, 80).frame(), Refused(UnknownSource)),
        up("a wide prefix", syn("198.19.255.255", WEB4, 4000, 80).frame(), Passed("nested")),
        up("one above it", syn("198.20.0.0", WEB4, 4000, 80).frame(), Refused(UnknownSource)),
        up("IPv6", syn("2001:db8:10:ffff::1", WEB6, 4000, 80).frame(), Passed("acme")),
        up("IPv6 of another", syn("2001:db8:20::1", WEB6, 4000, 80).frame(), Passed("nested")),
        up("IPv6 of nobody", syn("2001:db8:11::1", WEB6, 4000, 80).frame(), Refused(UnknownSource)),
        up("forged", syn(WEB4, "198.51.100.1", 4000, 80).frame(), Refused(UnknownSource)),
        up("martian", syn("127.0.0.1", WEB4, 4000, 80).frame(), Refused(UnknownSource)),
        down("to a tenant", syn(WEB4, "203.0.113.1", 80, 4000).frame(), Passed("acme")),
        down("to a tenant, IPv6", syn(WEB6, "2001:db8:10::1", 80, 4000).frame(), Passed("acme")),
        down("to nobody", syn(WEB4, "192.0.2.1", 80, 4000).frame(), Unmatched),
        down("to nobody, IPv6", syn(WEB6, "2001:db8::1", 80, 4000).frame(), Unmatched),
        // The sender of an inbound packet is anybody's business but ours.
        down("from a tenant's address", syn("203.0.113.1", "203.0.113.2", 1, 2).frame(), Passed("acme")),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn unknown_sources_can_be_counted_only() {
    Bench::new(&format!("unknown_sources = \"count\"\n{TENANTS}")).check_all(&[
        up("forged", syn(WEB4, "198.51.100.1", 4000, 80).frame(), UnknownSourcePassed),
        up("wrong tag", syn("203.0.113.16", WEB4, 4000, 80).frame(), UnknownSourcePassed),
        up("a tenant's", syn("203.0.113.1", WEB4, 4000, 80).frame(), Passed("acme")),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn tags_tell_tenants_apart_on_the_tenant_side() {
    let from = |source: &str| syn(source, WEB4, 4000, 80);
    let (vlan, service) = (number::VLAN, number::SERVICE_VLAN);
    Bench::new(TENANTS).check_all(&[
        up("its tag", from("203.0.113.16").tag(vlan, 110).frame(), Passed("tagged")),
        up("its tag, IPv6", syn("2001:db8:30::1", WEB6, 1, 80).tag(vlan, 110).frame(), Passed("tagged")),
        up("priority 7", from("203.0.113.16").tag(vlan, 0xe000 | 110).frame(), Passed("tagged")),
        up("drop eligible", from("203.0.113.16").tag(vlan, 0x1000 | 110).frame(), Passed("tagged")),
        up("no tag", from("203.0.113.16").frame(), Refused(WrongVlan)),
        up("another tag", from("203.0.113.16").tag(vlan, 111).frame(), Refused(WrongVlan)),
        up(
            "as the inner tag",
            from("203.0.113.16").tag(service, 200).tag(vlan, 110).frame(),
            Refused(WrongVlan),
        ),
        up("as the outer tag", from("203.0.113.16").tag(service, 110).tag(vlan, 9).frame(), Passed("tagged")),
        up(
            "behind a priority tag",
            from("203.0.113.16").tag(vlan, 0xe000).tag(vlan, 110).frame(),
            Passed("tagged"),
        ),
        up("both tags", from("203.0.113.32").tag(service, 200).tag(vlan, 110).frame(), Passed("double")),
        up("one of two", from("203.0.113.32").tag(service, 200).frame(), Refused(WrongVlan)),
        up(
            "two, wrong inside",
            from("203.0.113.32").tag(service, 200).tag(vlan, 111).frame(),
            Refused(WrongVlan),
        ),
        up(
            "three",
            from("203.0.113.32").tag(service, 200).tag(vlan, 110).tag(vlan, 1).frame(),
            Refused(Ethertype),
        ),
        up("no tag wanted", from("203.0.113.1").tag(vlan, 5).frame(), Passed("acme")),
        up("forged, with a tag", from("198.51.100.1").tag(vlan, 110).frame(), Refused(UnknownSource)),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn tags_are_checked_where_the_interface_says_so() {
    let mut bench = Bench::new(TENANTS);
    let inbound = syn(WEB4, "203.0.113.16", 80, 4000);
    bench.register(|interface| interface.match_vlan = false);
    bench.check(&down("uplink, untagged", inbound.frame(), Passed("tagged")));
    bench.check(&up("tags ignored", syn("203.0.113.16", WEB4, 4000, 80).frame(), Passed("tagged")));
    bench.register(|interface| interface.match_vlan = true);
    bench.check(&down("trunk, untagged", inbound.frame(), Refused(WrongVlan)));
    bench.check(&down("trunk, its tag", inbound.clone().tag(number::VLAN, 110).frame(), Passed("tagged")));
}

#[test]
#[ignore = "needs root: BPF programs"]
fn link_control_always_passes() {
    let icmpv6 = |kind: u8| vec![kind, 0, 0, 0, 0, 0, 0, 0];
    let nd =
        |source: &str, destination: &str, kind: u8| packet(source, destination, number::ICMPV6, icmpv6(kind));
    let dhcp = |source: &str, destination: &str| {
        packet(source, destination, number::UDP, fairway_tests::frames::udp(68, 67, &[1; 240]))
    };
    let arp = ethernet(&[], number::ARP, &[0; 46]);
    Bench::new(TENANTS).check_all(&[
        up("ARP", arp.clone(), LinkControl),
        down("ARP on the uplink", arp, LinkControl),
        up("tagged ARP", ethernet(&[(number::VLAN, 110)], number::ARP, &[0; 46]), LinkControl),
        up("LLDP", ethernet(&[], 0x88cc, &[0; 46]), LinkControl),
        up("spanning tree", ethernet(&[], 0x0026, &[0x42; 46]), LinkControl),
        up("duplicate address detection", nd("::", "ff02::1:ff00:1", 135).hops(255).frame(), LinkControl),
        up("router solicitation", nd("fe80::1", "ff02::2", 133).hops(255).frame(), LinkControl),
        up("probe of a global address", nd("fe80::1", "2001:db8::1", 135).hops(255).frame(), LinkControl),
        up("a probe from afar", nd("fe80::1", "2001:db8::1", 135).hops(254).frame(), Refused(UnknownSource)),
        up(
            "a probe that is only padding",
            nd("fe80::1", "2001:db8::1", 135).hops(255).lie_about_length(-8).frame(),
            Refused(UnknownSource),
        ),
        up(
            "ICMPv6 within IPv4",
            packet("169.254.3.4", WEB4, number::ICMPV6, icmpv6(135)).hops(255).frame(),
            Refused(UnknownSource),
        ),
        up("an echo from the link", nd("fe80::1", WEB6, 128).hops(255).frame(), Refused(UnknownSource)),
        up(
            "membership report",
            nd("::", "ff02::16", 143).extension(0, &[0, 0, 5, 2, 0, 0, 1, 0]).frame(),
            LinkControl,
        ),
        up("DHCP", dhcp("0.0.0.0", "255.255.255.255").frame(), LinkControl),
        up("DHCP from a link-local address", dhcp("169.254.3.4", "255.255.255.255").frame(), LinkControl),
        up("no address, to the Internet", dhcp("0.0.0.0", WEB4).frame(), Refused(UnknownSource)),
        up(
            "DHCPv6",
            packet("fe80::1", "ff02::1:2", number::UDP, fairway_tests::frames::udp(546, 547, &[1; 20]))
                .frame(),
            LinkControl,
        ),
        up("renewal", dhcp("203.0.113.1", "192.0.2.1").frame(), Passed("acme")),
        up(
            "discovery by a tenant's address",
            nd("2001:db8:10::1", "2001:db8::1", 136).hops(255).frame(),
            Passed("acme"),
        ),
        up("PPPoE", ethernet(&[], 0x8864, &[0; 46]), Refused(Ethertype)),
        up("MPLS", ethernet(&[], 0x8847, &[0; 46]), Refused(Ethertype)),
        down("MPLS on the uplink", ethernet(&[], 0x8847, &[0; 46]), Unmatched),
    ]);
}
