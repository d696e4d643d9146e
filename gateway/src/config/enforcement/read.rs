//! `[enforcement]` and `[enforcement.ladder.CLASS]`, read.

use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

use super::hours::hours_and_minutes;
use super::lint::{WrittenStep, report_ladder, report_step};
use super::{
    CaseClass, CaseSeverity, Department, Enforcement, EnforcementMode, Ladder, OfficeHours, Release,
    Restrict, Step,
};
use crate::config::diagnostic::Diagnostic;
use crate::config::reader::Table;
use crate::config::source::IntoValues;
use crate::config::suggest::nearest;
use crate::config::units::{DurationWithin, RATE};
use crate::config::value::{Choice, Refusal, Scalar, text};

const MODE: Choice<EnforcementMode> = Choice(&[
    (EnforcementMode::Off.label(), EnforcementMode::Off),
    (EnforcementMode::Watch.label(), EnforcementMode::Watch),
    (EnforcementMode::Enforce.label(), EnforcementMode::Enforce),
]);
const SEVERITY: Choice<CaseSeverity> = Choice(&[
    (CaseSeverity::Serious.label(), CaseSeverity::Serious),
    (CaseSeverity::Lesser.label(), CaseSeverity::Lesser),
]);
const DEPARTMENT: Choice<Department> = Choice(&[
    (Department::Abuse.label(), Department::Abuse),
    (Department::Billing.label(), Department::Billing),
    (Department::Support.label(), Department::Support),
]);
const RESTRICT: Choice<Restrict> = Choice(&[
    (Restrict::None.label(), Restrict::None),
    (Restrict::Cap.label(), Restrict::Cap),
    (Restrict::Mail.label(), Restrict::Mail),
    (Restrict::Outbound.label(), Restrict::Outbound),
    (Restrict::Everything.label(), Restrict::Everything),
    (Restrict::Terminate.label(), Restrict::Terminate),
]);
const RELEASE: Choice<Release> = Choice(&[
    (Release::Auto.label(), Release::Auto),
    (Release::Operator.label(), Release::Operator),
    (Release::Approval.label(), Release::Approval),
]);

const DAY: Duration = Duration::from_secs(86_400);
const DECAY: DurationWithin = DurationWithin(DAY..=Duration::from_secs(3_650 * 86_400));
const COLLECT: DurationWithin = DurationWithin(Duration::from_secs(60)..=Duration::from_secs(30 * 86_400));
const SIGNAL_WINDOW: DurationWithin =
    DurationWithin(Duration::from_secs(3_600)..=Duration::from_secs(30 * 86_400));
const HOLDS: DurationWithin = DurationWithin(Duration::from_secs(60)..=Duration::from_secs(3_650 * 86_400));

/// A zone of the IANA time zone database.
const TIMEZONE: Scalar<TimeZone> = Scalar {
    expected: "the name of a time zone, as \"Europe/London\"",
    read: |value| {
        let name = text(value)?;
        TimeZone::get(name).map_err(|_| {
            let refusal = Refusal::new("not in this machine's time zone database");
            let known: Vec<_> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            match nearest(name, known.iter().map(String::as_str)) {
                Some(known) => refusal.help(format!("did you mean \"{known}\"?")),
                None if known.len() < 10 => refusal.help("install the package tzdata"),
                None => refusal.help("`timedatectl list-timezones` lists them"),
            }
        })
    },
};

/// The name of a user of this machine.
const USER: Scalar<String> = Scalar {
    expected: "the name of a user of this machine",
    read: |value| match text(value)? {
        "" => Err(Refusal::new("empty")),
        name if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err(Refusal::new("no user's name has spaces"))
        }
        name => Ok(name.to_owned()),
    },
};

/// `Mon-Fri`, `Mon,Wed,Sat`.
const DAYS: Scalar<[bool; 7]> = Scalar {
    expected: "days of the week, as \"Mon-Fri\" or \"Mon,Wed,Sat\"",
    read: |value| {
        let day = |name: &str| {
            let found = OfficeHours::DAYS.iter().find(|(day, _)| day.eq_ignore_ascii_case(name.trim()));
            found.map(|(_, day)| day.to_monday_zero_offset()).ok_or_else(|| {
                Refusal::new(format!("\"{}\" is none of Mon, Tue, Wed, Thu, Fri, Sat, Sun", name.trim()))
            })
        };
        let mut days = [false; 7];
        for part in text(value)?.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first)?, day(last)?);
            // "Sat-Mon" goes over the end of the week.
            let mut each =
                Weekday::from_monday_zero_offset(first).into_iter().flat_map(Weekday::cycle_forward);
            let mut mark = |day: Weekday| {
                days[usize::from(day.to_monday_zero_offset().unsigned_abs())] = true;
                day.to_monday_zero_offset() == last
            };
            each.by_ref().take(7).any(&mut mark);
        }
        Ok(days)
    },
};

/// `09:00`.
const TIME: Scalar<Time> = Scalar {
    expected: "a time of the day, as \"09:00\"",
    read: |value| {
        let time = text(value)?.parse::<Time>().map_err(|_| Refusal::new("not hours and minutes"))?;
        match (time.second(), time.subsec_nanosecond()) {
            (0, 0) => Ok(time),
            _ => Err(Refusal::new("finer than minutes")),
        }
    },
};

const HOLIDAY: Scalar<Date> = Scalar {
    expected: "a date, as \"2026-12-25\"",
    read: |value| text(value)?.parse().map_err(|_| Refusal::new("not a date")),
};

pub(in crate::config) fn read_enforcement(root: &mut Table<'_>) -> Enforcement {
    let default = Enforcement::default();
    root.table("enforcement", |table| {
        let enforcement = Enforcement {
            mode: read_mode(table, default.mode),
            timezone: table.or("timezone", &TIMEZONE, default.timezone),
            office_hours: table.table("office_hours", read_office_hours),
            approvers: read_approvers(table),
            signal_window: table.or("signal_window", &SIGNAL_WINDOW, default.signal_window),
            ladders: table.table("ladder", |ladders| {
                CaseClass::WITH_LADDER
                    .map(|class| ladders.table(class.label(), |ladder| read_ladder(ladder, class)))
            }),
        };
        report_missing_approvers(&enforcement, table);
        enforcement
    })
}

fn read_mode(table: &mut Table<'_>, default: EnforcementMode) -> EnforcementMode {
    table.or("mode", &MODE, default)
}

fn read_approvers(table: &mut Table<'_>) -> Vec<String> {
    let mut approvers = table.list("approvers", &USER).into_values();
    approvers.sort_unstable();
    approvers.dedup();
    approvers
}

/// Restrictions that only an approver may end, where there is none, would never end.
fn report_missing_approvers(enforcement: &Enforcement, table: &mut Table<'_>) {
    let needs = |ladder: &Ladder| ladder.steps.iter().any(|step| step.release == Release::Approval);
    let is_needed = enforcement.ladders().any(|(_, ladder)| needs(ladder));
    if enforcement.mode == EnforcementMode::Enforce && enforcement.approvers.is_empty() && is_needed {
        let header = table.header().clone();
        table.report(
            Diagnostic::warning("nobody may confirm a restoration")
                .at(&header, "some steps end only when an approver confirms")
                .help("name users of the control socket: approvers = [\"j.doe\", \"a.n\"]; two, since nobody confirms their own request"),
        );
    }
}

fn read_office_hours(table: &mut Table<'_>) -> OfficeHours {
    let default = OfficeHours::default();
    let days = table.or("days", &DAYS, default.days);
    let (from, to) = (table.optional("from", &TIME), table.optional("to", &TIME));
    let mut holidays = table.list("holidays", &HOLIDAY).into_values();
    holidays.sort_unstable();
    holidays.dedup();
    let begin = from.as_ref().map_or(default.from, |from| from.value);
    let end = to.as_ref().map_or(default.to, |to| to.value);
    // One of the two that is written but not valid has been reported.
    let is_read = (from.is_some() || !table.has("from")) && (to.is_some() || !table.has("to"));
    if is_read && begin >= end {
        let place =
            to.as_ref().or(from.as_ref()).map_or_else(|| table.header().clone(), |at| at.span.clone());
        table.report(
            Diagnostic::error("office hours end before they begin")
                .at(&place, format!("from {} to {}", hours_and_minutes(begin), hours_and_minutes(end)))
                .help(
                    "hours over midnight cannot be written; name the part of the day that somebody is there",
                ),
        );
    }
    OfficeHours { days, from: begin, to: end, holidays }
}

fn read_ladder(table: &mut Table<'_>, class: CaseClass) -> Ladder {
    let shipped = Ladder::shipped(class);
    let ladder = Ladder {
        severity: table.or("severity", &SEVERITY, shipped.severity),
        department: table.or("department", &DEPARTMENT, shipped.department),
        decay: table.or("decay", &DECAY, shipped.decay),
        collect: table.or("collect", &COLLECT, shipped.collect),
        steps: Vec::new(),
    };
    let steps = table.tables("steps", |step| read_step(step, class));
    if !table.has("steps") {
        return Ladder { steps: shipped.steps, ..ladder };
    }
    if table.count_written("steps") == Some(0) {
        let span = table.key_span("steps").unwrap_or_else(|| table.header().clone());
        table.report(
            Diagnostic::error(format!("the ladder of `{class}` has no steps"))
                .at(&span, "expected at least one")
                .help("leave `steps` out for those that are shipped, or write { restrict = \"none\" } to only notify"),
        );
    }
    // Steps are compared only if all of them could be read: one mistake has no consequences.
    match steps.into_iter().collect::<Option<Vec<_>>>() {
        Some(steps) if !steps.is_empty() => {
            report_ladder(table, class, &steps);
            Ladder { steps: steps.into_iter().map(|written| written.step).collect(), ..ladder }
        }
        _ => Ladder { steps: shipped.steps, ..ladder },
    }
}

/// Reads one step; none if a part of it is missing or wrong, which is reported.
fn read_step(table: &mut Table<'_>, class: CaseClass) -> Option<WrittenStep> {
    let restrict = table.required("restrict", &RESTRICT);
    let is_of = |wanted| restrict.as_ref().is_some_and(|restrict| restrict.value == wanted);
    let (lowers_cap, only_notifies) = (is_of(Restrict::Cap), is_of(Restrict::None));
    // Every key is read, so that a mistake in one makes no other unknown.
    let cap = if lowers_cap { table.required("cap", &RATE) } else { table.optional("cap", &RATE) };
    let duration = table.optional("for", &HOLDS);
    let release = if only_notifies || restrict.is_none() {
        table.optional("release", &RELEASE)
    } else {
        table.required("release", &RELEASE)
    };
    let is_read = |key, is_some| is_some || !table.has(key);
    if !is_read("for", duration.is_some())
        || !is_read("release", release.is_some())
        || (lowers_cap && cap.is_none())
    {
        return None;
    }
    let restrict = restrict?.value;
    let duration = duration.map(|duration| duration.value);
    let step = Step {
        restrict,
        cap: cap.map(|cap| cap.value),
        duration: if only_notifies { duration.or(Some(Step::NOTICE)) } else { duration },
        release: if only_notifies { release.map_or(Release::Auto, |it| it.value) } else { release?.value },
    };
    let written = WrittenStep { step, span: table.header().clone() };
    report_step(table, class, &written).then_some(written)
}
