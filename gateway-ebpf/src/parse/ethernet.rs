//! Ethernet and VLAN tags (IEEE 802.3, 802.1Q, 802.1ad).

use super::Frame;
use crate::DropReason;

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
/// Used for outer tags before 802.1ad settled on 0x88a8, and still configured.
const OLD_SERVICE_VLAN: u16 = 0x9100;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
/// Below this the field is a length (IEEE 802.3, 3.2.6): LLC frames such as spanning tree.
const SMALLEST_ETHERTYPE: u16 = 0x0600;
/// Flow control, slow protocols (LACP), port authentication, LLDP, connectivity fault management.
const LINK_CONTROL: [u16; 5] = [0x8808, 0x8809, 0x888e, 0x88cc, 0x8902];

/// VLAN tags that a frame carries. VID 0 only carries a priority (IEEE 802.1Q, 9.6), so it is no tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Tags {
    /// VID of the outermost tag; 0: none.
    pub outer: u16,
    /// VID of the next one; 0: none.
    pub inner: u16,
}

impl Tags {
    /// Whether a frame with these tags is of the tenant with tags `wanted`; a 0 in `wanted` matches all.
    #[inline(always)]
    #[must_use]
    pub const fn satisfy(self, wanted: Self) -> bool {
        (wanted.outer == 0 || wanted.outer == self.outer) && (wanted.inner == 0 || wanted.inner == self.inner)
    }

    #[inline(always)]
    const fn push(self, vid: u16) -> Self {
        if vid == 0 {
            self
        } else if self.outer == 0 {
            Self { outer: vid, inner: 0 }
        } else {
            Self { outer: self.outer, inner: vid }
        }
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// ARP and protocols of the link itself, which no router forwards.
    LinkControl,
    /// Anything else, a third VLAN tag among it.
    Unknown,
}

/// The link layer of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// VLAN tags.
    pub tags: Tags,
    /// What comes next.
    pub network: Network,
    /// Where it starts.
    pub next: usize,
}

/// Reads the Ethernet header and up to two VLAN tags.
///
/// # Errors
/// [`DropReason::Malformed`] if the frame ends within them.
#[inline(always)]
pub fn ethernet(frame: &(impl Frame + ?Sized)) -> Result<Ethernet, DropReason> {
    let mut ether_type = frame.be16(12).ok_or(DropReason::Malformed)?;
    let mut next = 14;
    let mut tags = Tags::default();
    for _ in 0..2 {
        if !matches!(ether_type, VLAN | SERVICE_VLAN | OLD_SERVICE_VLAN) {
            break;
        }
        let tag = frame.be32(next).ok_or(DropReason::Malformed)?;
        // Priority and drop eligibility (the upper four bits) must not matter.
        tags = tags.push((tag >> 16) as u16 & 0x0fff);
        ether_type = tag as u16;
        next += 4;
    }
    let network = match ether_type {
        IPV4 => Network::Ipv4,
        IPV6 => Network::Ipv6,
        ARP => Network::LinkControl,
        other if other < SMALLEST_ETHERTYPE || LINK_CONTROL.contains(&other) => Network::LinkControl,
        _ => Network::Unknown,
    };
    Ok(Ethernet { tags, network, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(after_addresses: &[u8]) -> [u8; 32] {
        let mut bytes = [0xee; 32];
        bytes[12..12 + after_addresses.len()].copy_from_slice(after_addresses);
        bytes
    }

    fn parse(after_addresses: &[u8]) -> (Tags, Network, usize) {
        let parsed = ethernet(frame(after_addresses).as_slice()).expect("long enough");
        (parsed.tags, parsed.network, parsed.next)
    }

    #[test]
    fn untagged() {
        assert_eq!(parse(&[0x08, 0x00]), (Tags::default(), Network::Ipv4, 14));
        assert_eq!(parse(&[0x86, 0xdd]), (Tags::default(), Network::Ipv6, 14));
        assert_eq!(parse(&[0x08, 0x06]), (Tags::default(), Network::LinkControl, 14));
        assert_eq!(parse(&[0x00, 0x26]), (Tags::default(), Network::LinkControl, 14));
        assert_eq!(parse(&[0x88, 0xcc]), (Tags::default(), Network::LinkControl, 14));
        assert_eq!(parse(&[0x88, 0x64]), (Tags::default(), Network::Unknown, 14));
    }

    #[test]
    fn priority_bits_do_not_matter() {
        for bits in 0..16_u8 {
            let tagged = parse(&[0x81, 0x00, bits << 4, 110, 0x08, 0x00]);
            assert_eq!(tagged, (Tags { outer: 110, inner: 0 }, Network::Ipv4, 18));
        }
    }

    #[test]
    fn two_tags_and_no_more() {
        let two = [0x88, 0xa8, 0x00, 200, 0x81, 0x00, 0x00, 110, 0x86, 0xdd];
        assert_eq!(parse(&two), (Tags { outer: 200, inner: 110 }, Network::Ipv6, 22));
        let three = [0x88, 0xa8, 0, 200, 0x81, 0, 0, 110, 0x81, 0, 0, 9, 0x08, 0];
        assert_eq!(parse(&three).1, Network::Unknown);
    }

    #[test]
    fn a_priority_tag_is_no_vlan() {
        let priority_then_vlan = [0x81, 0x00, 0xe0, 0x00, 0x81, 0x00, 0x00, 110, 0x08, 0x00];
        assert_eq!(parse(&priority_then_vlan).0, Tags { outer: 110, inner: 0 });
    }

    #[test]
    fn an_inner_tag_cannot_pose_as_the_outer_one() {
        let wanted = Tags { outer: 110, inner: 0 };
        assert!(Tags { outer: 110, inner: 7 }.satisfy(wanted));
        assert!(!Tags { outer: 200, inner: 110 }.satisfy(wanted));
        assert!(!Tags::default().satisfy(wanted));
        assert!(Tags { outer: 200, inner: 110 }.satisfy(Tags { outer: 200, inner: 110 }));
        assert!(!Tags { outer: 200, inner: 0 }.satisfy(Tags { outer: 200, inner: 110 }));
    }

    #[test]
    fn truncated() {
        assert_eq!(ethernet([0_u8; 13].as_slice()), Err(DropReason::Malformed));
        let cut_in_tag = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0x00, 0, 1, 8];
        assert_eq!(ethernet(cut_in_tag.as_slice()), Err(DropReason::Malformed));
    }
}
