//! The kernel's own queues beside Fairway's caps: HTB and TBF, a class for each tenant.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use super::experiment::{Algorithm, Experiment};
use crate::namespace::Namespace;

/// How much waits in a queue, as time at its rate.
const QUEUE_MS: u32 = 50;

/// Whether the kernel has what `algorithm` needs.
///
/// # Errors
/// What tc says if it has not.
pub(super) fn try_out(router: &Namespace, interface: &str, algorithm: Algorithm) -> Result<()> {
    let discipline = match algorithm {
        Algorithm::Bucket | Algorithm::Fair => return Ok(()),
        Algorithm::Htb => "htb",
        Algorithm::Tbf => "tbf rate 1mbit burst 5kb latency 50ms",
    };
    let command = format!("tc qdisc add dev {interface} root {discipline}");
    router.run(&command.split(' ').collect::<Vec<_>>())?;
    router.run(&["tc", "qdisc", "delete", "dev", interface, "root"]).map(drop)
}

/// Queues for those experiments that want one; whatever was there is removed.
pub(super) fn replace(
    router: &Namespace,
    interface: &str,
    experiments: &[(Ipv4Addr, &Experiment)],
) -> Result<()> {
    // There may be none, which is no failure.
    let _ = router.run(&["tc", "qdisc", "delete", "dev", interface, "root"]);
    let mut rules = format!("qdisc add dev {interface} root handle 1: htb default 0\n");
    let mut classes = 0;
    for (address, experiment) in experiments.iter().filter(|(_, each)| !each.algorithm.is_ours()) {
        classes += 1;
        rules_of(&mut rules, interface, classes, *address, experiment)?;
    }
    if classes == 0 {
        return Ok(());
    }
    let file = tempfile::NamedTempFile::new().context("a file for the rules")?;
    fs::write(&file, rules)?;
    router.run(&["tc", "-batch", &file.path().to_string_lossy()]).map(drop)
}

fn rules_of(
    rules: &mut String,
    interface: &str,
    class: u32,
    address: Ipv4Addr,
    experiment: &Experiment,
) -> Result<()> {
    let rate = experiment.cap_kbit_per_sec;
    let leaf_handle = 0x100 + class;
    let (class_rate, leaf) = match experiment.algorithm {
        // kbit/s x ms / 8 is bytes.
        Algorithm::Htb => (format!("{rate}kbit"), format!("bfifo limit {}", rate * QUEUE_MS / 8)),
        // Two and a half frames: a burst below one would let nothing through.
        _ => (
            "10gbit quantum 60000".to_owned(),
            format!("tbf rate {rate}kbit burst 4000 latency {QUEUE_MS}ms"),
        ),
    };
    writeln!(rules, "class add dev {interface} parent 1: classid 1:{class:x} htb rate {class_rate}")?;
    writeln!(rules, "qdisc add dev {interface} parent 1:{class:x} handle {leaf_handle:x}: {leaf}")?;
    writeln!(
        rules,
        "filter add dev {interface} parent 1: protocol ip prio 1 u32 match ip dst {address}/32 flowid 1:{class:x}"
    )?;
    Ok(())
}
