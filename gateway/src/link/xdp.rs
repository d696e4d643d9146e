//! What an interface's driver can do for XDP, as the kernel tells since Linux 6.3: generic netlink, family `netdev`.

use std::fmt::Debug;
use std::io;

use netlink_packet_core::{
    DecodeError, Emitable, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlaBuffer, NlasIterator,
    ParseableParametrized, parse_u64,
};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use super::mac_of;

/// Numbers of the family, as in the kernel's netdev.h.
mod number {
    /// `NETDEV_CMD_DEV_GET`.
    pub(super) const DEV_GET: u8 = 1;
    /// `NETDEV_A_DEV_IFINDEX`.
    pub(super) const IFINDEX: u16 = 1;
    /// `NETDEV_A_DEV_XDP_FEATURES`.
    pub(super) const XDP_FEATURES: u16 = 3;
    /// `NETDEV_XDP_ACT_REDIRECT`: sends packets where programs on it say.
    pub(super) const REDIRECT: u64 = 1 << 1;
    /// `NETDEV_XDP_ACT_NDO_XMIT`: takes frames to send from XDP programs of other interfaces.
    pub(super) const NDO_XMIT: u64 = 1 << 2;
}

/// Why packets cannot be forwarded by XDP from and to an interface.
#[derive(Debug, thiserror::Error)]
pub enum CannotForward {
    /// It is no Ethernet.
    #[error("it has no Ethernet address")]
    NoAddress,
    /// Its driver has no `XDP_REDIRECT`.
    #[error("its driver cannot redirect what it receives (NETDEV_XDP_ACT_REDIRECT)")]
    Redirect,
    /// It takes no frames from programs of other interfaces.
    #[error("as it is, it cannot send for XDP (NETDEV_XDP_ACT_NDO_XMIT)")]
    Send,
    /// The kernel is older than Linux 6.3.
    #[error("the kernel cannot tell what its driver can do (Linux 6.3 and later can)")]
    Unknown,
    /// The kernel did not answer; the interface may be gone.
    #[error("asking the kernel what its driver can do: {0}")]
    Asking(#[from] io::Error),
}

impl CannotForward {
    /// What the operator can do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Send => {
                "A veth can while its far end has GRO on (`ethtool -K IFACE gro on` there) or a program, a network card \
                 if its driver has queues left for it (`ethtool -L`); else use `forwarding = \"stack\"`"
            }
            Self::NoAddress | Self::Redirect | Self::Unknown | Self::Asking(_) => {
                "Use `forwarding = \"stack\"`"
            }
        }
    }
}

/// Whether packets can be forwarded by XDP from and to an interface, as it is set up now. Some drivers can send only while
/// they run a program themselves, a veth while its far end does or has GRO switched on.
///
/// # Errors
/// If they cannot, or nobody knows.
pub fn can_forward(ifindex: u32) -> Result<(), CannotForward> {
    mac_of(ifindex).ok_or(CannotForward::NoAddress)?;
    judge(xdp_features(ifindex)?)
}

const fn judge(xdp_features: u64) -> Result<(), CannotForward> {
    match (xdp_features & number::REDIRECT, xdp_features & number::NDO_XMIT) {
        (0, _) => Err(CannotForward::Redirect),
        (_, 0) => Err(CannotForward::Send),
        _ => Ok(()),
    }
}

fn xdp_features(ifindex: u32) -> Result<u64, CannotForward> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let name = GenlCtrlAttrs::FamilyName(Device::family_name().to_owned());
    let family = ask(&socket, 0, GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] });
    let family = family.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CannotForward::Unknown,
        _ => error.into(),
    })?;
    let id = family.nlas.iter().find_map(|attribute| match attribute {
        GenlCtrlAttrs::FamilyId(id) => Some(*id),
        _ => None,
    });
    let id = id.ok_or_else(|| io::Error::other("a family without its number"))?;
    Ok(ask(&socket, id, Device { ifindex, xdp_features: 0 })?.xdp_features)
}

/// Sends a request, and waits for its one answer, which the kernel gives at once.
fn ask<F>(socket: &Socket, family: u16, payload: F) -> io::Result<F>
where
    F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + Clone + Debug,
{
    let mut message = GenlMessage::from_payload(payload);
    message.set_resolved_family_id(family);
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<GenlMessage<F>>::deserialize(&answer).map_err(io::Error::other)?.payload {
        NetlinkPayload::InnerMessage(message) => Ok(message.into_parts().1),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        other => Err(io::Error::other(format!("an answer out of place: {other:?}"))),
    }
}

/// A question for an interface's features, and its answer.
#[derive(Clone, Debug)]
struct Device {
    ifindex: u32,
    /// [`number::REDIRECT`], [`number::NDO_XMIT`] and others.
    xdp_features: u64,
}

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        number::DEV_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        8
    }

    fn emit(&self, buffer: &mut [u8]) {
        let mut attribute = NlaBuffer::new(buffer);
        attribute.set_kind(number::IFINDEX);
        attribute.set_length(8);
        attribute.value_mut().copy_from_slice(&self.ifindex.to_ne_bytes());
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(buffer: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        let mut device = Self { ifindex: 0, xdp_features: 0 };
        for attribute in NlasIterator::new(buffer) {
            let attribute = attribute?;
            if attribute.kind() == number::XDP_FEATURES {
                device.xdp_features = parse_u64(attribute.value())?;
            }
        }
        Ok(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_does_not_redirect() {
        // It has no XDP of its own (drivers/net/loopback.c).
        let error = can_forward(1).unwrap_err();
        assert!(matches!(error, CannotForward::Redirect | CannotForward::Unknown), "{error}");
    }

    #[test]
    fn both_ways_are_needed() {
        assert!(judge(0x67).is_ok());
        assert!(matches!(judge(0x63), Err(CannotForward::Send)));
        assert!(matches!(judge(0x65), Err(CannotForward::Redirect)));
    }

    #[test]
    fn questions_and_answers_are_as_the_kernel_writes_them() {
        let mut question = [0xff; 8];
        Device { ifindex: 0x0102, xdp_features: 0 }.emit(&mut question);
        assert_eq!(question, [8, 0, 1, 0, 2, 1, 0, 0]);
        let answer = [8, 0, 1, 0, 2, 0, 0, 0, 12, 0, 3, 0, 0x67, 0, 0, 0, 0, 0, 0, 0];
        let header = GenlHeader { cmd: number::DEV_GET, version: 1 };
        let device = Device::parse_with_param(&answer, header).unwrap();
        assert_eq!(device.xdp_features, 0x67);
    }
}
