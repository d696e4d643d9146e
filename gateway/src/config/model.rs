//! The validated configuration: what the rest of the controller works from.
//!
//! Values of these types are only made by [`super::load()`]; whoever holds a [`Config`] need not check
//! anything again. Each tenant and exemption remembers where it was written ([`Place`]), so that later
//! answers ("why is this dropped?") can point at the line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use serde::Serialize;

use super::source::Span;
use super::{Detection, Enforcement, Sources};
use crate::domain::{BitRate, LineRate, Mode, Side};
use crate::text::escaped;

/// A whole configuration that passed every check.
#[derive(Clone, Debug)]
pub struct Config {
    /// The main file, as it was named on the command line.
    pub file: PathBuf,
    /// Every file that was read, and what names more of them; a change asks for a reload.
    pub sources: Sources,
    /// SHA-256 over length and bytes of all files read, in order: the version that decisions are
    /// recorded under.
    pub digest: Digest,
    /// Since when it was in force, if it was read from the copy of that time: the files were not to be used.
    pub kept_since: Option<Timestamp>,
    /// Settings of the gateway itself.
    pub gateway: Gateway,
    /// Interfaces to police, in the order written; never empty.
    pub interfaces: Vec<Interface>,
    /// The fair-use ceiling and the default burst.
    pub fair_use: FairUse,
    /// Mail policy.
    pub smtp: Smtp,
    /// Ports that the operator closes for every tenant.
    pub closed_ports: Vec<ClosedPort>,
    /// `[walled_garden]`: hosts and networks that a suspended tenant may still reach, and be reached from.
    pub walled_garden: Vec<IpNetwork>,
    /// Which misuse is looked for, and what is done about it.
    pub detection: Detection,
    /// What follows from misuse, and how it ends.
    pub enforcement: Enforcement,
    /// How much evidence is kept, and how long.
    pub evidence: EvidenceLimits,
    /// The Prometheus endpoint; absent when the operator switched it off.
    pub metrics: Option<Metrics>,
    /// Where the main file's settings are written, by dotted key: `smtp.default`.
    pub written: Written,
    /// Tenants by ascending id; ids are unique, prefixes do not overlap between tenants. Shared with the
    /// configurations before and after, as long as nothing changes about them.
    pub tenants: Vec<Arc<Tenant>>,
}

/// SHA-256 of the configuration's files, shown as lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// `[gateway]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Name of this router among others; `[a-z0-9-]{1,63}`.
    pub name: String,
    /// Where state that must survive a reboot is kept.
    pub state_dir: PathBuf,
    /// The Unix socket that the other commands talk to.
    pub control_socket: PathBuf,
    /// Group that may use the control socket besides its owner; none: the owner's group.
    pub control_group: Option<String>,
    /// Directory on a BPF file system that keeps maps and links alive without the controller.
    pub pin_dir: PathBuf,
    /// What SIGTERM does to the data plane.
    pub on_stop: OnStop,
    /// Share of the tenants, in percent, that a reload may remove without being told to.
    pub removal_limit_percent: u32,
    /// Who forwards what may pass; fixed while the gateway runs.
    pub forwarding: Forwarding,
    /// What happens to packets on a tenant interface whose source is no tenant's.
    pub unknown_sources: UnknownSources,
    /// Fragments of tenants that do not say otherwise.
    pub fragments: Fragments,
    /// Sizes of the data plane's tables; fixed until the data plane is loaded anew.
    pub limits: Limits,
}

/// `on_stop`: what an orderly stop leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStop {
    /// Policing goes on without the controller; the next one takes over.
    Keep,
    /// Every program is detached and nothing stays in the kernel.
    Detach,
}

/// `forwarding`: who forwards what may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forwarding {
    /// The router's stack.
    Stack,
    /// The XDP programs, by the router's routes and neighbours; what is out of the ordinary, the stack.
    Xdp,
}

impl Forwarding {
    /// As the configuration spells it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stack => "stack",
            Self::Xdp => "xdp",
        }
    }
}

/// `unknown_sources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownSources {
    /// Drop and count (BCP 38).
    Drop,
    /// Count only, for the first days of a deployment.
    Count,
}

/// `fragments`: what becomes of a tenant's fragments, either way. Those that could hide or overwrite the
/// ports are always dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fragments {
    /// The first is judged by its ports, and the others fall with it.
    Allow,
    /// All are dropped: large DNS answers and other long datagrams do not arrive.
    Drop,
}

/// `[limits]`: how large the tables in the kernel are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tenants that a reload may grow to; none: twice what the first config has, at least 1,024.
    pub tenants: Option<u32>,
}

/// `[[interface]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Kernel name.
    pub name: String,
    /// Which way its received packets travel.
    pub side: Side,
    /// Where in the driver or stack the program runs.
    pub mode: Mode,
    /// Whether a tenant's `vlan` must be the tag that packets carry here. On unless written otherwise
    /// on the tenant side, off on the uplink, whose tags belong to the transit network.
    pub match_vlan: bool,
    /// What its line carries; known capacities of all uplinks tell how loaded they are.
    pub capacity: Option<LineRate>,
    /// Where it was written.
    pub place: Place,
}

/// `[fair_use]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FairUse {
    /// No tenant's cap exceeds it.
    pub ceiling: BitRate,
    /// How caps are enforced (`[cap] algorithm`).
    pub algorithm: CapAlgorithm,
    /// How long a tenant may send at line rate before the cap holds it, as time at the cap's rate.
    pub burst: Duration,
}

/// `cap.algorithm`: what decides which packets exceed a cap. See docs/caps.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CapAlgorithm {
    /// A token bucket: exact, and shared by nobody's rule.
    Bucket,
    /// Phantom queues: exact, shared evenly among flows, with early signals to their senders.
    Fair,
}

impl CapAlgorithm {
    /// As the configuration spells it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Fair => "fair",
        }
    }
}

impl FairUse {
    /// "Always on" bandwidth up to 10 Mbit/s is what providers promise. With this burst, a peer 100 ms away gets after its
    /// first seconds what it gets from a plain bucket with a burst of 250 ms (docs/caps.md).
    pub const DEFAULT: Self =
        Self { ceiling: BitRate::TEN_MBIT, algorithm: CapAlgorithm::Fair, burst: Duration::from_millis(350) };
}

/// `[smtp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// TCP port 25 for tenants without an exemption.
    pub default: PortRule,
    /// TCP ports 465, 587 and 2525 (submission), unless a tenant says otherwise.
    pub submission: PortRule,
    /// How a closed mail port answers a tenant.
    pub refuse: Refuse,
    /// The provider's own relays, reachable on port 25 for tenants with `relay = true`.
    pub relays: Vec<IpNetwork>,
}

/// How a closed port answers a tenant that knocks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refuse {
    /// Not at all: connections time out.
    Drop,
    /// TCP reset, or ICMP "administratively prohibited" for UDP; at most ten a second to each tenant.
    Reset,
}

/// Whether a port is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortRule {
    /// Closed.
    Block,
    /// Open.
    Allow,
}

/// `[[closed_port]]`: a service that the operator closes for every tenant that does not `open` it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPort {
    /// Name that tenants refer to; `[a-z0-9-]{1,63}`. At most [`ClosedPort::MAX`] of them.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Inclusive ranges of destination ports; ranges of different closed ports do not overlap, and
    /// none contains 25, 465, 587 or 2525 of TCP, which `[smtp]` rules.
    pub ports: Vec<(u16, u16)>,
    /// Which way connections are closed.
    pub direction: Direction,
    /// How it answers a tenant.
    pub refuse: Refuse,
    /// Where it was written.
    pub place: Place,
}

impl ClosedPort {
    /// Service classes are four bits wide in the data plane; three are taken (none, relay, submission).
    pub const MAX: usize = 13;
}

/// Transport protocol of a closed port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Direction of a rule, seen from the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the tenant to the Internet.
    Out,
    /// From the Internet to the tenant.
    In,
    /// Both.
    Both,
}

impl Direction {
    /// As the config and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Both => "both",
        }
    }

    /// Whether it covers connections that the tenant opens.
    pub fn covers_out(self) -> bool {
        self != Self::In
    }

    /// Whether it covers connections that the Internet opens.
    pub fn covers_in(self) -> bool {
        self != Self::Out
    }
}

/// `[evidence]`: packets of offences that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceLimits {
    /// All of it together; the oldest goes first.
    pub max_bytes: u64,
    /// Nothing older is kept.
    pub keep: Duration,
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where the endpoint listens.
    pub listen: SocketAddr,
    /// Per-tenant series for this many busiest tenants and a sum of the rest; none: for every tenant.
    pub top_tenants: Option<usize>,
}

/// `[[tenant]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Stable key; `[a-z0-9-]{1,63}`.
    pub id: String,
    /// For people.
    pub name: String,
    /// At least one; the tenant's own networks, host bits zero.
    pub prefixes: Vec<IpNetwork>,
    /// The tag that the tenant's packets carry.
    pub vlan: Option<Vlan>,
    /// Domains that the tenant's own servers answer for, in lower case.
    pub domains: Vec<String>,
    /// Whom notices go to.
    pub contact: Option<String>,
    /// Cap from the tenant to the Internet.
    pub cap_up: BitRate,
    /// Cap from the Internet to the tenant.
    pub cap_down: BitRate,
    /// As [`FairUse::algorithm`], if the tenant has its own.
    pub cap_algorithm: CapAlgorithm,
    /// As [`FairUse::burst`], if the tenant has its own.
    pub burst: Duration,
    /// Its fragments.
    pub fragments: Fragments,
    /// Submission ports for this tenant.
    pub submission: PortRule,
    /// Rents the provider's relay: [`Smtp::relays`] are reachable on port 25.
    pub relay: bool,
    /// Names of [`ClosedPort`]s that are open for this tenant.
    pub open: Vec<String>,
    /// Name of its [`super::DetectClass`]; none: the default one.
    pub detect_class: Option<String>,
    /// Exemptions from the closed port 25; those that have expired are among them.
    pub smtp_exemptions: Vec<SmtpExemption>,
    /// Where it was written.
    pub place: Place,
    /// Where its own settings are written, by key: `cap`.
    pub written: Written,
}

/// VLAN tags of a tenant: `110`, or `"200.110"` for outer 200 and inner 110.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Vlan {
    /// The outermost tag, 1 to 4094. Tags with VID 0 only carry a priority and are not counted.
    pub outer: u16,
    /// The second tag, if it matters.
    pub inner: Option<u16>,
}

impl std::fmt::Display for Vlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.inner {
            None => write!(f, "{}", self.outer),
            Some(inner) => write!(f, "{}.{inner}", self.outer),
        }
    }
}

/// `[[tenant.smtp_exemption]]`: port 25 opened on a written justification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpExemption {
    /// Which way connections may be opened.
    pub direction: Direction,
    /// Whom with; empty: anybody.
    pub peers: Vec<IpNetwork>,
    /// The ticket with the justification.
    pub ticket: String,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// The first instant at which it no longer holds (a date means its end, UTC).
    pub expires: Timestamp,
    /// Where that is written.
    pub(super) expires_at: Span,
    /// Where it was written.
    pub place: Place,
}

impl SmtpExemption {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        now < self.expires
    }
}

/// Which of a table's keys are written, and where; the others have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written(pub(super) Box<[(&'static str, Place)]>);

impl Written {
    /// Where a key is written.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.0.iter().find(|(written, _)| *written == key).map(|(_, place)| place)
    }
}

/// A place in the configuration, one-based.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was opened.
    pub file: Arc<std::path::Path>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.file.to_string_lossy();
        write!(f, "{}:{}:{}", escaped(&file), self.line, self.column)
    }
}
