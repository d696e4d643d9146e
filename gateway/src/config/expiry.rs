//! What holds for a time only: `expires`, and who decided it. Reading it needs no clock; whether it holds is a
//! question of [`super::advice()`] and of whoever puts the policy into force.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::reader::Table;
use super::source::At;
use super::value::{Refusal, Scalar};

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

/// Reads when something ends, and where that is written; none if it is not valid.
pub(super) fn read_expiry(table: &mut Table<'_>) -> Option<At<Timestamp>> {
    table.required("expires", &EXPIRY)
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
