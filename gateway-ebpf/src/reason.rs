//! Why a packet was dropped: the one list behind verdicts, counters, metric labels and messages.

/// Slots that counters reserve for reasons; index 0 is never used.
pub const REASON_SLOTS: usize = 16;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $label:literal, $text:literal;)+) => {
        /// Why a packet was dropped. Numbers are part of the ABI and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl DropReason {
            /// Every reason, by ascending number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label that metrics, JSON and logs carry.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

reasons! {
    /// Headers that lie about their length or end too early.
    Malformed = 1, "malformed", "Headers are truncated or contradict each other.";
    /// BCP 38.
    UnknownSource = 2, "unknown_source", "The source address belongs to no tenant.";
    /// Policy rule M1.
    SmtpBlocked = 3, "smtp_blocked", "Mail ports are closed for this tenant and peer.";
    /// A port that the operator closed.
    PortBlocked = 4, "port_blocked", "The operator closed this port.";
    /// Policy rule B1.
    OverCap = 5, "over_cap", "The tenant is over its cap.";
    /// Fragments that no honest sender makes, and all of them where policy says so.
    Fragment = 6, "fragment", "A fragment that hides or could overwrite the ports, or any where policy drops them.";
    /// More extension headers than are walked.
    HeaderChain = 7, "header_chain", "More IPv6 extension headers than are looked through.";
    /// The right address behind the wrong tag.
    WrongVlan = 8, "wrong_vlan", "The address is a tenant's, the VLAN tag is not.";
    /// Neither IP nor known link control.
    Ethertype = 9, "ethertype", "Neither IP nor known link control, on the tenant side.";
    /// Policy rule E1.
    Suspended = 10, "suspended", "The tenant is suspended, and the packet falls under the scope of a suspension.";
    /// Policy rule S1.
    Quarantined = 11, "quarantined", "The source is in quarantine for what it was found to do.";
    /// Policy rule S1, before any verdict.
    Throttled = 12, "throttled", "The source turns to new hosts or ports faster than they answer.";
    /// Policy rule M4.
    MailClosed = 13, "mail_closed", "Mail ports are closed to the source, because it sent in bulk.";
    /// Policy rule S1.
    Flood = 14, "flood", "The source floods; its new connections, or its datagrams, are dropped.";
}

impl DropReason {
    /// The slot of this reason's counters.
    #[inline(always)]
    #[must_use]
    pub const fn slot(self) -> usize {
        self as usize
    }
}

const _: () = {
    let mut i = 0;
    while i < DropReason::ALL.len() {
        assert!(DropReason::ALL[i].slot() > 0 && DropReason::ALL[i].slot() < REASON_SLOTS);
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::{format, vec::Vec};

    #[test]
    fn the_documented_table_is_this_one() {
        let documented = include_str!("../../docs/reasons.md");
        let rows: Vec<_> = documented.lines().filter(|line| line.contains("| `")).collect();
        assert_eq!(rows.len(), DropReason::ALL.len());
        for (row, reason) in rows.iter().zip(DropReason::ALL) {
            let expected = format!("| {} | `{}` | {} |", *reason as u8, reason.label(), reason.text());
            assert!(row.starts_with(&expected), "{row}\nshould begin {expected}");
        }
    }
}
