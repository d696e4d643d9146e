//! Addresses, tags, ports and names of the network, as the operator writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use ipnetwork::IpNetwork;
use toml::de::DeValue;

use super::Vlan;
use super::value::{Refusal, Scalar, text};

/// First and last address of what no tenant, relay or peer has.
const SPECIAL_ADDRESSES: [(IpAddr, IpAddr, &str); 7] = {
    const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }
    const fn v6(bits: u128) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    }
    [
        (v4(0, 0, 0, 0), v4(0, 255, 255, 255), "unspecified"),
        (v4(127, 0, 0, 0), v4(127, 255, 255, 255), "loopback"),
        (v4(224, 0, 0, 0), v4(239, 255, 255, 255), "multicast"),
        (v6(0), v6(0), "unspecified"),
        (v6(1), v6(1), "loopback"),
        (v6(0xffff_0000_0000), v6(0xffff_ffff_ffff), "IPv4-mapped"),
        (v6(0xff << 120), v6(u128::MAX), "multicast"),
    ]
};

/// A network of hosts in the Internet, host bits zero.
pub(super) const PREFIX: Scalar<IpNetwork> = Scalar {
    expected: "a network such as \"203.0.113.0/28\" or \"2001:db8:10::/48\"",
    read: |value| {
        let written = text(value)?;
        let network: IpNetwork = written.parse().map_err(|_| Refusal::new("not a network"))?;
        if network.prefix() == 0 {
            return Err(Refusal::new("covers every address")
                .message(format!("{network} is the whole Internet"))
                .help("a tenant has networks of its own; for an exemption with any peer leave out `peers`"));
        }
        let special = SPECIAL_ADDRESSES.iter().find(|(first, last, _)| contains_any(&network, first..=last));
        if let Some((first, _, name)) = special {
            let refusal = Refusal::new(format!("contains {name} addresses"))
                .message(format!("{network} is not a network of hosts in the Internet"));
            return Err(match first {
                IpAddr::V6(_) if *name == "IPv4-mapped" => refusal.help("write it as an IPv4 network"),
                _ => refusal,
            });
        }
        if network.ip() != network.network() {
            return Err(Refusal::new(format!("bits after the first {} are set", network.prefix()))
                .message(format!("{network} is a host's address, not a network"))
                .help(format!("the network is \"{}/{}\"", network.network(), network.prefix())));
        }
        Ok(network)
    },
};

/// Whether they share an address. Every IPv4 address sorts before every IPv6 one, so families never mix.
fn contains_any(network: &IpNetwork, addresses: RangeInclusive<&IpAddr>) -> bool {
    network.network() <= **addresses.end() && **addresses.start() <= network.broadcast()
}

/// Reads `110`, or `200.110` for outer 200 and inner 110; each from 1 to 4094.
fn parse_vlan(written: &str) -> Option<Vlan> {
    let id = |digits: &str| {
        digits.parse().ok().filter(|id| (1..=4094).contains(id) && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    match written.split_once('.') {
        None => Some(Vlan { outer: id(written)?, inner: None }),
        Some((outer, inner)) => Some(Vlan { outer: id(outer)?, inner: Some(id(inner)?) }),
    }
}

/// One tag or two.
pub(super) const VLAN: Scalar<Vlan> = Scalar {
    expected: "a VLAN from 1 to 4094, or two such as \"200.110\" (outer, inner)",
    read: |value| match value {
        DeValue::Integer(number) if number.radix() == 10 => {
            parse_vlan(number.as_str()).ok_or_else(|| Refusal::new("out of range"))
        }
        DeValue::Float(float) => {
            Err(Refusal::type_of(value).help(format!("write two tags in quotes: \"{}\"", float.as_str())))
        }
        _ => parse_vlan(text(value)?).ok_or_else(|| Refusal::new("not a VLAN")),
    },
};

/// An inclusive range of ports, written `445` or `"137-139"`.
pub(super) type PortRange = (u16, u16);

/// Reads `445` or `137-139`.
fn parse_port_range(written: &str) -> Option<PortRange> {
    let port = |digits: &str| {
        digits.parse().ok().filter(|&port: &u16| port > 0 && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let (first, last) = written.split_once('-').unwrap_or((written, written));
    let range = (port(first)?, port(last)?);
    (range.0 <= range.1).then_some(range)
}

/// As the config writes it.
pub(crate) fn port_range_text((first, last): PortRange) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// One port or a range.
pub(super) const PORTS: Scalar<PortRange> = Scalar {
    expected: "a port from 1 to 65535, or a range such as \"137-139\"",
    read: |value| match value {
        DeValue::Integer(number) if number.radix() == 10 => {
            parse_port_range(number.as_str()).ok_or_else(|| Refusal::new("out of range"))
        }
        _ => parse_port_range(text(value)?).ok_or_else(|| Refusal::new("not a port or a range")),
    },
};

/// An address and a port to listen on.
pub(super) const LISTEN: Scalar<SocketAddr> = Scalar {
    expected: "an address and a port such as \"127.0.0.1:9464\" or \"[::1]:9464\"",
    read: |value| {
        let written = text(value)?;
        written.parse().map_err(|_| {
            let refusal = Refusal::new("not an address and a port");
            match written.rsplit_once(':') {
                Some(("", port)) => refusal.help(format!("for every address write \"[::]:{port}\"")),
                Some(("localhost", port)) => refusal.help(format!("write \"127.0.0.1:{port}\"")),
                _ => refusal,
            }
        })
    },
};

/// A name that the kernel takes for an interface (`dev_valid_name` in net/core/dev.c).
pub(super) const INTERFACE_NAME: Scalar<String> = Scalar {
    expected: "an interface's name, 1 to 15 bytes without \"/\", \":\" or spaces",
    read: |value| {
        let name = text(value)?;
        let refused = |c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control();
        if let Some(c) = name.chars().find(|&c| refused(c)) {
            return Err(Refusal::new(format!("contains {c:?}")));
        }
        if matches!(name, "." | "..") {
            return Err(Refusal::new("not a name"));
        }
        if !(1..=15).contains(&name.len()) {
            return Err(Refusal::new(format!("{} bytes long", name.len())));
        }
        Ok(name.to_owned())
    },
};

/// A domain of the DNS, in lower case (RFC 1123 section 2.1).
pub(super) const DOMAIN: Scalar<String> = Scalar {
    expected: "a domain such as \"acme.example\"",
    read: |value| {
        let domain = text(value)?.to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if domain.len() <= 253 && domain.split('.').all(is_label) {
            return Ok(domain);
        }
        Err(Refusal::new("not a domain"))
    },
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::value::Kind;

    fn prefix(written: &str) -> Result<IpNetwork, Refusal> {
        PREFIX.read(&DeValue::String(written.into()))
    }

    #[test]
    fn a_prefix_is_a_network_of_hosts() {
        for accepted in ["203.0.113.0/28", "203.0.113.7", "203.0.113.7/32", "2001:db8:10::/48", "1.0.0.0/8"] {
            assert!(prefix(accepted).is_ok(), "{accepted}");
        }
        for (refused, label) in [
            ("203.0.113.5/28", "bits after the first 28 are set"),
            ("2001:db8:10::1/48", "bits after the first 48 are set"),
            ("0.0.0.0/0", "covers every address"),
            ("::/0", "covers every address"),
            ("126.0.0.0/7", "contains loopback addresses"),
            ("239.255.255.255/32", "contains multicast addresses"),
            ("0.0.0.1/32", "contains unspecified addresses"),
            ("::/96", "contains unspecified addresses"),
            ("::1/128", "contains loopback addresses"),
            ("::ffff:192.0.2.0/120", "contains IPv4-mapped addresses"),
            ("ff02::1/128", "contains multicast addresses"),
            ("203.0.113.0/33", "not a network"),
            ("", "not a network"),
        ] {
            assert_eq!(prefix(refused).unwrap_err().label, label, "{refused}");
        }
    }

    #[test]
    fn vlan_ids_end_before_the_reserved_ones() {
        assert_eq!(parse_vlan("1"), Some(Vlan { outer: 1, inner: None }));
        assert_eq!(parse_vlan("4094"), Some(Vlan { outer: 4094, inner: None }));
        assert_eq!(parse_vlan("200.110"), Some(Vlan { outer: 200, inner: Some(110) }));
        for refused in ["0", "4095", "65537", "", ".", "1.", ".1", "1.0", "1.2.3", "+1", " 1", "x"] {
            assert_eq!(parse_vlan(refused), None, "{refused}");
        }
    }

    #[test]
    fn port_ranges_go_upwards() {
        assert_eq!(parse_port_range("445"), Some((445, 445)));
        assert_eq!(parse_port_range("137-139"), Some((137, 139)));
        assert_eq!(parse_port_range("1-65535"), Some((1, 65535)));
        for refused in ["0", "65536", "139-137", "0-5", "1-", "-1", "", "+1", "1 - 2", "1-2-3"] {
            assert_eq!(parse_port_range(refused), None, "{refused}");
        }
    }

    proptest! {
        #[test]
        fn a_vlan_reads_back_as_itself(outer in 1_u16..=4094, inner in proptest::option::of(1_u16..=4094)) {
            let vlan = Vlan { outer, inner };
            prop_assert_eq!(parse_vlan(&vlan.to_string()), Some(vlan));
        }

        #[test]
        fn a_port_range_reads_back_as_itself(a in 1_u16.., b in 1_u16..) {
            let range = (a.min(b), a.max(b));
            prop_assert_eq!(parse_port_range(&port_range_text(range)), Some(range));
        }

        #[test]
        fn no_text_is_a_panic(written: String) {
            let _ = prefix(&written);
            let _ = parse_vlan(&written);
            let _ = parse_port_range(&written);
        }
    }
}
