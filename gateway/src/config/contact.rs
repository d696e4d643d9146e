//! Whom notices go to. A contact is of use only if a suspended tenant can still read its mail: not
//! within the tenant's own networks or domains.

use std::net::IpAddr;

use email_address::{EmailAddress, Options};
use ipnetwork::IpNetwork;

use super::diagnostic::Diagnostic;
use super::reader::Table;
use super::source::At;
use super::value::{Refusal, Scalar, text};

/// A bare address, its domain possibly an address in brackets (RFC 5321 section 4.1.3).
pub(super) const CONTACT: Scalar<EmailAddress> = Scalar {
    expected: "a mail address such as \"admin@acme.example\"",
    read: |value| {
        let options = Options::default().without_display_text().with_domain_literal();
        EmailAddress::parse_with_options(text(value)?, options).map_err(|error| {
            let reason = error.to_string();
            Refusal::new(format!("not an address: {}", reason.trim_end_matches('.').to_lowercase()))
        })
    },
};

/// Warns about a contact that a suspension of the tenant cuts off.
pub(super) fn report_unreachable(
    table: &mut Table<'_>,
    contact: &At<EmailAddress>,
    title: &str,
    prefixes: &[IpNetwork],
    domains: &[String],
) {
    let host = contact.value.domain().to_ascii_lowercase();
    let network = address_literal(&host)
        .and_then(|address| prefixes.iter().find(|prefix| prefix.contains(address)))
        .map(|prefix| format!("within its network {prefix}"));
    let is_within = |domain: &&String| {
        host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let domain = domains.iter().find(is_within).map(|domain| format!("within its domain {domain}"));
    if let Some(label) = network.or(domain) {
        table.report(
            Diagnostic::warning(format!("a suspension of {title} cuts off its contact"))
                .at(&contact.span, label)
                .help("name an address that the tenant can read mail at while it is suspended"),
        );
    }
}

/// The address of `[192.0.2.1]` or `[IPv6:2001:db8::1]`; `host` is in lower case.
fn address_literal(host: &str) -> Option<IpAddr> {
    let literal = host.strip_prefix('[')?.strip_suffix(']')?;
    literal.strip_prefix("ipv6:").unwrap_or(literal).parse().ok()
}
