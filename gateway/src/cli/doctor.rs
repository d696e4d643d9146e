//! `fairway doctor`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::Args;
use serde::Serialize;

use super::output::{coloured, json};
use super::{CommandError, ConfigArgs};
use crate::config;
use crate::control::api::VERSION;
use crate::doctor::{Finding, Severity, examine};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    problems: usize,
    warnings: usize,
    findings: &'a [Finding],
}

pub(super) fn doctor(args: &DoctorArgs) -> Result<(), CommandError> {
    let file = &args.config.config;
    // The machine can be examined without; `fairway check` says more about the files.
    let (config, unreadable) = match config::load(file) {
        Ok(loaded) => (Some(loaded.config), None),
        Err(diagnostics) => {
            if !args.json {
                eprintln!("{}", diagnostics.render(coloured(&io::stderr())).trim_end());
            }
            (None, Some(Finding::unreadable(file)))
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut findings = runtime.block_on(examine(config.as_ref()));
    findings.extend(unreadable);
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (problems, warnings) = (count(Severity::Problem), count(Severity::Warning));
    if args.json {
        json(&Report { version: VERSION, problems, warnings, findings: &findings })?;
    } else {
        io::stdout().lock().write_all(text(&findings, coloured(&io::stdout())).as_bytes())?;
        eprintln!("{problems} problems, {warnings} warnings");
    }
    if problems > 0 { Err(CommandError::Reported) } else { Ok(()) }
}

/// One line a finding; those that are not as they should be say why it matters and how to mend it.
fn text(findings: &[Finding], coloured: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let colour = match finding.severity {
            _ if !coloured => "",
            Severity::Ok => "\x1b[32m",
            Severity::Warning => "\x1b[33m",
            Severity::Problem => "\x1b[1;31m",
        };
        let reset = if coloured { "\x1b[0m" } else { "" };
        let subject = match &finding.interface {
            Some(interface) => format!("{interface} {}", finding.check),
            None => finding.check.to_owned(),
        };
        // Writing to a string does not fail.
        let _ =
            writeln!(text, "{colour}{:<8}{reset} {subject:<20} {}", finding.severity.label(), finding.found);
        for (label, line) in [("why", &finding.why), ("mend", &finding.mend)] {
            if let Some(line) = line {
                let _ = writeln!(text, "{:<29} {label}: {line}", "");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_with_why_and_how_to_mend_it() {
        let fine = Finding {
            severity: Severity::Ok,
            check: "kernel",
            interface: None,
            found: "Linux 6.18".into(),
            why: None,
            mend: None,
        };
        let wrong = Finding {
            severity: Severity::Problem,
            check: "lro",
            interface: Some("eth1".into()),
            found: "large receive offload is on".into(),
            why: Some("it merges packets".into()),
            mend: Some("ethtool -K eth1 lro off".into()),
        };
        assert_eq!(
            text(&[fine, wrong], false),
            "ok       kernel               Linux 6.18\n\
             problem  eth1 lro             large receive offload is on\n\
             \x20                             why: it merges packets\n\
             \x20                             mend: ethtool -K eth1 lro off\n"
        );
    }
}
