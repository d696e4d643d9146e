//! Routers whose stacks forward what is sent into them, under no policy or under one that Linux brings along.
//!
//! ```text
//!   (packets) ──> in0  router  out0 ────── sink
//! ```

use std::fs;

use anyhow::{Context, Result};
use fairway_tests::namespace::{Link, Namespace};
use ipnetwork::{IpNetwork, Ipv4Network};

use crate::htb::{self, Classifier};
use crate::scale::{Scale, networks_of};
use crate::traffic::Generator;

/// How much each tenant may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caps {
    /// More than anybody does.
    Wide,
    /// Less than anybody does: 8 kbit/s.
    Narrow,
}

/// A router between nowhere and a host that throws everything away.
pub(crate) struct Router {
    namespace: Namespace,
    sink: Namespace,
    _source: Namespace,
    /// What [`Self::with_sink_that_drops`] attached.
    _dropping: Option<Generator>,
}

impl Router {
    /// Forwards everything.
    pub(crate) fn without_policy() -> Result<Self> {
        let [namespace, sink, source] =
            [Namespace::create("bench")?, Namespace::create("sink")?, Namespace::create("source")?];
        let link = Link { mtu: 1500, offloads: false };
        namespace.connect("in0", &source, "eth0", link)?;
        namespace.connect("out0", &sink, "eth0", link)?;
        for (name, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/in0/rp_filter", "0"),
        ] {
            namespace.sysctl(name, value)?;
        }
        namespace.ip("address add 203.0.113.1/24 dev out0")?;
        // Not the sink's own address: its stack throws the frame away at once.
        namespace.ip("neighbour add 203.0.113.2 lladdr 02:00:00:00:00:99 dev out0 nud permanent")?;
        namespace.ip("route add default via 203.0.113.2")?;
        Ok(Self { namespace, sink, _source: source, _dropping: None })
    }

    /// Has the sink throw away what it receives by XDP. A veth takes what programs send only where its far end has one
    /// of its own (`veth_xdp_xmit` in drivers/net/veth.c).
    pub(crate) fn with_sink_that_drops(mut self) -> Result<Self> {
        let mut generator = Generator::load()?;
        self.sink.enter(|| generator.attach_dropping("eth0"))??;
        self._dropping = Some(generator);
        Ok(self)
    }

    /// Fairway's policy in nftables, at the earliest hook that it has: whose is it (an interval map to a
    /// mark), is port 25 open (a set of marks), is it within its cap (a dynamic set of limits by mark).
    pub(crate) fn with_nftables(scale: Scale, caps: Caps) -> Result<Self> {
        let router = Self::without_policy()?;
        let (rate, burst) = match caps {
            Caps::Wide => (1_250_000_000, 4_000_000_000_u64),
            Caps::Narrow => (1_000, 64),
        };
        let networks = networks(scale).map(|(number, network)| format!("{network} : {}", number + 1));
        let rules = format!(
            "table netdev acceptable_use {{
                map tenants {{ type ipv4_addr : mark; flags interval; elements = {{ {} }} }}
                set exempt {{ type mark; elements = {{ 4294967295 }} }}
                set caps {{ type mark; size 200000; flags dynamic; }}
                chain ingress {{
                    type filter hook ingress device in0 priority -500; policy accept;
                    meta mark set ip saddr map @tenants
                    meta mark 0 counter drop
                    tcp dport 25 meta mark != @exempt counter drop
                    update @caps {{ meta mark limit rate over {rate} bytes/second burst {burst} bytes }} counter drop
                }}
            }}\n",
            networks.collect::<Vec<_>>().join(", ")
        );
        router.apply(&["nft", "-f"], &rules)?;
        Ok(router)
    }

    /// A class for each tenant in HTB, found by `classifier`.
    pub(crate) fn with_htb(scale: Scale, classifier: Classifier) -> Result<Self> {
        let (router, rules) = (Self::without_policy()?, htb::rules(scale, classifier)?);
        router.apply(&["tc", "-batch"], &rules.text)?;
        Ok(router)
    }

    fn apply(&self, command: &[&str], rules: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new().context("a file for the rules")?;
        fs::write(&file, rules)?;
        let path = file.path().to_string_lossy();
        self.namespace.run(&[command, &[&path]].concat()).map(drop)
    }

    /// Calls `work` with this thread on the router.
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.namespace.enter(work)?
    }

    /// The index of the interface that packets come in by.
    pub(crate) fn ingress(&self) -> Result<u32> {
        self.enter(|| nix::net::if_::if_nametoindex("in0").context("in0"))
    }

    /// The index of the interface that packets leave by.
    pub(crate) fn egress(&self) -> Result<u32> {
        self.enter(|| nix::net::if_::if_nametoindex("out0").context("out0"))
    }

    /// The address that packets are sent to.
    pub(crate) fn ingress_mac(&self) -> Result<[u8; 6]> {
        let text = self.namespace.run(&["ip", "-oneline", "link", "show", "in0"])?;
        let mac =
            text.split_once("link/ether ").and_then(|(_, rest)| rest.get(..17)).context("no address")?;
        let bytes: Vec<u8> =
            mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
        bytes.try_into().ok().context("six bytes")
    }

    /// Packets sent out so far, to a sink that drops: those that it received.
    pub(crate) fn forwarded(&self) -> Result<u64> {
        // The kernel shows the interfaces of the namespace of the thread that looks.
        let text = self.enter(|| fs::read_to_string("/proc/thread-self/net/dev").context("interfaces"))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("out0:")).context("no out0")?;
        // Eight figures of what was received come first.
        Ok(line.split_whitespace().nth(9).context("no count")?.parse()?)
    }
}

/// IPv4 networks with the numbers of their tenants.
pub(crate) fn networks(scale: Scale) -> impl Iterator<Item = (u32, Ipv4Network)> {
    let network = move |number| {
        networks_of(number).into_iter().find_map(|network| match network {
            IpNetwork::V4(network) => Some((number % scale.tenants, network)),
            IpNetwork::V6(_) => None,
        })
    };
    (0..scale.networks()).filter_map(network)
}
