//! What the kernel forbids and nobody decided, as far as is known: suspensions of their own kind.

use std::collections::HashMap;

use gateway_ebpf::restriction::Restriction;
use jiff::Timestamp;

use crate::domain::Scope;
use crate::suspension::Suspension;

/// Why the tenant is suspended, as far as anybody knows.
const REASON: &str = "the kernel enforced it, and the ledger did not know it";

/// What is `held` and not among what is `known` of a tenant, by ascending id, the narrowest scope first.
pub(super) fn found(
    held: &HashMap<String, Restriction>,
    known: impl Fn(&str) -> Restriction,
    at: Timestamp,
) -> Vec<(String, Suspension)> {
    let mut found = Vec::new();
    for (tenant, held) in held {
        let known = known(tenant);
        let is_found = |scope: &Scope| {
            let bit = Restriction::from(*scope);
            held.contains(bit) && !known.contains(bit)
        };
        for scope in Scope::ALL.into_iter().filter(is_found) {
            let (reason, by) = (REASON.to_owned(), Some("kernel".to_owned()));
            found.push((tenant.clone(), Suspension { scope, reason, by, since: at, until: None }));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}
