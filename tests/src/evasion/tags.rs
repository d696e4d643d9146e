//! VLAN tags that hide a packet, or pretend to another tenant's.

use gateway_ebpf::DropReason::{Ethertype, Malformed, SmtpBlocked, WrongVlan};

use super::{ACME4, ACME6, Case, MX4, MX6, case};
use crate::bench::Expected::{Dropped, Refused};
use crate::bench::up;
use crate::frames::number::{SERVICE_VLAN, VLAN};
use crate::frames::{ethernet, syn};

/// Of the tenants with one and with two tags.
const TAGGED4: &str = "203.0.113.33";
const DOUBLE4: &str = "203.0.113.49";

pub(super) fn cases() -> Vec<Case> {
    let mail = || syn(ACME4, MX4, 40_000, 25);
    let mail_of = |source: &str| syn(source, MX4, 40_000, 25);
    let (acme, tagged) = (Dropped("acme", SmtpBlocked), Dropped("tagged", SmtpBlocked));
    vec![
        case(
            "vlan-priority-bits",
            [
                up("priority 0", mail_of(TAGGED4).tag(VLAN, 110).frame(), tagged),
                up("priority 7", mail_of(TAGGED4).tag(VLAN, 0xe000 | 110).frame(), tagged),
                up("drop eligible", mail_of(TAGGED4).tag(VLAN, 0x1000 | 110).frame(), tagged),
            ],
        ),
        case(
            "priority-tag",
            [
                up("VID 0", mail().tag(VLAN, 0xe000).frame(), acme),
                up("VID 0, then the VLAN", mail_of(TAGGED4).tag(VLAN, 0).tag(VLAN, 110).frame(), tagged),
                up("VID 0, IPv6", syn(ACME6, MX6, 40_000, 25).tag(VLAN, 0).frame(), acme),
            ],
        ),
        case(
            "double-tags",
            [
                up("802.1ad", mail().tag(SERVICE_VLAN, 5).tag(VLAN, 6).frame(), acme),
                up("802.1Q twice", mail().tag(VLAN, 5).tag(VLAN, 6).frame(), acme),
                up("0x9100", mail().tag(0x9100, 5).tag(VLAN, 6).frame(), acme),
                up(
                    "its own two",
                    mail_of(DOUBLE4).tag(SERVICE_VLAN, 200).tag(VLAN, 110).frame(),
                    Dropped("double", SmtpBlocked),
                ),
            ],
        ),
        case(
            "three-tags",
            [up("one more", mail().tag(VLAN, 1).tag(VLAN, 2).tag(VLAN, 3).frame(), Refused(Ethertype))],
        ),
        case(
            "another-tenants-vlan",
            [
                up("none", mail_of(TAGGED4).frame(), Refused(WrongVlan)),
                up("another", mail_of(TAGGED4).tag(VLAN, 111).frame(), Refused(WrongVlan)),
                up(
                    "its own within",
                    mail_of(TAGGED4).tag(SERVICE_VLAN, 200).tag(VLAN, 110).frame(),
                    Refused(WrongVlan),
                ),
                up("half of two", mail_of(DOUBLE4).tag(SERVICE_VLAN, 200).frame(), Refused(WrongVlan)),
                up(
                    "two in wrong order",
                    mail_of(DOUBLE4).tag(VLAN, 110).tag(VLAN, 200).frame(),
                    Refused(WrongVlan),
                ),
            ],
        ),
        case("cut-tag", [up("no EtherType", ethernet(&[], VLAN, &[0, 110]), Refused(Malformed))]),
    ]
}
