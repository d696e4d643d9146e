//! `[[tenant.smtp_exemption]]`: port 25 opened on a written justification, for a time.

use super::SmtpExemption;
use super::expiry::{read_expiry, report_no_approver};
use super::moment::Moment;
use super::network::PREFIX;
use super::ports::DIRECTION;
use super::reader::Table;
use super::source::IntoValues;
use super::value::TEXT;

/// Reads one exemption; none if it has expired or is refused.
pub(super) fn read_exemption(table: &mut Table<'_>, title: &str, moment: &Moment) -> Option<SmtpExemption> {
    let direction = table.required("direction", &DIRECTION);
    let peers = table.list("peers", &PREFIX).into_values();
    let ticket = table.required("ticket", &TEXT);
    let approved_by = table.optional("approved_by", &TEXT);
    report_no_approver(table, &format!("an SMTP exemption of {title}"));
    let name = match &ticket {
        Some(ticket) => format!("SMTP exemption {} of {title}", ticket.value),
        None => format!("an SMTP exemption of {title}"),
    };
    let expires = read_expiry(table, &name, moment, "port 25 closes by itself then");
    Some(SmtpExemption {
        direction: direction?.value,
        peers,
        ticket: ticket?.value,
        approved_by: approved_by.map(|name| name.value),
        expires: expires?,
        place: table.header().place(),
    })
}
