//! `fairway replay`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::output::{bytes, json, stdout, table};
use super::{CommandError, ConfigArgs, block_on, load};
use crate::config::{EnforcementMode, Side};
use crate::control::Client;
use crate::control::api::{Tenants, VERSION};
use crate::detect::MeasureInForce;
use crate::enforcement::Standing;
use crate::policy::{Overrides, compose};
use crate::replay::{
    self, ByReason, Capture, Decided, Difference, DirectionReport, Judgement, PacketVerdict, Reached, Replay,
    Report, StandingDifference,
};
use crate::suspension::Suspension;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The captured packets: a pcap or pcapng file
    capture: PathBuf,
    /// The side of the gateway on which all packets were received; by default the tenants' prefixes decide
    #[arg(long, value_enum)]
    side: Option<SideArg>,
    /// Also judge by this configuration, and show what differs
    #[arg(long, value_name = "FILE")]
    what_if: Option<PathBuf>,
    /// Judge under the suspensions and lowered caps that the running gateway has now
    #[arg(long)]
    as_running: bool,
    /// The running gateway's control socket, if not the one that the configuration names
    #[arg(long, value_name = "PATH", requires = "as_running")]
    socket: Option<PathBuf>,
    /// Show the verdict on every packet
    #[arg(long)]
    per_packet: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SideArg {
    /// Packets from tenants
    Tenant,
    /// Packets from the Internet
    Uplink,
}

/// What `--what-if --json` prints.
#[derive(Serialize)]
struct Comparison<'r> {
    version: u32,
    before: &'r Report,
    after: &'r Report,
    differences: Vec<Difference>,
    standing_differences: Vec<StandingDifference>,
}

pub(super) fn replay(args: &ReplayArgs) -> Result<(), CommandError> {
    let failed = |error| CommandError::Replay { file: args.capture.clone(), error };
    let mut capture = Capture::open(&args.capture).map_err(|error| failed(error.into()))?;
    // A capture without times is judged as if it were made now.
    let start = capture.next_at_ns().map_or_else(jiff::Timestamp::now, replay::timestamp);
    let overrides = args.overrides()?;
    let files = [Some(&args.config.config), args.what_if.as_ref()].into_iter().flatten();
    let mut replays = files.map(|file| args.load(file, &overrides, start)).collect::<Result<Vec<_>, _>>()?;

    let started = Instant::now();
    let broken = replay::run(&mut capture, &mut replays)?;
    let took = started.elapsed();
    let mut reports: Vec<Report> = replays.into_iter().map(Replay::report).collect();
    for report in &mut reports {
        report.error = broken.as_ref().map(ToString::to_string);
    }
    if args.json {
        print_json(&reports)?
    } else {
        print_text(&reports, took)?
    }
    match reports.iter().try_for_each(Report::check_supported).err().or(broken.map(Into::into)) {
        None => Ok(()),
        Some(error) => Err(failed(error)),
    }
}

impl ReplayArgs {
    fn load(
        &self,
        file: &Path,
        overrides: &Overrides,
        start: jiff::Timestamp,
    ) -> Result<Replay, CommandError> {
        let policy = compose(&Arc::new(load(file)?.config), overrides, start);
        let side = self.side.map(|side| match side {
            SideArg::Tenant => Side::Tenant,
            SideArg::Uplink => Side::Uplink,
        });
        Ok(Replay::new(&policy, side, self.per_packet, start)?)
    }

    /// What was decided about tenants, if that is to count.
    fn overrides(&self) -> Result<Overrides, CommandError> {
        if !self.as_running {
            return Ok(Overrides::default());
        }
        let client = match &self.socket {
            Some(socket) => Client::new(socket),
            None => Client::new(&load(&self.config.config)?.config.gateway.control_socket),
        };
        let running: Tenants = block_on(client.get("/v1/tenants"))?;
        Ok(held(running))
    }
}

/// Suspensions and lowered caps, without an end: what holds now is to hold for the whole capture.
fn held(running: Tenants) -> Overrides {
    let mut overrides = Overrides::default();
    for tenant in running.tenants {
        for suspension in tenant.suspensions {
            overrides.suspend(&tenant.id, Suspension { until: None, ..suspension });
        }
        for measure in tenant.measures.into_iter().filter(|measure| measure.lowered_cap.is_some()) {
            overrides.lower_cap(MeasureInForce { until: jiff::Timestamp::MAX, ..measure });
        }
    }
    overrides
}

fn print_json(reports: &[Report]) -> std::io::Result<()> {
    match reports {
        [before, after] => {
            let differences = replay::differences(before, after);
            let standing_differences = replay::standing_differences(&before.enforcement, &after.enforcement);
            json(&Comparison { version: VERSION, before, after, differences, standing_differences })
        }
        reports => reports.iter().try_for_each(json),
    }
}

fn print_text(reports: &[Report], took: Duration) -> std::io::Result<()> {
    let mut out = stdout();
    match reports {
        [before, after] => {
            for (name, report) in [("before", before), ("after", after)] {
                writeln!(out, "{name}")?;
                print_verdicts(&mut out, report)?;
                writeln!(out, "{}", summary(report))?;
                write!(out, "{}", decisions(&report.enforcement))?;
            }
            write!(out, "{}", standing_differences(&before.enforcement, &after.enforcement))?;
            write!(out, "{}", differences(before, after))?;
        }
        reports => {
            for report in reports {
                print_verdicts(&mut out, report)?;
                write!(out, "{}\n{}", summary(report), tenants(report))?;
                write!(out, "{}", decisions(&report.enforcement))?;
            }
        }
    }
    out.flush()?;
    let packets: u64 = reports.iter().map(|report| report.packets).sum();
    let rate = packets as f64 / took.as_secs_f64();
    eprintln!("\nreplayed in {:.2} s: {rate:.0} packets a second", took.as_secs_f64());
    Ok(())
}

fn print_verdicts(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let Some(verdicts) = &report.verdicts else { return Ok(()) };
    verdicts.iter().try_for_each(|verdict| writeln!(out, "{}", line(verdict)))?;
    writeln!(out)
}

fn line(verdict: &PacketVerdict) -> String {
    let at = verdict.at.map(|at| at.to_string()).unwrap_or_default();
    let tenant = verdict.tenant.as_deref().unwrap_or("-");
    let direction = verdict.direction.unwrap_or("-");
    let reason = verdict.reason.unwrap_or_default();
    let line = format!(
        "{:>8} {at:<30} {:<9} {direction:<4} {tenant:<20} {reason}",
        verdict.n,
        verdict.verdict.label()
    );
    line.trim_end().to_owned()
}

fn summary(report: &Report) -> String {
    let time = |at: Option<jiff::Timestamp>| at.map_or_else(|| "unknown".to_owned(), |at| at.to_string());
    let facts = [
        ("from", time(report.first)),
        ("to", time(report.last)),
        ("packets", report.packets.to_string()),
        ("passed", report.passed.to_string()),
        ("dropped", format!("{} {}", report.dropped, reasons(&report.by_reason))),
        ("unmatched", report.unmatched.to_string()),
        ("truncated", report.truncated.to_string()),
        ("unsupported", report.unsupported.to_string()),
    ];
    // The last three are worth a line only where there are any.
    let shown =
        facts.iter().filter(|(name, fact)| !matches!(*name, "truncated" | "unsupported") || fact != "0");
    shown.map(|(name, fact)| format!("{name:<12}{}\n", fact.trim_end())).collect()
}

/// Two lines a tenant that had any packets: up and down.
fn tenants(report: &Report) -> String {
    let header = ["tenant", "", "packets", "bytes", "dropped packets", "bytes", "dropped packets by reason"];
    let seen = report.tenants.iter().filter(|(_, tenant)| tenant.up.packets + tenant.down.packets > 0);
    let rows = seen.flat_map(|(id, tenant)| [row([id, "up"], &tenant.up), row(["", "down"], &tenant.down)]);
    table(&header, rows, &[2, 3, 4, 5])
}

fn row(leading: [&str; 2], direction: &DirectionReport) -> Vec<String> {
    let figures = [
        direction.packets.to_string(),
        bytes(direction.bytes),
        direction.dropped_packets.to_string(),
        bytes(direction.dropped_bytes),
        reasons(&direction.by_reason),
    ];
    leading.map(str::to_owned).into_iter().chain(figures).collect()
}

/// What the ladders would have done; nothing if they would have done nothing.
fn decisions(judged: &Judgement) -> String {
    if judged.decisions.is_empty() {
        return String::new();
    }
    let rows = judged.decisions.iter().map(|decision| {
        let what = match &decision.what {
            Decided::Waits { until } => ["".to_owned(), format!("waits for office hours, {until}")],
            Decided::Step { standing, strike, step, .. } => {
                [strike.to_string(), format!("{}: {step}", standing.label())]
            }
            Decided::Closed { resolution } => ["".to_owned(), format!("closed: {}", resolution.label())],
        };
        let place = [decision.tenant.clone(), decision.case.to_string(), decision.class.to_string()];
        [decision.at.to_string()].into_iter().chain(place).chain(what).collect()
    });
    let steps = table(&["at", "tenant", "case", "class", "strike", "what would have followed"], rows, &[4]);
    let watched = match judged.mode {
        EnforcementMode::Watch => "[enforcement] has the mode watch: this is what enforce would have done\n",
        _ => "",
    };
    format!("\n{steps}{watched}")
}

/// Tenants that the two policies would have brought into different standings.
fn standing_differences(before: &Judgement, after: &Judgement) -> String {
    let found = replay::standing_differences(before, after);
    if found.is_empty() {
        return String::new();
    }
    let reached = |reached: Option<Reached>| match reached {
        Some(Reached { standing, at }) => format!("{} at {at}", standing.label()),
        None => Standing::Good.label().to_owned(),
    };
    let rows = found.into_iter().map(|it| vec![it.tenant, reached(it.before), reached(it.after)]);
    format!("{}\n", table(&["tenant", "gravest standing before", "after"], rows, &[]))
}

fn reasons(by_reason: &ByReason) -> String {
    let each = by_reason.iter().map(|(reason, packets)| format!("{reason} {packets}"));
    each.collect::<Vec<_>>().join(", ")
}

fn differences(before: &Report, after: &Report) -> String {
    let differences = replay::differences(before, after);
    if differences.is_empty() {
        return "no count of packets differs\n".to_owned();
    }
    let rows = differences.into_iter().map(|difference| {
        vec![
            difference.tenant.unwrap_or_else(|| "(no tenant)".to_owned()),
            difference.direction.unwrap_or_default().to_owned(),
            difference.reason.unwrap_or("not dropped").to_owned(),
            difference.before.to_string(),
            difference.after.to_string(),
        ]
    });
    table(&["tenant", "", "packets", "before", "after"], rows, &[3, 4])
}
