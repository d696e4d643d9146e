//! What is looked at, before it is judged.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::utsname::uname;
use nix::time::{ClockId, clock_getres, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use tokio::task::spawn_blocking;

use crate::config::{Config, Interface};
use crate::dataplane::{DataplaneError, PinPlace, Probed, pin_place, pinned_programs, possible_cpus, probe};
use crate::link::{CannotForward, Link, LinkError, Links, can_forward};

/// Whether the programs are to be loaded for a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Programs {
    /// Load them, attach them where it harms nobody, let go.
    Try,
    /// They run already.
    Leave,
}

/// The machine.
#[derive(Debug)]
pub(super) struct System {
    /// Release of the kernel, as `uname -r` prints it.
    pub(super) kernel: String,
    /// Architecture, as `uname -m` prints it.
    pub(super) machine: String,
    /// Effective capabilities, one bit each.
    pub(super) capabilities: Option<u64>,
    /// None: not tried.
    pub(super) programs: Option<Result<Probed, DataplaneError>>,
    /// None: no configuration says where.
    pub(super) pins: Option<(std::path::PathBuf, PinPlace)>,
    /// None: unlimited.
    pub(super) memlock_bytes: Option<u64>,
    pub(super) clocks: Clocks,
    pub(super) possible_cpus: Option<u32>,
    pub(super) online_cpus: Option<u32>,
    pub(super) forwarding: Vec<Forwarding>,
}

/// Readings of one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) wall: Timestamp,
    /// Since boot, sleep not counted.
    pub(super) monotonic: Duration,
    /// Since boot.
    pub(super) boot: Duration,
    /// What the programs' clock advances by.
    pub(super) jiffy: Duration,
}

/// Forwarding of a family that tenants have networks of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forwarding {
    pub(super) family: &'static str,
    /// Name of the kernel's parameter.
    pub(super) sysctl: &'static str,
    /// None: it cannot be read.
    pub(super) is_on: Option<bool>,
}

impl System {
    pub(super) async fn gather(config: Option<&Config>, programs: Programs) -> Self {
        // The verifier takes its time.
        let tried = match programs {
            Programs::Try => spawn_blocking(probe).await.ok(),
            Programs::Leave => None,
        };
        let uname = uname();
        let told = |text: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
            uname
                .as_ref()
                .map_or_else(|_| "unknown".into(), |uname| text(uname).to_string_lossy().into_owned())
        };
        let memlock_bytes = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
        let pin_dir = config.map(|config| &config.gateway.pin_dir);
        Self {
            kernel: told(|uname| uname.release()),
            machine: told(|uname| uname.machine()),
            capabilities: fs::read_to_string("/proc/thread-self/status").ok().and_then(|s| effective(&s)),
            programs: tried,
            pins: pin_dir.map(|dir| (dir.clone(), pin_place(dir))),
            memlock_bytes: (memlock_bytes != RLIM_INFINITY).then_some(memlock_bytes),
            clocks: Clocks::read(),
            possible_cpus: possible_cpus().ok(),
            online_cpus: sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().map(|cpus| cpus as u32),
            forwarding: config.map(forwarding).unwrap_or_default(),
        }
    }
}

impl Clocks {
    fn read() -> Self {
        // These clocks exist on every kernel that this program starts on.
        let now = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
        Self {
            wall: Timestamp::now(),
            monotonic: now(ClockId::CLOCK_MONOTONIC),
            boot: now(ClockId::CLOCK_BOOTTIME),
            jiffy: clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from),
        }
    }
}

/// The effective capabilities in /proc/PID/status (proc_pid_status(5)).
fn effective(status: &str) -> Option<u64> {
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

fn forwarding(config: &Config) -> Vec<Forwarding> {
    let has = |is_family: fn(&IpNetwork) -> bool| {
        config.tenants.iter().flat_map(|tenant| &tenant.prefixes).any(is_family)
    };
    let read = |family, sysctl| Forwarding { family, sysctl, is_on: number(sysctl).map(|on| on != 0) };
    let ipv4 = has(IpNetwork::is_ipv4).then(|| read("IPv4", "net.ipv4.ip_forward"));
    let ipv6 = has(IpNetwork::is_ipv6).then(|| read("IPv6", "net.ipv6.conf.all.forwarding"));
    ipv4.into_iter().chain(ipv6).collect()
}

/// A parameter of the kernel; those beneath `net` are this network namespace's.
fn number(sysctl: &str) -> Option<u32> {
    // Interface names may hold dots, which sysctl(8) writes as slashes.
    let path: String = sysctl
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect();
    fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?.trim().parse().ok()
}

/// A configured interface as it is.
#[derive(Debug)]
pub(super) struct Seen {
    /// None: it does not exist.
    pub(super) link: Result<Option<Link>, LinkError>,
    /// Reverse-path filtering in force: 1 is strict (RFC 3704).
    pub(super) rp_filter: Option<u32>,
    /// Whether XDP can forward packets there.
    pub(super) can_forward: Result<(), CannotForward>,
}

impl Seen {
    pub(super) async fn look(interface: &Interface, links: &Links) -> Self {
        // The stricter of the two holds (Documentation/networking/ip-sysctl.rst).
        let own = format!("net.ipv4.conf.{}.rp_filter", interface.name.replace('.', "/"));
        let rp_filter = number(&own).map(|own| own.max(number("net.ipv4.conf.all.rp_filter").unwrap_or(0)));
        let link = links.find(&interface.name).await;
        let ifindex = link.as_ref().ok().and_then(|link| Some(link.as_ref()?.ifindex));
        Self { link, rp_filter, can_forward: can_forward(ifindex.unwrap_or_default()) }
    }
}

/// Which programs are this gateway's own: ids by interface index.
pub(super) struct OwnPrograms(pub(super) Result<HashMap<u32, u32>, DataplaneError>);

impl OwnPrograms {
    pub(super) fn of(pin_dir: &Path) -> Self {
        Self(pinned_programs(pin_dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status() {
        let status = "Name:\tfairway\nCapPrm:\t0000000000000000\nCapEff:\t000000c000001000\n";
        assert_eq!(effective(status), Some(1 << 39 | 1 << 38 | 1 << 12));
        assert_eq!(effective("Name:\tfairway\n"), None);
    }

    #[test]
    fn parameters_are_read_by_their_names() {
        assert!(number("net.ipv4.ip_forward").is_some());
        assert!(number("net.ipv4.conf.lo.rp_filter").is_some());
        assert_eq!(number("net.ipv4.no_such_parameter"), None);
    }

    #[test]
    fn the_clocks_agree() {
        let clocks = Clocks::read();
        assert!(clocks.boot >= clocks.monotonic && clocks.monotonic > Duration::ZERO, "{clocks:?}");
        let jiffy = Duration::from_millis(1)..=Duration::from_millis(10);
        assert!(jiffy.contains(&clocks.jiffy), "{clocks:?}");
    }
}
