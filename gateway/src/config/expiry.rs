//! What holds for a time only: `expires`, and who decided it.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::moment::Moment;
use super::reader::Table;
use super::value::{Refusal, Scalar};

/// How long before its end something is warned about: time to justify it anew.
const NOTICE: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The first instant at which something no longer holds. A date means its end, and times without an
/// offset are UTC, as dates are: a policy must not depend on the router's time zone.
const EXPIRY: Scalar<Timestamp> = Scalar {
    expected: "a date such as 2027-03-31, or a date with a time",
    read: |value| match value {
        DeValue::Datetime(written) if written.date.is_some() => {
            instant(written).map_err(|_| Refusal::new("out of range"))
        }
        DeValue::String(text) if text.parse::<civil::Date>().is_ok() => {
            Err(Refusal::type_of(value).help(format!("write it without quotes: {text}")))
        }
        _ => Err(Refusal::type_of(value)),
    },
};

fn instant(written: &toml::value::Datetime) -> Result<Timestamp, jiff::Error> {
    let text = written.to_string();
    if written.offset.is_some() {
        return text.parse();
    }
    let end = match written.time {
        Some(_) => text.parse::<civil::DateTime>()?,
        None => text.parse::<civil::Date>()?.tomorrow()?.at(0, 0, 0, 0),
    };
    Ok(end.to_zoned(TimeZone::UTC)?.timestamp())
}

/// Reads when `name` ends, which has this `consequence`; none if it has expired already or is not valid.
pub(super) fn read_expiry(
    table: &mut Table<'_>,
    name: &str,
    moment: &Moment,
    consequence: &str,
) -> Option<Timestamp> {
    let expires = table.required("expires", &EXPIRY)?;
    let left = expires.value.duration_since(moment.now());
    // Within the notice, and afterwards, warnings count the days.
    moment.limit(if left > NOTICE { expires.value - NOTICE } else { moment.now() });
    if left <= SignedDuration::ZERO {
        table.report(
            Diagnostic::warning(format!("{name} has expired"))
                .at(&expires.span, format!("{} ago", days(left)))
                .help("it is left out: renew it, or remove it"),
        );
        return None;
    }
    if left <= NOTICE {
        table.report(
            Diagnostic::warning(format!("{name} expires soon"))
                .at(&expires.span, format!("in {}", days(left)))
                .help(format!("{consequence}: renew it in time, or let it lapse")),
        );
    }
    Some(expires.value)
}

/// Warns if nobody is said to have decided `what`.
pub(super) fn report_no_approver(table: &mut Table<'_>, what: &str) {
    if !table.has("approved_by") && table.is_whole() {
        table.report(
            Diagnostic::warning(format!("{what} names no approver"))
                .at(table.header(), "expected `approved_by`: who decided it")
                .help("it is approved case by case: say by whom"),
        );
    }
}

/// In whole days, rounded down.
fn days(duration: SignedDuration) -> String {
    match duration.unsigned_abs().as_secs() / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
