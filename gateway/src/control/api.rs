//! What the control socket answers: the JSON that `--json` prints.
//!
//! Shapes are stable: fields are added, never renamed or removed, while `version` stays 1. Counters are
//! packets and bytes of Ethernet frames without FCS.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock;
use crate::config;
use crate::controller::{FixedSettings, LastReload, Observation, Overview, Policy, ReloadError, Reloaded};
use crate::detect::MeasureInForce;
use crate::domain::{DirectionCounters, InterfaceCounters, Scope, Tally, TenantCounters};
use crate::enforcement::CaseId;
use crate::policy::{self, Restraint, TenantPolicy};
use crate::store::{Health, hex};
use crate::suspension::Suspension;
use gateway_ebpf::{Direction, DropReason};

/// The version of the shapes below.
pub const VERSION: u32 = 1;

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// Release of Fairway that is running.
    pub release: String,
    /// ABI version of the tables in the kernel.
    #[serde(default)]
    pub abi_version: u32,
    /// `gateway.name`.
    pub name: String,
    /// Process of the controller.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Since then.
    pub uptime_seconds: u64,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// In the config's order.
    pub interfaces: Vec<InterfaceStatus>,
    /// Tenants policed.
    pub tenants: usize,
    /// Mail exemptions.
    pub exemptions: Exemptions,
    /// The tables in the kernel.
    pub tables: Tables,
    /// URL of the metrics; none: switched off.
    pub metrics: Option<String>,
    /// The ledger's chain.
    #[serde(default)]
    pub ledger: LedgerStatus,
}

/// The ledger's chain.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// Entries on the disk.
    pub entries: u64,
    /// Hash of the last one, lower-case hex; none: the database could not be opened yet.
    pub head: Option<String>,
    /// Why the last try to write failed; none: it did not.
    pub trouble: Option<String>,
    /// What was lost, as long as no operator has acknowledged it.
    pub losses: Vec<String>,
}

impl From<&Health> for LedgerStatus {
    fn from(health: &Health) -> Self {
        Self {
            entries: health.head.map_or(0, |head| head.number),
            head: health.head.map(|head| hex(&head.hash)),
            trouble: health.trouble.clone(),
            losses: health.losses.clone(),
        }
    }
}

/// The configuration in force, and how the last reload went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The main file.
    pub file: PathBuf,
    /// SHA-256 of all files, lower-case hex.
    pub digest: String,
    /// When it was read.
    pub loaded_at: Timestamp,
    /// How many warnings it gave.
    pub warnings: usize,
    /// Since when it was in force before, if it was taken from the copy of that time: the files were not to be used.
    #[serde(default)]
    pub kept_since: Option<Timestamp>,
    /// The last reload, or the start.
    pub last_reload: ReloadStatus,
}

/// How a reload went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// Whether it put its configuration into force.
    pub successful: bool,
    /// When it ended.
    pub at: Timestamp,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One interface: packets that belong to no tenant, and those that were forwarded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Kernel name.
    pub name: String,
    /// `tenant` or `uplink`.
    pub side: String,
    /// `native`, `generic` or `offload`.
    pub mode: String,
    /// Whether an interface of this name exists and is policed.
    #[serde(default)]
    pub attached: bool,
    /// Link-local control, let through.
    pub link_control: Count,
    /// Uplink: for no tenant, let through.
    pub unmatched: Count,
    /// Tenant side: from no tenant, let through because unknown sources are only counted.
    pub unknown_source_passed: Count,
    /// Tenants' packets received here that XDP forwarded, past the router's stack.
    #[serde(default)]
    pub forwarded: Count,
    /// Dropped before a tenant was identified, by reason.
    pub by_reason: BTreeMap<String, Count>,
}

/// Exemptions that hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exemptions {
    /// How many.
    pub count: usize,
    /// When the next one lapses.
    pub next_expiry: Option<Timestamp>,
}

/// The tables in the kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tables {
    /// Their memory.
    pub bytes: u64,
    /// Tenants that fit.
    pub tenant_capacity: u32,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// `GET /v1/tenants`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenants {
    /// [`VERSION`].
    pub version: u32,
    /// By ascending id.
    pub tenants: Vec<TenantStatus>,
}

/// One tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TenantStatus {
    /// Stable key.
    pub id: String,
    /// For people.
    pub name: String,
    /// Its networks.
    pub prefixes: Vec<String>,
    /// `110`, or `200.110` for two tags.
    pub vlan: Option<String>,
    /// The widest of `suspensions`; none: there is none.
    #[serde(default)]
    pub suspension: Option<Suspension>,
    /// How it is suspended: one of each scope at most, the narrowest first. What they forbid adds up.
    #[serde(default)]
    pub suspensions: Vec<Suspension>,
    /// Measures in force against it and its sources.
    #[serde(default)]
    pub measures: Vec<MeasureInForce>,
    /// What its open cases restrict, by their ids.
    #[serde(default)]
    pub restraints: Vec<Restraint>,
    /// From the tenant to the Internet.
    pub up: DirectionStatus,
    /// From the Internet to the tenant.
    pub down: DirectionStatus,
}

/// One direction of one tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DirectionStatus {
    /// The cap in force.
    pub cap_bits_per_second: u64,
    /// Let through.
    pub passed: Count,
    /// Dropped; what arrived is `passed` + `dropped`.
    pub dropped: Count,
    /// `dropped`, by reason; only reasons that occurred.
    pub by_reason: BTreeMap<String, Count>,
    /// Packets with the reason `over_cap`, by what they met: `signal`, `queue_full` or `credit_used`; only what
    /// occurred.
    pub over_cap: BTreeMap<String, u64>,
}

/// `POST /v1/tenants/ID/suspend` takes this.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspend {
    /// How far.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// How long; none: until somebody restores the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
}

/// `POST /v1/tenants/ID/restore` takes this.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Why.
    pub reason: String,
    /// The one scope whose suspension ends, and no measure; none: see `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The one source whose measures end, and no suspension; with neither, all end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Restored {
    /// [`VERSION`].
    pub version: u32,
    /// The tenant's id.
    pub tenant: String,
    /// The widest of `suspensions`; none: there was none.
    pub suspension: Option<Suspension>,
    /// The suspensions that ended, the narrowest scope first.
    #[serde(default)]
    pub suspensions: Vec<Suspension>,
    /// The measures that ended.
    #[serde(default)]
    pub lifted: Vec<MeasureInForce>,
    /// Cases that were closed, and what they restricted with them.
    #[serde(default)]
    pub closed: Vec<CaseId>,
    /// Cases that go on restricting the tenant until an approver confirms.
    #[serde(default)]
    pub asked: Vec<CaseId>,
}

/// What suspending answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Suspended {
    /// [`VERSION`].
    pub version: u32,
    /// The tenant's id.
    pub tenant: String,
    /// The suspension that began.
    pub suspension: Suspension,
    /// All that the tenant has now, the narrowest scope first.
    #[serde(default)]
    pub suspensions: Vec<Suspension>,
}

/// `POST /v1/ledger/acknowledge` takes this.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// What was done about what the ledger lost.
    pub reason: String,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acknowledged {
    /// [`VERSION`].
    pub version: u32,
    /// What had not been acknowledged before.
    pub losses: Vec<String>,
}

/// `GET /v1/config`: what `check --against-running` compares with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningConfig {
    /// [`VERSION`].
    pub version: u32,
    /// SHA-256 of all files, lower-case hex.
    pub digest: String,
    /// What only a restart can change.
    pub fixed: FixedSettings,
    /// The effective policy; see [`policy::view()`].
    pub policy: Value,
}

/// `POST /v1/reload`, when it succeeded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReloadDone {
    /// [`VERSION`].
    pub version: u32,
    /// SHA-256 of the configuration now in force.
    pub digest: String,
    /// Tenants now policed.
    pub tenants: usize,
    /// Prefixes now known.
    pub prefixes: usize,
    /// Time that the data plane took to switch.
    pub apply_seconds: f64,
    /// Configured interfaces that do not exist now; each is policed as soon as it does.
    #[serde(default)]
    pub missing_interfaces: Vec<String>,
    /// How many warnings there are.
    pub warnings: usize,
    /// The warnings, for people.
    pub warnings_text: String,
}

/// Any request that was refused or failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// [`VERSION`].
    pub version: u32,
    /// Why, and what to do; several lines for mistakes in the configuration.
    pub error: String,
    /// The mistakes one by one, if it is the configuration that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Value>,
}

impl From<&Overview> for Status {
    fn from(overview: &Overview) -> Self {
        let Overview { policy, interfaces, memory, ledger, last_reload, started_at } = overview;
        let gateway = &policy.config.gateway;
        let uptime = Timestamp::now().duration_since(*started_at);
        Self {
            version: VERSION,
            release: env!("CARGO_PKG_VERSION").into(),
            abi_version: gateway_ebpf::abi::ABI_VERSION,
            name: gateway.name.clone(),
            pid: std::process::id(),
            started_at: *started_at,
            // The clock may have been set back since.
            uptime_seconds: uptime.as_secs().try_into().unwrap_or(0),
            config: ConfigStatus::of(policy, last_reload),
            interfaces: interfaces.iter().map(InterfaceStatus::from).collect(),
            tenants: policy.config.tenants.len(),
            exemptions: Exemptions {
                count: policy.effective.exemptions(),
                next_expiry: policy.effective.next_exemption_end(),
            },
            tables: Tables { bytes: memory.bytes, tenant_capacity: memory.tenant_capacity },
            metrics: policy
                .config
                .metrics
                .as_ref()
                .map(|metrics| format!("http://{}/metrics", metrics.listen)),
            ledger: LedgerStatus::from(ledger),
        }
    }
}

impl ConfigStatus {
    fn of(policy: &Policy, last: &LastReload) -> Self {
        Self {
            file: policy.config.file.clone(),
            digest: policy.config.digest.to_string(),
            loaded_at: policy.loaded_at,
            warnings: policy.warnings.warnings(),
            kept_since: policy.config.kept_since,
            last_reload: ReloadStatus {
                successful: last.error.is_none(),
                at: last.at,
                error: last.error.clone(),
            },
        }
    }
}

impl From<&InterfaceCounters> for InterfaceStatus {
    fn from(interface: &InterfaceCounters) -> Self {
        Self {
            name: interface.name.clone(),
            side: interface.side.label().into(),
            mode: interface.mode.label().into(),
            attached: interface.attached,
            link_control: interface.link_control.into(),
            unmatched: interface.unmatched.into(),
            unknown_source_passed: interface.unknown_source_passed.into(),
            forwarded: interface.forwarded.into(),
            by_reason: by_reason(&interface.dropped),
        }
    }
}

impl From<&Observation> for Tenants {
    fn from(observation: &Observation) -> Self {
        let mut measures: BTreeMap<&str, Vec<MeasureInForce>> = BTreeMap::new();
        for held in observation.offences.in_force(clock::wall()) {
            measures.entry(&held.tenant).or_default().push(held.clone());
        }
        let tenants = observation.policy.effective.tenants().zip(&observation.snapshot.tenants);
        let tenants = tenants.map(|(policy, counters)| TenantStatus::of(&policy, counters, &mut measures));
        Self { version: VERSION, tenants: tenants.collect() }
    }
}

impl TenantStatus {
    fn of(
        policy: &TenantPolicy<'_>,
        counters: &TenantCounters,
        measures: &mut BTreeMap<&str, Vec<MeasureInForce>>,
    ) -> Self {
        let tenant = policy.configured();
        Self {
            id: tenant.id.clone(),
            name: tenant.name.clone(),
            prefixes: tenant.prefixes.iter().map(ToString::to_string).collect(),
            vlan: tenant.vlan.map(|vlan| vlan.to_string()),
            suspension: policy.suspensions().last().cloned(),
            suspensions: policy.suspensions().to_vec(),
            measures: measures.remove(tenant.id.as_str()).unwrap_or_default(),
            restraints: policy.restraints().to_vec(),
            up: DirectionStatus::of(policy.cap(Direction::Up).value, &counters.up),
            down: DirectionStatus::of(policy.cap(Direction::Down).value, &counters.down),
        }
    }
}

impl DirectionStatus {
    pub(super) fn of(cap: config::BitRate, counters: &DirectionCounters) -> Self {
        Self {
            cap_bits_per_second: cap.bits_per_sec(),
            passed: counters.passed.into(),
            dropped: counters.dropped_total().into(),
            by_reason: by_reason(&counters.dropped),
            over_cap: over_cap(counters),
        }
    }
}

impl From<&Policy> for RunningConfig {
    fn from(policy: &Policy) -> Self {
        Self {
            version: VERSION,
            digest: policy.config.digest.to_string(),
            fixed: FixedSettings::from(&*policy.config),
            policy: policy::view(&policy.effective),
        }
    }
}

impl From<Reloaded> for ReloadDone {
    fn from(reloaded: Reloaded) -> Self {
        Self {
            version: VERSION,
            digest: reloaded.digest.to_string(),
            tenants: reloaded.applied.tenants,
            prefixes: reloaded.applied.prefixes,
            apply_seconds: reloaded.applied.took.as_secs_f64(),
            missing_interfaces: reloaded.applied.missing_interfaces,
            warnings: reloaded.warnings.warnings(),
            warnings_text: reloaded.warnings.render(false),
        }
    }
}

impl From<&ReloadError> for Failure {
    fn from(error: &ReloadError) -> Self {
        let diagnostics = match error {
            // Plain data: it cannot fail to become JSON.
            ReloadError::Config { diagnostics } => serde_json::to_value(diagnostics).ok(),
            _ => None,
        };
        Self { version: VERSION, error: error.to_string(), diagnostics }
    }
}

impl From<Tally> for Count {
    fn from(tally: Tally) -> Self {
        Self { packets: tally.packets, bytes: tally.bytes }
    }
}

fn over_cap(counters: &DirectionCounters) -> BTreeMap<String, u64> {
    let states = counters.over_cap().by_state().into_iter().filter(|(_, packets)| *packets > 0);
    states.map(|(state, packets)| (state.to_owned(), packets)).collect()
}

fn by_reason(dropped: &[(DropReason, Tally)]) -> BTreeMap<String, Count> {
    dropped.iter().map(|(reason, tally)| (reason.label().to_owned(), (*tally).into())).collect()
}
