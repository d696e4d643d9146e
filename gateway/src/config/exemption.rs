//! `[[tenant.smtp_exemption]]`: port 25 opened on a written justification, for a time.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use toml::de::DeValue;

use super::SmtpExemption;
use super::diagnostic::Diagnostic;
use super::moment::Moment;
use super::network::PREFIX;
use super::ports::DIRECTION;
use super::reader::Table;
use super::source::IntoValues;
use super::value::{Refusal, Scalar, TEXT};

/// How long before its end an exemption is warned about: time to justify it anew.
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

/// Reads one exemption; none if it has expired or is refused.
pub(super) fn read_exemption(table: &mut Table<'_>, title: &str, moment: &Moment) -> Option<SmtpExemption> {
    let direction = table.required("direction", &DIRECTION);
    let peers = table.list("peers", &PREFIX).into_values();
    let ticket = table.required("ticket", &TEXT);
    let approved_by = table.optional("approved_by", &TEXT);
    let expires = table.required("expires", &EXPIRY);
    if approved_by.is_none() && !table.has("approved_by") && table.is_whole() {
        table.report(
            Diagnostic::warning(format!("an SMTP exemption of {title} names no approver"))
                .at(table.header(), "expected `approved_by`: who decided it")
                .help("mail is approved case by case: say by whom"),
        );
    }
    let expires = expires?;
    let left = expires.value.duration_since(moment.now());
    // Within the notice, and afterwards, warnings count the days.
    moment.limit(if left > NOTICE { expires.value - NOTICE } else { moment.now() });
    let name = match &ticket {
        Some(ticket) => format!("SMTP exemption {} of {title}", ticket.value),
        None => format!("an SMTP exemption of {title}"),
    };
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
                .help("port 25 closes by itself then: renew it in time, or let it lapse"),
        );
    }
    Some(SmtpExemption {
        direction: direction?.value,
        peers,
        ticket: ticket?.value,
        approved_by: approved_by.map(|name| name.value),
        expires: expires.value,
        place: table.header().place(),
    })
}

/// In whole days, rounded down.
fn days(duration: SignedDuration) -> String {
    match duration.unsigned_abs().as_secs() / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
