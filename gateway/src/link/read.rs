//! Reading interfaces.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use ethtool::{EthtoolAttr, EthtoolFeatureAttr, EthtoolHandle};
use futures_util::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp};

use super::{Link, XdpProgram};
use crate::domain::Mode;

/// Asks the kernel. Belongs to the runtime that it was opened in.
#[derive(Clone)]
pub struct Links {
    route: Handle,
    ethtool: EthtoolHandle,
}

/// The kernel refused to tell about an interface.
#[derive(Debug, thiserror::Error)]
#[error("asking the kernel about interface {name}: {source}")]
pub struct LinkError {
    name: String,
    source: rtnetlink::Error,
}

impl Links {
    /// Opens the sockets.
    ///
    /// # Errors
    /// If the process may not have netlink sockets.
    pub fn open() -> io::Result<Self> {
        let (connection, route, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let (connection, ethtool, _) = ethtool::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { route, ethtool })
    }

    /// The interface of this name; none if there is none.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub async fn find(&self, name: &str) -> Result<Option<Link>, LinkError> {
        let mut answers = self.route.link().get().match_name(name.to_owned()).execute();
        let message = match answers.try_next().await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(None),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => {
                return Ok(None);
            }
            Err(source) => return Err(LinkError { name: name.into(), source }),
        };
        let mut link = link(message);
        link.features = self.features(&link.name).await;
        Ok(Some(link))
    }

    /// Features that are on. Kernels before Linux 5.7 and some virtual interfaces do not tell.
    async fn features(&self, name: &str) -> Option<BTreeSet<String>> {
        let answers = self.ethtool.clone().feature().get(Some(name)).execute().await.ok()?;
        let answer = std::pin::pin!(answers).try_next().await.ok()??;
        let bits = answer.payload.nlas.into_iter().find_map(|attribute| match attribute {
            EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) => Some(bits),
            _ => None,
        })?;
        Some(bits.into_iter().filter(|bit| bit.value).map(|bit| bit.name).collect())
    }
}

/// The name that an interface index has now; none: there is no such interface.
#[must_use]
pub fn name_of(ifindex: u32) -> Option<String> {
    // nix 0.31 takes the null pointer of a failed call for success, and returns the empty name.
    let name = nix::net::if_::if_indextoname(ifindex).ok()?.into_string().ok()?;
    (!name.is_empty()).then_some(name)
}

/// The Ethernet address of an interface; none: there is no such interface, or it has none.
#[must_use]
pub fn mac_of(ifindex: u32) -> Option<[u8; 6]> {
    let addresses = nix::ifaddrs::getifaddrs().ok()?;
    let of_links = addresses.filter_map(|address| address.address?.as_link_addr().copied());
    of_links.into_iter().find(|address| address.ifindex() == ifindex as usize)?.addr()
}

fn link(message: LinkMessage) -> Link {
    let mut link = Link {
        ifindex: message.header.index,
        is_up: message.header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    let (mut bus, mut device) = (None, None);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu_bytes) => link.mtu_bytes = mtu_bytes,
            LinkAttribute::Xdp(attributes) => link.programs = programs(&attributes),
            LinkAttribute::LinkInfo(infos) => link.kind = infos.into_iter().find_map(kind),
            LinkAttribute::ParentDevBusName(name) => bus = Some(name),
            LinkAttribute::ParentDevName(name) => device = Some(name),
            _ => {}
        }
    }
    link.driver = bus.zip(device).and_then(|(bus, device)| driver(&bus, &device));
    link
}

fn programs(attributes: &[LinkXdp]) -> Vec<XdpProgram> {
    let program = |attribute: &LinkXdp| match *attribute {
        LinkXdp::DrvProgId(id) => Some(XdpProgram { mode: Mode::Native, id }),
        LinkXdp::SkbProgId(id) => Some(XdpProgram { mode: Mode::Generic, id }),
        LinkXdp::HwProgId(id) => Some(XdpProgram { mode: Mode::Offload, id }),
        _ => None,
    };
    attributes.iter().filter_map(program).collect()
}

fn kind(info: LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

/// Devices on a bus are the same in every network namespace.
fn driver(bus: &str, device: &str) -> Option<String> {
    let driver = fs::read_link(Path::new("/sys/bus").join(bus).join("devices").join(device).join("driver"));
    Some(driver.ok()?.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_loopback_is_there_and_other_names_are_not() {
        let links = Links::open().unwrap();
        let loopback = links.find("lo").await.unwrap().unwrap();
        assert_eq!((loopback.name.as_str(), loopback.ifindex), ("lo", 1));
        assert!(loopback.mtu_bytes >= 1_500 && loopback.programs.is_empty(), "{loopback:?}");
        // The loopback has fixed features, this one among them (drivers/net/loopback.c).
        assert!(loopback.has("loopback"), "{loopback:?}");
        assert_eq!(links.find("nosuch0").await.unwrap(), None);
        assert_eq!((name_of(1).as_deref(), name_of(u32::MAX)), (Some("lo"), None));
    }

    #[test]
    fn programs_are_told_by_mode() {
        let attributes = [LinkXdp::ProgId(7), LinkXdp::SkbProgId(7), LinkXdp::Flags(0)];
        assert_eq!(programs(&attributes), [XdpProgram { mode: Mode::Generic, id: 7 }]);
    }
}
