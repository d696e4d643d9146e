//! The main file's sections about the gateway itself: `[gateway]`, `[limits]`, `[[interface]]`, `[cap]`,
//! `[fair_use]`, `[evidence]` and `[metrics]`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::burst::read_burst;
use super::diagnostic::Diagnostic;
use super::network::{INTERFACE_NAME, LISTEN};
use super::reader::Table;
use super::source::{At, IntoValues, Span};
use super::suggest::nearest;
use super::syntax::{ColumnNames, KEYS};
use super::units::{CAPACITY, DurationWithin, RATE, SIZE};
use super::value::{
    ABSOLUTE_PATH, Choice, FLAG, IDENTIFIER, Kind, NumberWithin, Refusal, Scalar, TEXT, text,
};
use super::{
    CapAlgorithm, EvidenceLimits, FairUse, Forwarding, Fragments, Gateway, Interface, Limits, Metrics, Mode,
    OnStop, Paths, Side, UnknownSources,
};

const STATE_DIR: &str = "/var/lib/fairway";
const CONTROL_SOCKET: &str = "/run/fairway/control.sock";
const PIN_ROOT: &str = "/sys/fs/bpf/fairway";
const METRICS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// Tenants come and go by the dozen; half of them at once is more likely a directory that is half there.
const REMOVAL_LIMIT_PERCENT: u32 = 50;

const ON_STOP: Choice<OnStop> = Choice(&[("keep", OnStop::Keep), ("detach", OnStop::Detach)]);
const FORWARDING: Choice<Forwarding> = Choice(&[("stack", Forwarding::Stack), ("xdp", Forwarding::Xdp)]);
const UNKNOWN_SOURCES: Choice<UnknownSources> =
    Choice(&[("drop", UnknownSources::Drop), ("count", UnknownSources::Count)]);
pub(super) const FRAGMENTS: Choice<Fragments> =
    Choice(&[("allow", Fragments::Allow), ("drop", Fragments::Drop)]);
pub(super) const CAP_ALGORITHM: Choice<CapAlgorithm> =
    Choice(&[("fair", CapAlgorithm::Fair), ("bucket", CapAlgorithm::Bucket)]);
const SIDE: Choice<Side> = Choice(&[("tenant", Side::Tenant), ("uplink", Side::Uplink)]);
const RUNNABLE_MODE: Choice<Mode> = Choice(&[("native", Mode::Native), ("generic", Mode::Generic)]);
const MODE: Scalar<Mode> = Scalar {
    expected: "\"native\" or \"generic\"",
    read: |value| match text(value)? {
        // Linux offloads programs over arrays and hash tables only (kernel/bpf/offload.c), and these need a
        // longest-prefix match and a ring buffer.
        "offload" => Err(Refusal::new("no network card can run the programs").help("use \"native\"")),
        _ => RUNNABLE_MODE.read(value),
    },
};
const COUNT: NumberWithin = NumberWithin(1..=1_000_000);

/// `sun_path` of `sockaddr_un` holds 108 bytes with the closing NUL (unix(7)).
const SOCKET_PATH_MAX_BYTES: usize = 107;
const SOCKET_PATH: Scalar<PathBuf> = Scalar {
    expected: "an absolute path of at most 107 bytes",
    read: |value| {
        let path = (ABSOLUTE_PATH.read)(value)?;
        match path.as_os_str().len() {
            0..=SOCKET_PATH_MAX_BYTES => Ok(path),
            bytes => Err(Refusal::new(format!("{bytes} bytes long"))),
        }
    },
};

/// `[gateway]` and `[limits]`, and where the tenants are written.
pub(super) struct GatewaySection {
    pub(super) settings: Gateway,
    /// Patterns of tenant files, relative to the main file's directory.
    pub(super) tenant_files: Vec<At<String>>,
    /// `limits.tenants`.
    pub(super) tenant_limit: Option<At<u32>>,
}

pub(super) fn read_gateway(root: &mut Table<'_>) -> GatewaySection {
    let tenant_limit = root.table("limits", |table| table.optional("tenants", &COUNT));
    root.table("gateway", |table| {
        let name = table.required("name", &IDENTIFIER).map_or_else(String::new, |name| name.value);
        let settings = Gateway {
            state_dir: table.or("state_dir", &ABSOLUTE_PATH, STATE_DIR.into()),
            control_socket: table.or("control_socket", &SOCKET_PATH, CONTROL_SOCKET.into()),
            control_group: table.optional("control_group", &TEXT).map(|group| group.value),
            pin_dir: table.or("pin_dir", &ABSOLUTE_PATH, PathBuf::from(PIN_ROOT).join(&name)),
            on_stop: table.or("on_stop", &ON_STOP, OnStop::Keep),
            removal_limit_percent: table.or(
                "removal_limit_percent",
                &NumberWithin(0..=100),
                REMOVAL_LIMIT_PERCENT,
            ),
            forwarding: table.or("forwarding", &FORWARDING, Forwarding::Stack),
            unknown_sources: table.or("unknown_sources", &UNKNOWN_SOURCES, UnknownSources::Drop),
            fragments: table.or("fragments", &FRAGMENTS, Fragments::Allow),
            limits: Limits { tenants: tenant_limit.as_ref().map(|limit| limit.value) },
            name,
        };
        GatewaySection { settings, tenant_files: table.list("tenants", &TEXT), tenant_limit }
    })
}

/// Reads where things are, and nothing else; see [`super::locate()`].
pub(super) fn read_paths(root: &mut Table<'_>) -> Paths {
    root.table("gateway", |table| {
        let is_whole = table.is_whole();
        let name = table.optional("name", &IDENTIFIER).map(|name| name.value);
        let mut path = |key, kind, default: Option<PathBuf>| match table.has(key) {
            true => table.optional(key, kind).map(|path| path.value),
            false => default.filter(|_| is_whole),
        };
        let control_socket = path("control_socket", &SOCKET_PATH, Some(CONTROL_SOCKET.into()));
        let state_dir = path("state_dir", &ABSOLUTE_PATH, Some(STATE_DIR.into()));
        let pin_dir = path("pin_dir", &ABSOLUTE_PATH, name.map(|name| PathBuf::from(PIN_ROOT).join(name)));
        Paths { control_socket, pin_dir, state_dir }
    })
}

/// A key of tenants that a column can hold.
struct ColumnKey;

impl Kind for ColumnKey {
    type Value = &'static str;

    fn expected(&self) -> String {
        "a key of [[tenant]] that a column can hold".to_owned()
    }

    fn read(&self, value: &DeValue<'_>) -> Result<&'static str, Refusal> {
        let written = text(value)?;
        KEYS.into_iter().find(|key| *key == written).ok_or_else(|| {
            Refusal::new("not one of them").help(match nearest(written, KEYS) {
                Some(key) => format!("did you mean \"{key}\"?"),
                None => format!("known: {}", KEYS.join(", ")),
            })
        })
    }
}

/// Reads `[csv]`: what another system calls its columns.
pub(super) fn read_columns(root: &mut Table<'_>) -> ColumnNames {
    root.table("csv", |table| {
        let keys = table.named_values("columns", &ColumnKey).into_iter();
        let ignored = table.list("ignore", &TEXT).into_values().into_iter();
        ColumnNames {
            keys: keys.map(|(name, key)| (name.to_lowercase(), key.value)).collect(),
            ignored: ignored.map(|name| name.to_lowercase()).collect(),
        }
    })
}

/// Reads every `[[interface]]`; there is at least one on each side, and each in a mode that `forwarding` works in.
pub(super) fn read_interfaces(root: &mut Table<'_>, forwarding: Forwarding) -> Vec<Interface> {
    let mut names: HashMap<String, Span> = HashMap::new();
    let interfaces = root.tables("interface", |table| {
        let name = table.required("name", &INTERFACE_NAME);
        let side = table.required("side", &SIDE).map(|side| side.value);
        let written = table.optional("mode", &MODE);
        let mode = written.as_ref().map_or(Mode::Native, |mode| mode.value);
        if let Some(written) = written
            && forwarding == Forwarding::Xdp
            && mode != Mode::Native
        {
            table.report(
                Diagnostic::error("`forwarding = \"xdp\"` needs `mode = \"native\"`")
                    .at(&written.span, "expected \"native\"")
                    .help("only drivers send for XDP; with `forwarding = \"stack\"` every mode works"),
            );
        }
        let match_vlan = table.or("match_vlan", &FLAG, side == Some(Side::Tenant));
        let capacity = table.optional("capacity", &CAPACITY).map(|capacity| capacity.value);
        let At { value: name, span } = name?;
        if let Some(first) = names.get(&name) {
            table.report(
                Diagnostic::error(format!("interface {name} is written twice"))
                    .at(&span, "the second time")
                    .at(first, "the first time")
                    .help("an interface faces either the tenants or the uplink; keep one of them"),
            );
        }
        let place = table.header().place();
        names.insert(name.clone(), span);
        Some(Interface { name, side: side?, mode, match_vlan, capacity, place })
    });
    // An interface with a mistake may be the one that is looked for.
    let Some(interfaces) = interfaces.into_iter().collect::<Option<Vec<_>>>() else { return Vec::new() };
    for (side, word) in [(Side::Tenant, "tenant"), (Side::Uplink, "uplink")] {
        if root.is_whole() && !interfaces.iter().any(|interface| interface.side == side) {
            let span = root.key_span("interface").unwrap_or_else(|| root.header().clone());
            root.report(
                Diagnostic::error(format!("no interface on the {word} side"))
                    .at(&span, format!("expected at least one [[interface]] with side = \"{word}\""))
                    .help("packets are policed between the two sides; each needs an interface"),
            );
        }
    }
    report_partial_capacity(root, &interfaces, &names);
    interfaces
}

/// Warns if only some uplinks have a capacity: then their load is not known.
fn report_partial_capacity(root: &mut Table<'_>, interfaces: &[Interface], names: &HashMap<String, Span>) {
    let (with, without): (Vec<_>, Vec<_>) = interfaces
        .iter()
        .filter(|interface| interface.side == Side::Uplink)
        .partition(|uplink| uplink.capacity.is_some());
    let Some(span) = without.first().and_then(|uplink| names.get(&uplink.name)) else { return };
    if !with.is_empty() {
        root.report(
            Diagnostic::warning("only some uplinks have a `capacity`")
                .at(span, "this one has none, so the load of the uplinks together is not known")
                .help("write it for each uplink, or for none: without it, `sudden_rise` judges nobody"),
        );
    }
}

/// `[cap]` and `[fair_use]`, and where the ceiling is written.
pub(super) struct FairUseSection {
    pub(super) settings: FairUse,
    /// None if it is left out, or not valid.
    pub(super) ceiling_span: Option<Span>,
    /// Whether the ceiling is the one that the operator means.
    pub(super) is_ceiling_known: bool,
}

pub(super) fn read_fair_use(root: &mut Table<'_>) -> FairUseSection {
    let algorithm =
        root.table("cap", |table| table.or("algorithm", &CAP_ALGORITHM, FairUse::DEFAULT.algorithm));
    root.table("fair_use", |table| {
        let written = table.optional("ceiling", &RATE);
        let ceiling = written.as_ref().map_or(FairUse::DEFAULT.ceiling, |written| written.value);
        FairUseSection {
            settings: FairUse {
                ceiling,
                algorithm,
                burst: read_burst(table, FairUse::DEFAULT.burst, "[fair_use]"),
            },
            is_ceiling_known: written.is_some() || !table.has("ceiling"),
            ceiling_span: written.map(|written| written.span),
        }
    })
}

/// Reads `[evidence]`. The privacy of those who are in the packets limits how long they may be kept.
pub(super) fn read_evidence(root: &mut Table<'_>) -> EvidenceLimits {
    const DAY: Duration = Duration::from_secs(86_400);
    root.table("evidence", |table| EvidenceLimits {
        max_bytes: table.or("max_size", &SIZE, 1_000_000_000),
        keep: table.or("keep", &DurationWithin(DAY..=DAY * 3_650), DAY * 30),
    })
}

/// Reads `[metrics]`: the endpoint is on unless it is switched off.
pub(super) fn read_metrics(root: &mut Table<'_>) -> Option<Metrics> {
    root.table("metrics", |table| {
        let enabled = table.or("enabled", &FLAG, true);
        let listen = table.or("listen", &LISTEN, METRICS_LISTEN);
        let top_tenants = table.optional("top_tenants", &COUNT).map(|top| top.value as usize);
        enabled.then_some(Metrics { listen, top_tenants })
    })
}
