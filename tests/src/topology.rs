//! The network of the tests and the lab: tenants, a router, the Internet. Addresses are from the
//! documentation ranges (RFC 5737, RFC 3849).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use crate::namespace::{Link, Namespace};
use crate::run;
use crate::vlan::{TaggingEnd, Tags};

/// The router's interface to the Internet.
pub const UPLINK: &str = "up0";
/// The interface of a tenant's server, and of the server in the Internet.
pub const HOST_INTERFACE: &str = "eth0";

/// What to build.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Tenants' ids, each with the tags of its link; at most 16.
    pub tenants: Vec<(&'static str, Option<Tags>)>,
    /// All cables.
    pub link: Link,
}

impl Default for Plan {
    /// The four tenants of the picture in the [crate]'s documentation.
    fn default() -> Self {
        let tenants = vec![
            ("acme", None),
            ("beta", None),
            ("gamma", Some(Tags { outer: 110, inner: None })),
            ("delta", Some(Tags { outer: 200, inner: Some(110) })),
        ];
        Self { tenants, link: Link { mtu: 1500, offloads: false } }
    }
}

/// The running network; dropping it removes it.
pub struct Topology {
    /// Where Fairway belongs.
    pub router: Namespace,
    /// A server in the Internet.
    pub internet: Host,
    /// The tenants' servers, in the plan's order.
    pub tenants: Vec<Tenant>,
}

/// A server with an address of each family.
pub struct Host {
    /// Where it lives.
    pub namespace: Namespace,
    /// Its address.
    pub ipv4: Ipv4Addr,
    /// Its address.
    pub ipv6: Ipv6Addr,
}

/// A tenant with one server.
pub struct Tenant {
    /// Key in the gateway's configuration.
    pub id: &'static str,
    /// The server.
    pub host: Host,
    /// The tenant's own networks.
    pub prefixes: [IpNetwork; 2],
    /// The router's interface towards it.
    pub router_interface: String,
    /// Tags that its frames carry.
    pub tags: Option<Tags>,
    _tagging: Vec<TaggingEnd>,
}

impl Plan {
    /// Builds it. Remains of killed runs are removed first.
    pub fn build(&self) -> Result<Topology> {
        ensure!(self.tenants.len() <= 16, "addresses are laid out for 16 tenants");
        run::sweep_stale();
        let router = router()?;
        let internet = Subnet::of_internet()?.connect("internet", &router, UPLINK, self.link)?;
        let tenants = self.tenants.iter().zip(0..).map(|(&(id, tags), index)| {
            let subnet = Subnet::of_tenant(index)?;
            connect_tenant(id, &subnet, tags, &router, self.link).with_context(|| format!("tenant {id}"))
        });
        Ok(Topology { internet, tenants: tenants.collect::<Result<_>>()?, router })
    }
}

/// A namespace that forwards.
pub fn router() -> Result<Namespace> {
    let router = Namespace::create("router")?;
    for forwarding in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        router.sysctl(forwarding, "1")?;
    }
    Ok(router)
}

impl Topology {
    /// The tenant with this id.
    ///
    /// # Panics
    /// If the plan had none.
    #[must_use]
    pub fn tenant(&self, id: &str) -> &Tenant {
        self.tenants.iter().find(|tenant| tenant.id == id).expect("the plan has this tenant")
    }
}

impl Host {
    /// Its addresses, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.ipv4.into(), self.ipv6.into()]
    }
}

fn connect_tenant(
    id: &'static str,
    subnet: &Subnet,
    tags: Option<Tags>,
    router: &Namespace,
    link: Link,
) -> Result<Tenant> {
    let router_interface = format!("t-{id}");
    let host = subnet.connect(id, router, &router_interface, link)?;
    let mut tagging = Vec::new();
    for (namespace, interface) in [(&host.namespace, HOST_INTERFACE), (router, &router_interface)] {
        let Some(tags) = tags else { break };
        // A link takes frames of its MTU and one tag (`is_skb_forwardable` in the kernel); a second needs room.
        let room = if tags.inner.is_some() { 4 } else { 0 };
        namespace.ip(&format!("link set {interface} mtu {}", link.mtu + room))?;
        tagging.push(TaggingEnd::attach(namespace, interface, tags)?);
    }
    let prefixes = [subnet.ipv4.into(), subnet.site()?.into()];
    Ok(Tenant { id, host, prefixes, router_interface, tags, _tagging: tagging })
}

/// A network between the router, which has its first address, and a host, which has the second.
pub struct Subnet {
    ipv4: Ipv4Network,
    ipv6: Ipv6Network,
}

impl Subnet {
    /// Of the server in the Internet.
    pub fn of_internet() -> Result<Self> {
        Ok(Self { ipv4: "198.51.100.0/24".parse()?, ipv6: "2001:db8:ff::/64".parse()? })
    }

    /// Of the tenant with this place in the plan; those of the example configuration have the same places.
    pub fn of_tenant(index: u8) -> Result<Self> {
        let ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0x10 * (u16::from(index) + 1), 0, 0, 0, 0, 0);
        let ipv4 = Ipv4Addr::new(203, 0, 113, index * 16);
        Ok(Self { ipv4: Ipv4Network::new(ipv4, 28)?, ipv6: Ipv6Network::new(ipv6, 64)? })
    }

    /// The IPv6 network that is assigned to a tenant, of which the link is the first part.
    fn site(&self) -> Result<Ipv6Network> {
        Ok(Ipv6Network::new(self.ipv6.network(), 48)?)
    }

    /// Makes a host in it, and the cable to the router.
    pub fn connect(
        &self,
        role: &str,
        router: &Namespace,
        router_interface: &str,
        link: Link,
    ) -> Result<Host> {
        let namespace = Namespace::create(role)?;
        router.connect(router_interface, &namespace, HOST_INTERFACE, link)?;
        let (gateway4, gateway6) =
            (self.ipv4.nth(1).context("too small")?, self.ipv6.nth(1).context("too small")?);
        let (ipv4, ipv6) = (self.ipv4.nth(2).context("too small")?, self.ipv6.nth(2).context("too small")?);
        for (end, interface, addresses) in [
            (router, router_interface, [IpAddr::from(gateway4), gateway6.into()]),
            (&namespace, HOST_INTERFACE, [ipv4.into(), ipv6.into()]),
        ] {
            end.add_address(interface, addresses[0], self.ipv4.prefix())?;
            end.add_address(interface, addresses[1], self.ipv6.prefix())?;
        }
        // The path's MTU, which a link with room for tags exceeds.
        for gateway in [IpAddr::from(gateway4), gateway6.into()] {
            namespace.ip(&format!("route add default via {gateway} mtu {}", link.mtu))?;
        }
        Ok(Host { namespace, ipv4, ipv6 })
    }
}
