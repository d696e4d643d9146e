//! `fairway cases` and `fairway case`.

use clap::Args;

use super::output::{json, print, table};
use super::{CommandError, RemoteArgs, block_on};
use crate::control::{CloseCase, JudgeCase, NoteCase, OpenCases, ShownCase};
use crate::enforcement::{Act, Case, CaseId};
use crate::store::CaseEntry;

#[derive(Debug, Args)]
pub(super) struct CasesArgs {
    /// Only those of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct CaseArgs {
    /// The case, such as C-2026-00042
    id: CaseId,
    /// Write something down in it
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["close", "mistaken"])]
    note: Option<String>,
    /// Close it; needs a reason
    #[arg(long, requires = "reason")]
    close: bool,
    /// With --close: it was a mistake, and its strikes do not count
    #[arg(long, requires = "close")]
    mistaken: bool,
    /// Why it is closed: for the log and the ledger
    #[arg(long, requires = "close")]
    reason: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    /// The case whose restoration waits, such as C-2026-00042
    id: CaseId,
    /// Why: for the log and the ledger
    #[arg(long)]
    reason: String,
    /// Decline it: what the case restricts goes on
    #[arg(long)]
    decline: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) fn approve(args: &ApproveArgs) -> Result<(), CommandError> {
    let verb = if args.decline { "decline" } else { "confirm" };
    let request = JudgeCase { reason: args.reason.clone() };
    let path = format!("/v1/cases/{}/{verb}", args.id);
    let shown: ShownCase = block_on(args.remote.client()?.post_json(&path, &request))?;
    if args.remote.json {
        return Ok(json(&shown)?);
    }
    match &shown.open {
        Some(case) => eprintln!("declined: {} goes on, {}", case.id, case.phase()),
        None => eprintln!("confirmed: {} is closed, and what it restricted is open again", shown.id),
    }
    Ok(())
}

pub(super) fn cases(args: &CasesArgs) -> Result<(), CommandError> {
    let of = args.tenant.as_ref().map(|tenant| format!("?tenant={tenant}")).unwrap_or_default();
    let open: OpenCases = block_on(args.remote.client()?.get(&format!("/v1/cases{of}")))?;
    if args.remote.json {
        return Ok(json(&open)?);
    }
    if open.cases.is_empty() {
        eprintln!("no case is open");
        return Ok(());
    }
    let header = ["case", "tenant", "class", "severity", "department", "opened", "strike", "step", "until"];
    let shown = table(&header, open.cases.iter().map(row), &[6]);
    Ok(print(&shown)?)
}

pub(super) fn case(args: &CaseArgs) -> Result<(), CommandError> {
    let (client, path) = (args.remote.client()?, format!("/v1/cases/{}", args.id));
    let shown: ShownCase = match (&args.note, &args.reason) {
        (Some(text), _) => {
            let request = NoteCase { text: text.clone() };
            block_on(client.post_json(&format!("{path}/note"), &request))?
        }
        (None, Some(reason)) => {
            let request = CloseCase { mistaken: args.mistaken, reason: reason.clone() };
            block_on(client.post_json(&format!("{path}/close"), &request))?
        }
        (None, None) => block_on(client.get(&path))?,
    };
    if args.remote.json {
        return Ok(json(&shown)?);
    }
    Ok(print(&text(&shown))?)
}

fn row(case: &Case) -> Vec<String> {
    let in_force = case.in_force.as_ref();
    let waits = || case.due.map(|due| format!("waits for office hours, {due:.0}")).unwrap_or_default();
    let step = in_force.map_or_else(waits, |it| {
        let watched = if it.enforced { "" } else { " (watched)" };
        let asked = case.asked.as_ref().map(|asked| format!("; {} asks to restore", asked.by.name));
        format!("{}{watched}{}", it.step, asked.unwrap_or_default())
    });
    vec![
        case.id.to_string(),
        case.tenant.clone(),
        case.class.to_string(),
        case.severity.label().to_owned(),
        case.department.label().to_owned(),
        format!("{:.0}", case.opened),
        in_force.map(|it| it.strike.to_string()).unwrap_or_default(),
        step,
        in_force.and_then(|it| it.until).map(|until| format!("{until:.0}")).unwrap_or_default(),
    ]
}

/// How it stands, and what was recorded of it.
fn text(shown: &ShownCase) -> String {
    let head = match &shown.open {
        Some(case) => format!("{} of {}: {} ({})\n", case.id, case.tenant, case.class, case.phase()),
        None => format!("{} is closed\n", shown.id),
    };
    let entries = shown.entries.iter().map(|entry| {
        vec![format!("{:.0}", entry.at), entry.actor.clone(), entry.act.label().to_owned(), told(entry)]
    });
    format!("{head}{}", table(&["when", "who", "what", ""], entries, &[]))
}

fn told(entry: &CaseEntry) -> String {
    match &entry.act {
        Act::Signalled { signal, .. } => signal.label().to_owned(),
        Act::Opened { tenant, class, .. } => format!("{class} of {tenant}"),
        Act::Collected { fact, detail, .. } => format!("{fact}: {detail}"),
        Act::Waits { until, .. } => until.map(|until| format!("until {until:.0}")).unwrap_or_default(),
        Act::Struck { strike, step, enforced, .. } => {
            format!("strike {strike}: {step}{}", if *enforced { "" } else { " (watched)" })
        }
        Act::Noticed { .. } => String::new(),
        Act::Asked { reason, .. } | Act::Declined { reason, .. } => reason.clone(),
        Act::Noted { text, .. } => text.clone(),
        Act::Closed { resolution, reason, .. } => format!("{}: {reason}", resolution.label()),
    }
}
