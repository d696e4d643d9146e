//! Judging the configured interfaces.

use super::Finding;
use super::facts::{OwnPrograms, Seen};
use crate::config::{Config, Forwarding, Interface, Mode, Side};
use crate::link::{CannotForward, Link, XdpProgram, feature};

/// Longest MTU, in bytes, that surely fits the one page that drivers without multi-buffer XDP have:
/// 4,096 bytes less headroom (256), shared info (320), Ethernet header and two tags.
const ONE_PAGE_MTU: u32 = 3_498;

pub(super) fn cannot_look(error: &std::io::Error) -> Finding {
    Finding::warning(
        "interface",
        format!("no interface could be looked at: {error}"),
        "what is wrong with them stays unknown",
        "allow netlink sockets; in a systemd unit: RestrictAddressFamilies=AF_NETLINK",
    )
}

/// Everything about one interface.
pub(super) fn findings(
    config: &Config,
    interface: &Interface,
    seen: &Seen,
    ours: &OwnPrograms,
) -> Vec<Finding> {
    let name = interface.name.as_str();
    let link = match &seen.link {
        Ok(Some(link)) => link,
        Ok(None) => return vec![missing(interface).on(name)],
        Err(error) => {
            let found =
                Finding::warning("interface", error.to_string(), "it was not looked at", "try again as root");
            return vec![found.on(name)];
        }
    };
    let mut findings = vec![exists(link), program(interface, link, ours)];
    findings.extend(xdp_forwarding(config, link, &seen.can_forward));
    findings.extend(mtu(interface, link));
    findings.extend(lro(link));
    findings.extend(vlan_offload(config, interface, link));
    findings.extend(segments(interface, link));
    findings.extend(checksums(config, link));
    findings.extend(reverse_path(config, interface, seen.rp_filter));
    findings.into_iter().map(|finding| finding.on(name)).collect()
}

fn missing(interface: &Interface) -> Finding {
    Finding::problem(
        "interface",
        "does not exist",
        "nothing is policed there; `fairway run` does not start without it, and a running gateway waits for it",
        format!("create it, or correct its name at {}; `ip link` lists what there is", interface.place),
    )
}

fn exists(link: &Link) -> Finding {
    if link.is_up {
        return Finding::ok("interface", format!("up, driver {}", link.driver_or_kind()));
    }
    Finding::warning("interface", "down", "no packets pass it", format!("ip link set dev {} up", link.name))
}

/// What runs on it, if anything.
fn program(interface: &Interface, link: &Link, ours: &OwnPrograms) -> Finding {
    let Some(program) = link.programs.first() else { return unattached(link, ours) };
    let running = format!("program {} in {} mode", program.id, program.mode.label());
    let ours = match &ours.0 {
        Ok(ours) => ours,
        Err(error) => {
            return Finding::warning(
                "xdp",
                format!("{running}, and nobody knows whose: {}", error.cause),
                "if it is another's, Fairway cannot attach",
                "run as root: sudo fairway doctor",
            );
        }
    };
    if ours.get(&link.ifindex) != Some(&program.id) {
        return foreign(link, *program);
    }
    if program.mode != interface.mode {
        return Finding::warning(
            "xdp",
            format!("policed in {} mode", program.mode.label()),
            format!("the configuration says {}", interface.mode.label()),
            "fairway reload",
        );
    }
    Finding::ok("xdp", format!("policed in {} mode", program.mode.label()))
}

fn unattached(link: &Link, ours: &OwnPrograms) -> Finding {
    match &ours.0 {
        // The gateway polices other interfaces, so it should this one.
        Ok(ours) if !ours.is_empty() => Finding::problem(
            "xdp",
            "not policed, though the gateway's other interfaces are",
            "its traffic passes by the policy",
            format!(
                "fairway status, journalctl -u fairway: they say why; then fairway reload, once {} is mended",
                link.name
            ),
        ),
        _ => Finding::ok("xdp", "free: no program is attached"),
    }
}

fn foreign(link: &Link, program: XdpProgram) -> Finding {
    let switch = match program.mode {
        Mode::Native => "xdpdrv",
        Mode::Generic => "xdpgeneric",
        Mode::Offload => "xdpoffload",
    };
    let name = &link.name;
    Finding::problem(
        "xdp",
        format!("another's program ({}) runs there, in {} mode", program.id, program.mode.label()),
        "an interface runs one XDP program: Fairway cannot attach",
        format!(
            "ip link set dev {name} {switch} off; if the kernel says it is busy, end the program that holds it \
             (bpftool net show dev {name})"
        ),
    )
}

/// Whether packets can be forwarded there by XDP. Without a program, many cards cannot yet.
fn xdp_forwarding(config: &Config, link: &Link, can_forward: &Result<(), CannotForward>) -> Option<Finding> {
    const CHECK: &str = "xdp_forwarding";
    let Err(error) = can_forward else { return Some(Finding::ok(CHECK, "possible")) };
    let found = format!("not possible: {error}");
    let may_change = matches!(error, CannotForward::Send) && link.programs.is_empty();
    match config.gateway.forwarding {
        _ if may_change && link.kind.as_deref() != Some("veth") => None,
        Forwarding::Stack => Some(Finding::ok(CHECK, found)),
        Forwarding::Xdp => Some(Finding::problem(
            CHECK,
            found,
            "`fairway run` does not start with `forwarding = \"xdp\"`; one that runs leaves these packets to the stack",
            error.remedy(),
        )),
    }
}

fn mtu(interface: &Interface, link: &Link) -> Option<Finding> {
    let found = format!("MTU {}", link.mtu_bytes);
    let fits = link.mtu_bytes <= ONE_PAGE_MTU || interface.mode == Mode::Generic || !link.programs.is_empty();
    // The kernel's own virtual interfaces take frames in several buffers.
    if fits || link.kind.as_deref() == Some("veth") {
        return Some(Finding::ok("mtu", found));
    }
    Some(Finding::warning(
        "mtu",
        found,
        format!("drivers without multi-buffer XDP ({} may be one) refuse to attach", link.driver_or_kind()),
        format!(
            "if `fairway run` is refused: ip link set dev {} mtu {ONE_PAGE_MTU}, or mode = \"generic\"",
            link.name
        ),
    ))
}

fn lro(link: &Link) -> Option<Finding> {
    link.features.as_ref()?;
    if !link.has(feature::LRO) {
        return Some(Finding::ok("lro", "off"));
    }
    Some(Finding::problem(
        "lro",
        "large receive offload is on",
        "it merges packets beyond recognition; drivers refuse XDP with it, and routers must not use it",
        format!("ethtool -K {} lro off", link.name),
    ))
}

/// A tag that the card takes out of a packet is not there for XDP to see.
fn vlan_offload(config: &Config, interface: &Interface, link: &Link) -> Option<Finding> {
    link.features.as_ref()?;
    let switches = [(feature::RX_VLAN, "rxvlan"), (feature::RX_VLAN_STAG, feature::RX_VLAN_STAG)];
    let on: Vec<&str> =
        switches.iter().filter(|(name, _)| link.has(name)).map(|(_, switch)| *switch).collect();
    if on.is_empty() {
        return Some(Finding::ok("vlan_offload", "off: tags are in the packets"));
    }
    let found = "VLAN tags are taken out of received packets before XDP sees them";
    let mut mend = format!("ethtool -K {} {} off", link.name, on.join(" off "));
    // The sending end of a pair decides whether a tag is in the packet or beside it.
    if link.kind.as_deref() == Some("veth") {
        mend += "; on the other end of the pair: ethtool -K PEER txvlan off";
    }
    let tagged = config.tenants.iter().filter(|tenant| tenant.vlan.is_some()).count();
    Some(if interface.match_vlan && tagged > 0 {
        let why = format!(
            "{tagged} of {} tenants have a vlan: their packets are judged as untagged, and dropped",
            config.tenants.len()
        );
        Finding::problem("vlan_offload", found, why, mend)
    } else {
        Finding::warning(
            "vlan_offload",
            found,
            "tagged and untagged packets look the same to the policy",
            mend,
        )
    })
}

/// Segments matter where no wire cuts them: between virtual interfaces. For a program in native mode the kernel takes
/// segmentation offloads from the sending end (veth_fix_features in drivers/net/veth.c), and so cuts them.
fn segments(interface: &Interface, link: &Link) -> Option<Finding> {
    let mode = link.programs.first().map_or(interface.mode, |program| program.mode);
    let arrive = mode == Mode::Generic && link.kind.as_deref() == Some("veth") && link.has(feature::TSO);
    arrive.then(|| {
        Finding::warning(
            "segments",
            "a veth pair may hand over segments of 64 kB",
            "each is one packet to caps and counters, and larger than a short burst",
            format!("on both ends: ethtool -K {} tso off gso off", link.name),
        )
    })
}

/// The other end of a veth leaves checksums to this one, in notes that the stack has and XDP has not.
fn checksums(config: &Config, link: &Link) -> Option<Finding> {
    let is_virtual = link.kind.as_deref() == Some("veth") && link.has(feature::TX_CHECKSUM);
    (config.gateway.forwarding == Forwarding::Xdp && is_virtual).then(|| {
        Finding::problem(
            "checksums",
            "a veth pair may hand over packets whose checksums are not filled in",
            "forwarded by XDP they stay so, and their receivers drop them",
            format!("on both ends: ethtool -K {} tx off", link.name),
        )
    })
}

/// With several uplinks, answers may come in by another one than questions leave by.
fn reverse_path(config: &Config, interface: &Interface, rp_filter: Option<u32>) -> Option<Finding> {
    const STRICT: u32 = 1;
    let uplinks = config.interfaces.iter().filter(|interface| interface.side == Side::Uplink).count();
    let matters = interface.side == Side::Uplink && uplinks > 1 && rp_filter == Some(STRICT);
    matters.then(|| {
        Finding::warning(
            "rp_filter",
            "reverse-path filtering is strict",
            "with several uplinks the kernel drops packets that Fairway has counted as passed (RFC 3704)",
            format!("sysctl -w net.ipv4.conf.{}.rp_filter=2", interface.name.replace('.', "/")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::dataplane::DataplaneError;
    use crate::doctor::Severity::{self, Ok as Fine, Problem, Warning};

    const TWO_UPLINKS: &str =
        "[[interface]]\nname = 'eth0'\nside = 'uplink'\n[[interface]]\nname = 'eth2'\nside = 'uplink'\n";

    /// A gateway with `eth1` towards its one tenant.
    fn load(uplinks: &str, tenant: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        let text = format!(
            "[gateway]\nname = 'edge1'\ntenants = ['tenant.toml']\n[[interface]]\nname = 'eth1'\nside = 'tenant'\n{uplinks}"
        );
        std::fs::write(&file, text).unwrap();
        let tenant =
            format!("[[tenant]]\nid = 'acme'\nname = 'Acme'\nprefixes = ['203.0.113.0/28']\n{tenant}");
        std::fs::write(directory.path().join("tenant.toml"), tenant).unwrap();
        config::load(&file).unwrap().config
    }

    fn link(name: &str) -> Link {
        Link {
            name: name.into(),
            ifindex: 7,
            is_up: true,
            mtu_bytes: 1_500,
            driver: Some("igb".into()),
            features: Some(["tx-checksumming".to_owned()].into()),
            ..Link::default()
        }
    }

    fn examine(config: &Config, link: Option<Link>, ours: &[(u32, u32)]) -> Vec<Finding> {
        let name = link.as_ref().map_or("eth1", |link| &link.name).to_owned();
        let interface = config.interfaces.iter().find(|interface| interface.name == name).unwrap();
        let seen = Seen { link: Ok(link), rp_filter: Some(1), can_forward: Err(CannotForward::Unknown) };
        let found = findings(config, interface, &seen, &OwnPrograms(Ok(ours.iter().copied().collect())));
        assert!(found.iter().all(|finding| finding.interface.as_deref() == Some(&name)), "{found:?}");
        found
    }

    /// What is not fine about `eth1`.
    fn complaints(edit: impl FnOnce(&mut Link), ours: &[(u32, u32)]) -> Vec<(&'static str, Severity)> {
        let config = load("[[interface]]\nname = 'eth0'\nside = 'uplink'\n", "vlan = 110\n");
        let mut link = link("eth1");
        edit(&mut link);
        let found = examine(&config, Some(link), ours);
        found.iter().filter(|f| f.severity != Fine).map(|f| (f.check, f.severity)).collect()
    }

    fn with(feature: &'static str) -> impl FnOnce(&mut Link) {
        move |link| link.features = Some([feature.to_owned()].into())
    }

    fn running(mode: Mode) -> impl FnOnce(&mut Link) {
        move |link| link.programs = vec![XdpProgram { mode, id: 42 }]
    }

    #[test]
    fn a_healthy_interface_gives_no_cause_for_complaint() {
        assert_eq!(complaints(|_| {}, &[]), []);
        assert_eq!(complaints(running(Mode::Native), &[(7, 42)]), []);
        assert_eq!(complaints(|link| link.is_up = false, &[]), [("interface", Warning)]);
    }

    #[test]
    fn a_missing_interface_is_all_there_is_to_say() {
        let found = examine(&load(TWO_UPLINKS, ""), None, &[]);
        assert_eq!(found.len(), 1);
        let mend = found[0].mend.as_deref().unwrap();
        assert!(found[0].severity == Problem && mend.contains("gateway.toml:4:"), "{mend}");
    }

    #[test]
    fn programs_are_told_apart_by_whose_they_are() {
        assert_eq!(complaints(running(Mode::Native), &[]), [("xdp", Problem)]);
        assert_eq!(complaints(running(Mode::Native), &[(7, 41)]), [("xdp", Problem)]);
        assert_eq!(complaints(running(Mode::Generic), &[(7, 42)]), [("xdp", Warning)]);
        // Another interface is policed, this one is not.
        assert_eq!(complaints(|_| {}, &[(8, 42)]), [("xdp", Problem)]);
        let foreign = foreign(&link("eth1"), XdpProgram { mode: Mode::Generic, id: 42 });
        assert!(foreign.mend.unwrap().starts_with("ip link set dev eth1 xdpgeneric off"));
        let refused =
            DataplaneError { what: String::new(), cause: "not permitted".into(), remedy: String::new() };
        let config = load(TWO_UPLINKS, "");
        let mut policed = link("eth1");
        running(Mode::Native)(&mut policed);
        let finding = program(&config.interfaces[0], &policed, &OwnPrograms(Err(refused)));
        assert_eq!((finding.severity, finding.check), (Warning, "xdp"));
    }

    #[test]
    fn who_cannot_forward_by_xdp_is_told_where_that_is_wanted() {
        let mut config = load(TWO_UPLINKS, "");
        let told =
            |config: &Config, kind: Option<&str>, policed: bool, can_forward: Result<(), CannotForward>| {
                let mut link = Link { kind: kind.map(str::to_owned), ..link("eth1") };
                if policed {
                    running(Mode::Native)(&mut link);
                }
                xdp_forwarding(config, &link, &can_forward).map(|finding| finding.severity)
            };
        assert_eq!(told(&config, None, true, Ok(())), Some(Fine));
        assert_eq!(told(&config, None, true, Err(CannotForward::Send)), Some(Fine));
        config.gateway.forwarding = Forwarding::Xdp;
        assert_eq!(told(&config, None, true, Ok(())), Some(Fine));
        assert_eq!(told(&config, None, true, Err(CannotForward::Send)), Some(Problem));
        assert_eq!(told(&config, None, false, Err(CannotForward::Unknown)), Some(Problem));
        // A card may send once it runs a program; a veth depends on its far end alone.
        assert_eq!(told(&config, None, false, Err(CannotForward::Send)), None);
        assert_eq!(told(&config, Some("veth"), false, Err(CannotForward::Send)), Some(Problem));
    }

    #[test]
    fn checksums_that_nobody_fills_in_matter_where_xdp_forwards() {
        let mut config = load(TWO_UPLINKS, "");
        let told = |config: &Config, kind: Option<&str>, feature| {
            let mut link = Link { kind: kind.map(str::to_owned), ..link("eth1") };
            with(feature)(&mut link);
            checksums(config, &link).map(|finding| finding.severity)
        };
        assert_eq!(told(&config, Some("veth"), feature::TX_CHECKSUM), None);
        config.gateway.forwarding = Forwarding::Xdp;
        assert_eq!(told(&config, Some("veth"), feature::TX_CHECKSUM), Some(Problem));
        assert_eq!(told(&config, Some("veth"), feature::LRO), None);
        // A card has received what it receives.
        assert_eq!(told(&config, None, feature::TX_CHECKSUM), None);
    }

    #[test]
    fn offloads_that_change_packets_are_told_with_the_command() {
        assert_eq!(complaints(with(feature::LRO), &[]), [("lro", Problem)]);
        assert_eq!(complaints(with(feature::RX_VLAN_STAG), &[]), [("vlan_offload", Problem)]);
        let config = load(TWO_UPLINKS, "vlan = 110\n");
        let mut stripping = link("eth1");
        stripping.features = Some([feature::RX_VLAN.to_owned(), feature::RX_VLAN_STAG.to_owned()].into());
        let finding = vlan_offload(&config, &config.interfaces[0], &stripping).unwrap();
        assert_eq!(finding.mend.unwrap(), "ethtool -K eth1 rxvlan off rx-vlan-stag-hw-parse off");
        // Without tagged tenants, and where tags are not matched, it may do no harm.
        let untagged = load(TWO_UPLINKS, "");
        for (config, interface) in [(&untagged, &untagged.interfaces[0]), (&config, &config.interfaces[1])] {
            assert_eq!(vlan_offload(config, interface, &stripping).unwrap().severity, Warning);
        }
        // A driver that does not tell is not accused.
        assert_eq!(complaints(|link| link.features = None, &[]), []);
    }

    #[test]
    fn large_frames_matter_until_they_are_attached_to() {
        let jumbo = |link: &mut Link| link.mtu_bytes = 9_000;
        assert_eq!(complaints(jumbo, &[]), [("mtu", Warning)]);
        assert_eq!(complaints(|link| link.mtu_bytes = ONE_PAGE_MTU, &[]), []);
        let attached = |link: &mut Link| {
            jumbo(link);
            running(Mode::Native)(link);
        };
        assert_eq!(complaints(attached, &[(7, 42)]), []);
        let veth = |link: &mut Link| {
            jumbo(link);
            link.kind = Some("veth".into());
        };
        assert_eq!(complaints(veth, &[]), []);
    }

    #[test]
    fn segments_matter_where_nothing_cuts_them() {
        let mut config = load(TWO_UPLINKS, "");
        let told = |config: &Config, kind: Option<&str>, attached: Option<Mode>| {
            let mut link = Link { kind: kind.map(str::to_owned), ..link("eth1") };
            with(feature::TSO)(&mut link);
            link.programs = attached.map(|mode| XdpProgram { mode, id: 42 }).into_iter().collect();
            segments(&config.interfaces[0], &link).map(|finding| finding.severity)
        };
        assert_eq!(told(&config, Some("veth"), None), None);
        assert_eq!(told(&config, Some("veth"), Some(Mode::Native)), None);
        assert_eq!(told(&config, Some("veth"), Some(Mode::Generic)), Some(Warning), "what runs decides");
        config.interfaces[0].mode = Mode::Generic;
        assert_eq!(told(&config, Some("veth"), None), Some(Warning));
        assert_eq!(told(&config, Some("veth"), Some(Mode::Native)), None);
        assert_eq!(told(&config, None, None), None, "a card has received what was on the wire");
    }

    #[test]
    fn strict_reverse_paths_matter_with_several_uplinks() {
        let checks = |uplinks: &str, name: &str| -> Vec<_> {
            let found = examine(&load(uplinks, ""), Some(link(name)), &[]);
            found.iter().filter(|f| f.severity != Fine).map(|f| f.check).collect()
        };
        assert_eq!(checks(TWO_UPLINKS, "eth2"), ["rp_filter"]);
        assert!(checks(TWO_UPLINKS, "eth1").is_empty());
        assert!(checks("[[interface]]\nname = 'eth2'\nside = 'uplink'\n", "eth2").is_empty());
    }
}
