//! Captures that others published (`FAIRWAY_PCAPS`, or a directory beside the workspace; skipped aloud if
//! absent): a chosen few against what they gave before, and all of them for whether they add up.
//!
//! `FAIRWAY_GOLDEN=write` writes what they give now.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fairway_tests::bench::in_force;
use fairway_tests::captures;
use gateway::config::{self, Side};
use gateway::replay::{Capture, Replay, Report};

use crate::command::replay;

/// File name of the golden result, and the capture. One of them holds an offence: `syn-scan` is nmap on a
/// thousand ports of one host, most of them filtered, and ends in quarantine at the 32nd port without an answer.
const CHOSEN: [(&str, &str); 12] = [
    ("syn-scan", "ntop+nDPI/synscan.pcap"),
    ("bsd-loopback", "OISF+suricata-verify/smtp-rset__input.pcap"),
    ("mail-pcapng", "chrissanders+packets/mail_sender_client_1.pcapng"),
    ("mail-rejected", "OISF+suricata-verify/smtp-data-rejected__10.7.29.101_49898-178.63.41.150_25.pcap"),
    ("dns-fragments", "zeek+zeek/dns-edns-ecs.pcap"),
    (
        "ipv6-overlapping-fragments",
        "OISF+suricata-verify/ipv6-evasion__ipv6-malformed-fragments-35__frag-35.pcap",
    ),
    ("ipv6-routing-header", "zeek+zeek/ipv6-hbh-routing0.pcap"),
    ("three-tags", "OISF+suricata-verify/detect-vlan-id__input.pcap"),
    ("linux-cooked-2", "zeek+zeek/linux_dlt_sll2.pcap"),
    ("linux-cooked-nanoseconds", "the-tcpdump-group+tcpdump/tcp-handshake-nano.pcap"),
    ("raw-ipv6-cut-short", "the-tcpdump-group+tcpdump/hoobr_rt6_print.pcap"),
    ("address-families-confused", "OISF+suricata-verify/security-8510__defrag-af-confusion-spray-h8.pcap"),
];

/// Above this, the verdicts one by one would be more to read than to check.
const VERDICTS_UP_TO: u64 = 100;

/// The captures' directory. Without one the tests are skipped, but not where CI is there to run them.
pub(crate) fn published() -> Option<PathBuf> {
    let directory = captures::directory();
    if !directory.is_dir() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not there", directory.display());
        let skipped = "SKIPPED: no published captures in";
        // Past the test harness, which shows what a test prints only if it fails.
        let loud = format!("{skipped} {}; FAIRWAY_PCAPS names their directory\n", directory.display());
        std::io::stderr().write_all(loud.as_bytes()).unwrap();
        return None;
    }
    Some(directory)
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[test]
#[ignore = "needs root: BPF programs"]
fn chosen_captures_give_what_they_gave() {
    let Some(captures) = published() else { return };
    let config = golden().join("gateway.toml");
    for (name, capture) in CHOSEN {
        let capture = captures.join(capture);
        let report = replay(&config, &capture, &["--json"]).json();
        let short = report["packets"].as_u64().unwrap() <= VERDICTS_UP_TO;
        let options: &[&str] = if short { &["--json", "--per-packet"] } else { &["--json"] };
        let found = replay(&config, &capture, options);
        found.json();
        let file = golden().join(format!("{name}.json"));
        if std::env::var_os("FAIRWAY_GOLDEN").is_some_and(|what| what == "write") {
            fs::write(&file, &found.stdout).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap();
        assert!(found.stdout == expected, "{name} gives\n{}instead of\n{expected}", found.stdout);
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn every_capture_adds_up() {
    let Some(captures) = published() else { return };
    let start = "2001-01-01T00:00:00Z".parse().unwrap();
    let config = config::load(&golden().join("gateway.toml")).unwrap().config;
    let files = files_below(&captures);
    let mut read = [0_u64; 2];
    let mut replays = [None, Some(Side::Tenant), Some(Side::Uplink)]
        .map(|side| Replay::new(&in_force(&config), side, false, start).unwrap());
    for file in &files {
        let Ok(mut capture) = Capture::open(file) else { continue };
        let broken = gateway::replay::run(&mut capture, &mut replays).unwrap();
        read[usize::from(broken.is_some())] += 1;
    }
    eprintln!(
        "{} files: {} captures read to the end, {} up to where they are broken",
        files.len(),
        read[0],
        read[1]
    );
    assert!(read[0] > 300, "of {} files only {} captures were read to the end", files.len(), read[0]);
    let [by_prefix, up, down] = replays.map(Replay::report);
    for report in [&by_prefix, &up, &down] {
        assert_eq!(report.packets, report.passed + report.dropped + report.unmatched + report.unsupported);
        assert_eq!(report.packets, up.packets);
        assert_eq!(report.dropped, report.by_reason.values().sum::<u64>());
    }
    // On one side a packet counts once, so the programs' own counters must give the same sum.
    for (report, passed) in [(&up, of_tenants(&up)), (&down, of_tenants(&down))] {
        assert_eq!(report.passed, passed);
    }
    // Between two tenants it counts twice.
    assert!(by_prefix.passed <= of_tenants(&by_prefix));
}

/// Packets that passed, by the tenants' counters.
fn of_tenants(report: &Report) -> u64 {
    let directions = report.tenants.values().flat_map(|tenant| [&tenant.up, &tenant.down]);
    directions.map(|direction| direction.packets - direction.dropped_packets).sum()
}

pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(directories.iter().flat_map(|directory| files_below(directory)));
    files.sort();
    files
}
