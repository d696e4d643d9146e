//! Ethernet and its tags: at most two count, and one with VID 0 only carries a priority.

use etherparse::{EtherType, Ethernet2HeaderSlice, SingleVlanHeaderSlice};
use gateway::config::Vlan;
use gateway_ebpf::DropReason;

use super::Judged;

/// Tags looked through; what is behind a third is unknown.
const MAX_TAGS: usize = 2;

/// Carriers of tags: 802.1Q, 802.1ad, and what was used before 802.1ad.
const TAGS: [EtherType; 3] =
    [EtherType::VLAN_TAGGED_FRAME, EtherType::PROVIDER_BRIDGING, EtherType::VLAN_DOUBLE_TAGGED_FRAME];

/// Protocols of the link: ARP, flow control, slow protocols, port authentication, LLDP, fault management.
const CONTROL: [u16; 6] = [0x0806, 0x8808, 0x8809, 0x888e, 0x88cc, 0x8902];

/// What a frame carries, and where in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// What no router forwards.
    Control,
    /// IPv4, by its EtherType.
    Ipv4(usize),
    /// IPv6, by its EtherType.
    Ipv6(usize),
}

/// The frame's tags and what it carries.
pub(super) fn dissect(frame: &[u8]) -> Judged<(Option<Vlan>, Link)> {
    let ethernet = Ethernet2HeaderSlice::from_slice(frame).map_err(|_short| DropReason::Malformed)?;
    let (mut kind, mut at) = (ethernet.ether_type(), ethernet.slice().len());
    let mut vids = Vec::with_capacity(MAX_TAGS);
    for _ in 0..MAX_TAGS {
        if !TAGS.contains(&kind) {
            break;
        }
        let tag = SingleVlanHeaderSlice::from_slice(&frame[at..]).map_err(|_short| DropReason::Malformed)?;
        vids.push(tag.vlan_identifier().value());
        (kind, at) = (tag.ether_type(), at + tag.slice().len());
    }
    vids.retain(|vid| *vid != 0);
    let vlan = vids.first().map(|outer| Vlan { outer: *outer, inner: vids.get(1).copied() });
    match kind {
        EtherType::IPV4 => Ok((vlan, Link::Ipv4(at))),
        EtherType::IPV6 => Ok((vlan, Link::Ipv6(at))),
        // Below 0x600 it is a length, and LLC follows: spanning tree and its like.
        EtherType(control) if control < 0x600 || CONTROL.contains(&control) => Ok((vlan, Link::Control)),
        _ => Err(DropReason::Ethertype),
    }
}
