//! Judging the machine.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;

use super::Finding;
use super::facts::{Clocks, Forwarding, System};
use crate::dataplane::PinPlace;
use crate::dataplane::kernel::{self, version};

/// Since then maps are charged to control groups, not to RLIMIT_MEMLOCK.
const MEMLOCK_UNTIL: (u32, u32) = (5, 11);
/// Enough for the tables of a thousand tenants.
const MEMLOCK_BYTES: u64 = 64 << 20;

/// The length of a jiffy at 100 Hz, the slowest clock that Linux is built with.
const LONGEST_JIFFY: Duration = Duration::from_millis(10);

/// Counters take memory for each CPU that may ever come online.
const ABSENT_CPUS_WORTH_A_WORD: u32 = 64;

pub(super) fn findings(system: &System) -> Vec<Finding> {
    let System { clocks, .. } = system;
    let mut findings = vec![release(&system.kernel, &system.machine)];
    findings.extend(system.capabilities.map(privileges));
    findings.extend(programs(system));
    findings.extend(system.pins.as_ref().map(|(dir, place)| pins(&dir.to_string_lossy(), *place)));
    findings.push(memlock(version(&system.kernel), system.memlock_bytes));
    findings.extend([clock(clocks), jiffy(clocks.jiffy)]);
    findings.extend(
        system.possible_cpus.zip(system.online_cpus).map(|(possible, online)| cpus(possible, online)),
    );
    findings.extend(system.forwarding.iter().filter_map(forwarding));
    findings
}

fn release(release: &str, machine: &str) -> Finding {
    let (major, minor) = kernel::OLDEST;
    match version(release) {
        Some(version) if version < kernel::OLDEST => Finding::problem(
            "kernel",
            format!("Linux {release}"),
            format!(
                "frames in several buffers, and so large MTUs, are policed from Linux {major}.{minor} on"
            ),
            "install a newer kernel and reboot; on Debian: apt install linux-image-$(dpkg --print-architecture)",
        ),
        Some(version) if kernel::tried().filter_map(kernel::version).all(|tried| version < tried) => {
            Finding::warning(
                "kernel",
                format!("Linux {release} on {machine}"),
                format!("Fairway was tried on Linux {}, and on none before", kernel::tried_phrase()),
                "watch the first day closely, or boot one of those",
            )
        }
        Some(_) if matches!(machine, "x86_64" | "aarch64") => {
            Finding::ok("kernel", format!("Linux {release} on {machine}"))
        }
        _ => Finding::warning(
            "kernel",
            format!("Linux {release} on {machine}"),
            format!("Fairway is made for Linux {major}.{minor} and later on x86_64 and aarch64"),
            "watch the first day closely, or use one of those",
        ),
    }
}

/// Capabilities that are needed, by number (capability.h); CAP_SYS_ADMIN stands for the last two.
const NEEDED: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];
const CAP_SYS_ADMIN: u32 = 21;

fn privileges(capabilities: u64) -> Finding {
    let has = |number: u32| capabilities & 1 << number != 0;
    let lacks = |&&(_, number): &&(&str, u32)| !has(number) && (number < 38 || !has(CAP_SYS_ADMIN));
    let missing: Vec<&str> = NEEDED.iter().filter(lacks).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Finding::ok("privileges", "all that are needed");
    }
    Finding::problem(
        "privileges",
        format!("without {}", missing.join(", ")),
        "the kernel lets nobody else load and attach programs; what follows may be wrong for the same reason",
        "run as root: sudo fairway doctor; the service: config/systemd/fairway.service has all it needs",
    )
}

fn programs(system: &System) -> Vec<Finding> {
    let probed = match &system.programs {
        None => return Vec::new(),
        Some(Ok(probed)) => probed,
        Some(Err(error)) => {
            return vec![Finding::problem(
                "programs",
                format!("{}: {}", error.what, error.cause),
                "nothing can be policed",
                error.remedy.clone(),
            )];
        }
    };
    let attached = if probed.attached { ", and attach by BPF link" } else { "" };
    let loaded = Finding::ok("programs", format!("the programs pass the verifier{attached}"));
    let jit = if probed.jitted {
        Finding::ok("jit", "programs run as machine code")
    } else {
        Finding::warning(
            "jit",
            "programs are interpreted",
            "every packet takes several times longer",
            "sysctl -w net.core.bpf_jit_enable=1, then restart the gateway",
        )
    };
    vec![loaded, jit]
}

fn pins(dir: &str, place: PinPlace) -> Finding {
    match place {
        PinPlace::Ready => Finding::ok("bpffs", format!("{dir} is on a BPF file system")),
        PinPlace::NotMounted => Finding::warning(
            "bpffs",
            "no BPF file system on /sys/fs/bpf",
            "what is pinned there outlives the controller; `fairway run` mounts it if it may (CAP_SYS_ADMIN)",
            "mount -t bpf bpf /sys/fs/bpf",
        ),
        PinPlace::Elsewhere => Finding::problem(
            "bpffs",
            format!("gateway.pin_dir {dir} is not on a BPF file system"),
            "programs and tables cannot be pinned elsewhere",
            "leave gateway.pin_dir out, or mount one there: mount -t bpf bpf DIR",
        ),
    }
}

fn memlock(kernel: Option<(u32, u32)>, limit_bytes: Option<u64>) -> Finding {
    match (kernel, limit_bytes) {
        (Some(kernel), Some(bytes)) if kernel < MEMLOCK_UNTIL && bytes < MEMLOCK_BYTES => Finding::problem(
            "memlock",
            format!("{} KiB may be locked", bytes >> 10),
            "before Linux 5.11 the tables count against this limit",
            "ulimit -l unlimited; in a systemd unit: LimitMEMLOCK=infinity",
        ),
        (Some(kernel), _) if kernel >= MEMLOCK_UNTIL => {
            Finding::ok("memlock", "does not limit the tables since Linux 5.11")
        }
        _ => Finding::ok("memlock", "enough memory may be locked"),
    }
}

fn clock(clocks: &Clocks) -> Finding {
    if clocks.monotonic.is_zero() || clocks.boot < clocks.monotonic {
        return Finding::problem(
            "clock",
            format!("{:?} since boot, {:?} of them awake", clocks.boot, clocks.monotonic),
            "caps and expiries go by these clocks",
            "report it with the kernel's version; the gateway cannot work on this machine",
        );
    }
    // Exemptions that were approved before this release are the oldest that there can be.
    let earliest =
        date(2026, 1, 1).to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |day| day.timestamp());
    if clocks.wall < earliest {
        return Finding::problem(
            "clock",
            format!("it is said to be {:.0}", clocks.wall),
            "mail exemptions lapse by this clock: with a wrong one they hold too long",
            "set it: timedatectl set-ntp true",
        );
    }
    Finding::ok("clock", format!("{:.0}", clocks.wall))
}

fn jiffy(jiffy: Duration) -> Finding {
    if jiffy.is_zero() || jiffy > LONGEST_JIFFY {
        return Finding::warning(
            "tick",
            format!("the kernel's clock ticks every {jiffy:?}"),
            "caps count time in ticks; bursts shorter than a few of them are cut",
            "use a kernel with CONFIG_HZ of 100 or more",
        );
    }
    Finding::ok("tick", format!("{jiffy:?}"))
}

fn cpus(possible: u32, online: u32) -> Finding {
    let found = format!("{online} online, {possible} possible");
    if possible.saturating_sub(online) < ABSENT_CPUS_WORTH_A_WORD {
        return Finding::ok("cpus", found);
    }
    Finding::warning(
        "cpus",
        found,
        "counters take memory for every CPU that may ever come online: 32 bytes each per tenant",
        "boot with nr_cpus=N on the kernel's command line, N being what the machine has",
    )
}

fn forwarding(forwarding: &Forwarding) -> Option<Finding> {
    let Forwarding { family, sysctl, is_on } = forwarding;
    if (*is_on)? {
        return Some(Finding::ok("forwarding", format!("{family} is forwarded")));
    }
    Some(Finding::warning(
        "forwarding",
        format!("{family} is not forwarded"),
        "tenants have such networks, and what Fairway lets through goes no further (unless it is bridged)",
        format!("sysctl -w {sysctl}=1, and in /etc/sysctl.d/ for the next boot"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{DataplaneError, Probed};
    use crate::doctor::Severity::{self, Ok as Fine, Problem, Warning};

    fn clocks() -> Clocks {
        Clocks {
            wall: "2026-11-22T00:00:00Z".parse().unwrap(),
            monotonic: Duration::from_secs(50),
            boot: Duration::from_secs(60),
            jiffy: Duration::from_millis(4),
        }
    }

    fn healthy() -> System {
        System {
            kernel: "6.1.0-31-amd64".into(),
            machine: "x86_64".into(),
            capabilities: Some(u64::MAX),
            programs: Some(Ok(Probed { jitted: true, attached: true })),
            pins: Some(("/sys/fs/bpf/fairway/edge1".into(), PinPlace::Ready)),
            memlock_bytes: Some(8 << 20),
            clocks: clocks(),
            possible_cpus: Some(4),
            online_cpus: Some(4),
            forwarding: vec![Forwarding { family: "IPv4", sysctl: "net.ipv4.ip_forward", is_on: Some(true) }],
        }
    }

    /// The checks that are not fine.
    fn complaints(edit: impl FnOnce(&mut System)) -> Vec<(&'static str, Severity)> {
        let mut system = healthy();
        edit(&mut system);
        let found = findings(&system);
        assert!(
            found
                .iter()
                .all(|f| (f.severity == Fine) == f.mend.is_none() && f.mend.is_some() == f.why.is_some())
        );
        found.iter().filter(|f| f.severity != Fine).map(|f| (f.check, f.severity)).collect()
    }

    #[test]
    fn a_healthy_machine_gives_no_cause_for_complaint() {
        assert_eq!(complaints(|_| {}), []);
        let checks: Vec<_> = findings(&healthy()).iter().map(|f| f.check).collect();
        assert_eq!(
            checks,
            [
                "kernel",
                "privileges",
                "programs",
                "jit",
                "bpffs",
                "memlock",
                "clock",
                "tick",
                "cpus",
                "forwarding"
            ]
        );
    }

    #[test]
    fn kernels_and_machines() {
        assert_eq!(complaints(|s| s.kernel = "5.17.9".into()), [("kernel", Problem)]);
        assert_eq!(complaints(|s| s.kernel = "5.18.0-rc1".into()), [("kernel", Warning)]);
        assert_eq!(complaints(|s| s.kernel = "6.1.0-57-cloud-amd64".into()), []);
        assert_eq!(complaints(|s| s.kernel = "mine".into()), [("kernel", Warning)]);
        assert_eq!(complaints(|s| s.machine = "riscv64".into()), [("kernel", Warning)]);
        assert_eq!(complaints(|s| s.kernel = "5.10.0-8".into()), [("kernel", Problem), ("memlock", Problem)]);
    }

    #[test]
    fn each_missing_capability_is_named() {
        assert_eq!(privileges(1 << 39 | 1 << 38 | 1 << 12).severity, Fine);
        assert_eq!(privileges(1 << 21 | 1 << 12).severity, Fine);
        assert_eq!(privileges(1 << 21).found, "without CAP_NET_ADMIN");
        assert_eq!(privileges(0).found, "without CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF");
    }

    #[test]
    fn what_the_kernel_said_of_the_programs_is_told() {
        let refusal =
            || DataplaneError { what: "loading".into(), cause: "no".into(), remedy: "Be root".into() };
        assert_eq!(complaints(|s| s.programs = Some(Err(refusal()))), [("programs", Problem)]);
        let found = programs(&System { programs: Some(Err(refusal())), ..healthy() });
        assert_eq!((found[0].found.as_str(), found[0].mend.as_deref()), ("loading: no", Some("Be root")));
        let slow = Probed { jitted: false, attached: true };
        assert_eq!(complaints(|s| s.programs = Some(Ok(slow))), [("jit", Warning)]);
    }

    #[test]
    fn pins_need_a_bpf_file_system() {
        let at = |place| move |s: &mut System| s.pins = Some(("/tmp/pins".into(), place));
        assert_eq!(complaints(at(PinPlace::NotMounted)), [("bpffs", Warning)]);
        assert_eq!(complaints(at(PinPlace::Elsewhere)), [("bpffs", Problem)]);
    }

    #[test]
    fn clocks_that_cannot_be_right() {
        assert_eq!(complaints(|s| s.clocks.wall = Timestamp::UNIX_EPOCH), [("clock", Problem)]);
        assert_eq!(complaints(|s| s.clocks.boot = Duration::from_secs(49)), [("clock", Problem)]);
        assert_eq!(complaints(|s| s.clocks.jiffy = Duration::from_millis(11)), [("tick", Warning)]);
    }

    #[test]
    fn absent_cpus_and_forwarding() {
        assert_eq!(complaints(|s| s.possible_cpus = Some(240)), [("cpus", Warning)]);
        assert_eq!(complaints(|s| s.forwarding[0].is_on = Some(false)), [("forwarding", Warning)]);
        assert_eq!(complaints(|s| s.forwarding[0].is_on = None), []);
    }
}
