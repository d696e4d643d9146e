//! What to look at in a valid configuration at a given moment: what has expired, and what soon will.

use jiff::{SignedDuration, Timestamp};

use super::Config;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::Span;

/// How long before its end something is warned about: time to justify it anew.
const NOTICE: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Warns of exemptions and allowances that have expired at `now`, or expire within two weeks of it.
#[must_use]
pub fn advice(config: &Config, now: Timestamp) -> Diagnostics {
    let mut found = Diagnostics::default();
    for allowance in &config.detection.allow {
        if let Some(left) = left(allowance.expires, now) {
            let name = format!("the allowance {}", allowance.ticket);
            let consequence = "its sources are watched like any other then";
            found.push(warning(&name, &allowance.expires_at, left, consequence));
        }
    }
    for tenant in &config.tenants {
        for exemption in &tenant.smtp_exemptions {
            if let Some(left) = left(exemption.expires, now) {
                let name = format!("SMTP exemption {} of tenant {}", exemption.ticket, tenant.id);
                found.push(warning(&name, &exemption.expires_at, left, "port 25 closes by itself then"));
            }
        }
    }
    found.sort();
    found
}

/// The time left, if it is short or over.
fn left(expires: Timestamp, now: Timestamp) -> Option<SignedDuration> {
    let left = expires.duration_since(now);
    (left <= NOTICE).then_some(left)
}

fn warning(name: &str, expires_at: &Span, left: SignedDuration, consequence: &str) -> Diagnostic {
    if left <= SignedDuration::ZERO {
        return Diagnostic::warning(format!("{name} has expired"))
            .at(expires_at, format!("{} ago", days(left)))
            .help("it is left out: renew it, or remove it");
    }
    Diagnostic::warning(format!("{name} expires soon"))
        .at(expires_at, format!("in {}", days(left)))
        .help(format!("{consequence}: renew it in time, or let it lapse"))
}

/// In whole days, rounded down.
fn days(duration: SignedDuration) -> String {
    match duration.unsigned_abs().as_secs() / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
