//! `[[tenant.smtp_exemption]]`: port 25 opened on a written justification, for a time.

use super::SmtpExemption;
use super::expiry::{read_expiry, report_no_approver};
use super::network::PREFIX;
use super::ports::DIRECTION;
use super::reader::Table;
use super::source::IntoValues;
use super::value::TEXT;

/// Reads one exemption; none if it is refused.
pub(super) fn read_exemption(table: &mut Table<'_>, title: &str) -> Option<SmtpExemption> {
    let direction = table.required("direction", &DIRECTION);
    let peers = table.list("peers", &PREFIX).into_values();
    let ticket = table.required("ticket", &TEXT);
    let approved_by = table.optional("approved_by", &TEXT);
    report_no_approver(table, &format!("an SMTP exemption of {title}"));
    let expires = read_expiry(table);
    Some(SmtpExemption {
        direction: direction?.value,
        peers,
        ticket: ticket?.value,
        approved_by: approved_by.map(|name| name.value),
        expires: expires.as_ref()?.value,
        expires_at: expires?.span,
        place: table.header().place(),
    })
}
