//! `[[detect.allow]]`: sources that may do what others may not, on a written justification, for a time.

use super::{AllowReason, Allowance, OffenceKind};
use crate::config::Tenant;
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::expiry::{read_expiry, report_no_approver};
use crate::config::network::PREFIX;
use crate::config::reader::Table;
use crate::config::source::{IntoValues, Span};
use crate::config::value::{Choice, Kind, Refusal, TEXT, text};

const REASON: Choice<AllowReason> = Choice(&[
    ("resolver", AllowReason::Resolver),
    ("crawler", AllowReason::Crawler),
    ("mail", AllowReason::Mail),
    ("peer_to_peer", AllowReason::PeerToPeer),
    ("monitoring", AllowReason::Monitoring),
    ("load_test", AllowReason::LoadTest),
    ("research", AllowReason::Research),
    ("other", AllowReason::Other),
]);

/// A kind of offence, by its label.
struct OffenceKindName;

impl Kind for OffenceKindName {
    type Value = OffenceKind;

    fn expected(&self) -> String {
        "a kind of offence".to_owned()
    }

    fn read(&self, value: &toml::de::DeValue<'_>) -> Result<OffenceKind, Refusal> {
        let written = text(value)?;
        let labels = || OffenceKind::ALL.iter().map(|kind| kind.label());
        OffenceKind::from_label(written).ok_or_else(|| {
            let refusal = Refusal::new("there is no such kind");
            refusal.help(match crate::config::suggest::nearest(written, labels()) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => format!("kinds: {}", labels().collect::<Vec<_>>().join(", ")),
            })
        })
    }
}

/// An allowance, and where each of its sources stands.
pub(in crate::config) type WrittenAllowance = (Allowance, Vec<Span>);

/// Reads one allowance; none if it is refused.
pub(super) fn read_allowance(table: &mut Table<'_>) -> Option<WrittenAllowance> {
    let sources = table.required_list("sources", &PREFIX);
    let kinds = table.list("kinds", &OffenceKindName).into_values();
    let reason = table.required("reason", &REASON);
    let ticket = table.required("ticket", &TEXT);
    let approved_by = table.optional("approved_by", &TEXT);
    report_no_approver(table, "an entry of [[detect.allow]]");
    let expires = read_expiry(table);
    let spans = sources.iter().map(|source| source.span.clone()).collect();
    let allowance = Allowance {
        sources: sources.into_values(),
        kinds,
        reason: reason?.value,
        ticket: ticket?.value,
        approved_by: approved_by.map(|name| name.value),
        expires: expires.as_ref()?.value,
        expires_at: expires?.span,
        place: table.header().place(),
    };
    Some((allowance, spans))
}

/// Warns about sources that are no tenant's, most likely a slip: nothing is looked for in them anyway.
pub(in crate::config) fn report_strangers<'t>(
    allow: &[WrittenAllowance],
    tenants: impl Iterator<Item = &'t Tenant> + Clone,
    found: &mut Diagnostics,
) {
    for (source, span) in allow.iter().flat_map(|(allowance, spans)| allowance.sources.iter().zip(spans)) {
        let mut networks = tenants.clone().flat_map(|tenant| &tenant.prefixes);
        if !networks.any(|network| network.contains(source.network()) || source.contains(network.network())) {
            found.push(
                Diagnostic::warning(format!("{source} is no tenant's"))
                    .at(span, "allowed for nobody")
                    .help("correct the network, or remove it"),
            );
        }
    }
}
