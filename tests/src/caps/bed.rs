//! The network that experiments run on, and the gateway that polices it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};

use super::experiment::{Algorithm, Experiment};
use super::qdisc;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::namespace::{Link, Namespace};
use crate::{run, topology};

/// Experiments at the same time: each has an address.
pub(super) const MOST: usize = 254;
/// The address that everything is sent from.
pub(super) const SENDER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The router's interface towards the senders.
const UPLINK: &str = "in0";
/// The router's interface towards the line.
const EGRESS: &str = "line0";
/// The receivers' interface; frames carry its address all the way through the line.
const RECEIVERS_MAC: &str = "02:00:00:00:00:99";

/// The network; dropping it removes it.
pub struct Bed {
    pub(super) senders: Namespace,
    router: Namespace,
    pub(super) line: Namespace,
    pub(super) receivers: Namespace,
}

/// A gateway on the router, ready for batches of experiments.
pub struct Judge<'a> {
    pub(super) bed: &'a Bed,
    gateway: Gateway<'a>,
}

impl Bed {
    /// The line's interfaces: towards the router, towards the receivers.
    pub(super) const LINE: [&'static str; 2] = ["near", "far"];

    /// Builds it. Remains of killed runs are removed first.
    pub fn build() -> Result<Self> {
        run::sweep_stale();
        let router = topology::router()?;
        let [senders, line, receivers] =
            [Namespace::create("senders")?, Namespace::create("line")?, Namespace::create("receivers")?];
        for namespace in [&senders, &router, &line, &receivers] {
            for (name, value) in [
                // Acknowledgements come back another way.
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
                // A connection learns nothing from those before it.
                ("net/ipv4/tcp_no_metrics_save", "1"),
                // Nothing but the experiments' packets.
                ("net/ipv6/conf/default/disable_ipv6", "1"),
            ] {
                namespace.sysctl(name, value)?;
            }
        }
        let link = Link { mtu: 1_500, offloads: false };
        let [near, far] = Self::LINE;
        senders.connect("eth0", &router, UPLINK, link)?;
        router.connect(EGRESS, &line, near, link)?;
        line.connect(far, &receivers, "eth0", link)?;
        receivers.connect("back0", &senders, "back0", link)?;
        senders.ip(&format!("address add {SENDER}/24 dev eth0"))?;
        senders.ip("address add 192.0.2.1/24 dev back0")?;
        senders.ip("route add 203.0.113.0/24 via 198.51.100.1")?;
        router.ip(&format!("address add 198.51.100.1/24 dev {UPLINK}"))?;
        router.ip(&format!("address add 192.0.2.129/32 dev {EGRESS}"))?;
        router.ip(&format!("neighbour add 192.0.2.130 lladdr {RECEIVERS_MAC} dev {EGRESS} nud permanent"))?;
        router.ip(&format!("route add 203.0.113.0/24 via 192.0.2.130 dev {EGRESS} onlink"))?;
        receivers.ip(&format!("link set eth0 address {RECEIVERS_MAC}"))?;
        receivers.ip("address add 192.0.2.2/24 dev back0")?;
        receivers.ip("route add 198.51.100.0/24 via 192.0.2.1")?;
        // A route of this type makes every address of the network the receivers' own.
        receivers.ip("route add local 203.0.113.0/24 dev lo")?;
        Ok(Self { senders, router, line, receivers })
    }
}

impl<'a> Judge<'a> {
    /// Starts the gateway.
    pub fn start(bed: &'a Bed) -> Result<Self> {
        let gateway = Gateway::start(&bed.router, &config(&[]))?;
        Ok(Self { bed, gateway })
    }

    /// Algorithms that this kernel lacks, each with what it says.
    #[must_use]
    pub fn unavailable(&self) -> Vec<(Algorithm, String)> {
        let reason = |algorithm| {
            let outcome = qdisc::try_out(&self.bed.router, EGRESS, algorithm);
            outcome.err().map(|error| (algorithm, format!("{error:#}").trim().replace('\n', " ")))
        };
        Algorithm::ALL.into_iter().filter_map(reason).collect()
    }

    /// Puts the caps of these experiments into force.
    pub(super) fn configure(&self, experiments: &[Experiment]) -> Result<()> {
        ensure!(experiments.len() <= MOST, "there are addresses for {MOST} experiments");
        self.gateway.reload(&config(experiments))?;
        let addressed: Vec<_> = (0..).map(address).zip(experiments).collect();
        qdisc::replace(&self.bed.router, EGRESS, &addressed)
    }

    /// By tenant: bytes that the gateway has let through to it.
    pub(super) fn passed_bytes(&self) -> Result<BTreeMap<String, u64>> {
        let answer = self.gateway.tenants()?;
        let tenants = answer["tenants"].as_array().with_context(|| format!("no tenants in {answer}"))?;
        let passed = |tenant: &serde_json::Value| {
            let id = tenant["id"].as_str()?.to_owned();
            Some((id, tenant["down"]["passed"]["bytes"].as_u64()?))
        };
        tenants.iter().map(|tenant| passed(tenant).context("a tenant without counters")).collect()
    }
}

/// The tenant of the experiment with this place in a batch.
pub(super) fn id(index: usize) -> String {
    format!("tenant-{index}")
}

/// Its address.
pub(super) fn address(index: usize) -> Ipv4Addr {
    // `configure` has made sure that it fits.
    Ipv4Addr::new(203, 0, 113, u8::try_from(index + 1).unwrap_or(u8::MAX))
}

fn config(experiments: &[Experiment]) -> Config {
    let mut config = Config::of_interfaces(&[(UPLINK, "uplink"), (EGRESS, "tenant")]);
    config.set("fair_use.ceiling = '10 Gbit/s'\ndetect.mode = 'off'\nmetrics.enabled = false");
    for (index, experiment) in experiments.iter().enumerate() {
        let (id, prefix) = (id(index), address(index));
        let (cap, algorithm) = if experiment.algorithm.is_ours() {
            (format!("{} kbit/s", experiment.cap_kbit_per_sec), experiment.algorithm.label())
        } else {
            ("10 Gbit/s".to_owned(), "bucket")
        };
        config.set_tenant(&id, &format!("id = '{id}'\nprefixes = ['{prefix}/32']"));
        config.set_tenant(&id, &format!("cap = {{ down = '{cap}', algorithm = '{algorithm}' }}"));
        if let Some(burst_ms) = experiment.burst_ms {
            config.set_tenant(&id, &format!("burst = '{burst_ms}ms'"));
        }
    }
    config
}
