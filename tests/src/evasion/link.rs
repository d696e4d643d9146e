//! Below IP and around it: EtherTypes, other encapsulations, tunnels.

use gateway_ebpf::DropReason::Ethertype;

use super::{ACME4, ACME6, Case, MX4, MX6, case};
use crate::bench::Expected::{LinkControl, Passed, Refused, Unmatched};
use crate::bench::{Fixture, down, up};
use crate::frames::{ethernet, number, packet, syn, udp};

/// Ethernet header of a frame without tags.
const ETHERNET: usize = 14;

pub(super) fn cases() -> Vec<Case> {
    let refused = Refused(Ethertype);
    let mail = syn(ACME4, MX4, 40_000, 25).frame()[ETHERNET..].to_vec();
    let within = |ether_type: u16, before: &[u8]| ethernet(&[], ether_type, &[before, &mail].concat());
    vec![
        case(
            "unusual-ethertypes",
            [
                up("MPLS", within(0x8847, &[0, 1, 0x01, 64]), refused),
                up("PPPoE", within(0x8864, &[0x11, 0, 0, 1, 0, 42, 0, 0x21]), refused),
                up("a tag of 0x9200", within(0x9200, &[0, 5, 8, 0]), refused),
                up("MACsec", within(0x88e5, &[0; 8]), refused),
                up("the least EtherType", within(0x0600, &[]), refused),
                down("MPLS, in", within(0x8847, &[0, 1, 0x01, 64]), Unmatched),
            ],
        ),
        case(
            "ip-in-llc",
            [
                // SNAP: IP over IEEE 802 networks (RFC 1042).
                up("SNAP", within(8 + 46, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]), LinkControl),
            ],
        ),
        case("tunnels", tunnels(&mail)),
    ]
}

/// Mail within packets that are not looked into.
fn tunnels(mail: &[u8]) -> Vec<Fixture> {
    let passed = Passed("acme");
    let mail6 = syn(ACME6, MX6, 40_000, 25).frame()[ETHERNET..].to_vec();
    let outer = |protocol: u8, before: &[u8], inner: &[u8]| {
        packet(ACME4, MX4, protocol, [before, inner].concat()).frame()
    };
    let vxlan = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &ethernet(&[], number::IPV4, mail)].concat();
    // Without their IP header: TCP itself.
    let segment = &mail[20..40];
    vec![
        up("IP in IP", outer(4, &[], mail), passed),
        up("IPv6 in IPv4", outer(41, &[], &mail6), passed),
        up("GRE", outer(47, &[0, 0, 8, 0], mail), passed),
        up("IPsec ESP without encryption", outer(50, &[0, 0, 0, 1, 0, 0, 0, 1], segment), passed),
        up("IPsec AH of IPv4", outer(51, &[6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], segment), passed),
        up("VXLAN", packet(ACME4, MX4, number::UDP, udp(40_000, 4_789, &vxlan)).frame(), passed),
    ]
}
