//! What can count against a tenant, and for what.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{CaseClass, DetectMode, OffenceKind};
use crate::detect::Offence;

/// Something that counts against a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// When it was certain.
    pub at: Timestamp,
    /// Id of the tenant.
    pub tenant: String,
    /// What it is.
    pub kind: FactKind,
    /// What it rests on, in one line.
    pub detail: String,
}

impl Fact {
    /// What an offence counts for: nothing if its rule only watches, or if its measure was suppressed because
    /// the network is more likely at fault than the tenant.
    #[must_use]
    pub fn of(offence: &Offence) -> Option<Self> {
        if offence.mode != DetectMode::Enforce || offence.is_held() {
            return None;
        }
        let source = offence.source.map_or_else(|| "the tenant as a whole".to_owned(), |it| it.to_string());
        let counters = offence.counters.iter().map(|(name, value)| format!("{name} {value}"));
        let detail = format!("{source}: {}", counters.collect::<Vec<_>>().join(", "));
        let kind = FactKind::Offence(offence.kind);
        Some(Self { at: offence.at, tenant: offence.tenant.clone(), kind, detail })
    }
}

/// What a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FactKind {
    /// What a detector saw.
    Offence(OffenceKind),
    /// What somebody or something else reports.
    Report(Report),
}

/// What is reported of a tenant besides offences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Packets with other people's source addresses (rule S4).
    ForgedSources,
    /// More traffic over an extended time than the plan includes (rule B2).
    ExcessiveUse,
    /// Complaints about mail beyond the threshold (rule M6).
    Complaints,
    /// Mail is sent without what the preflight asks for (rule M7).
    FailedPreflight,
    /// The tenant's server relays for anybody (rule M5).
    OpenRelay,
    /// The account's details are invalid or fraudulent (rule E10).
    InvalidDetails,
    /// A card was charged back (rule E10).
    Chargeback,
}

/// What tells of a compromised server when it comes together with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Scans and floods: one burst of SYNs is often both, so the two are one signal.
    Attack,
    /// Mail that nobody asked for.
    Mail,
    /// Contact with a network on a drop list.
    Listed,
    /// Forged source addresses.
    Forged,
}

impl Signal {
    /// As JSON writes it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Mail => "mail",
            Self::Listed => "listed",
            Self::Forged => "forged",
        }
    }
}

/// What each fact counts for: the class of its case (none: it opens none alone), and the signal that it is.
pub const FACTS: [(FactKind, Option<CaseClass>, Option<Signal>); 20] = {
    use CaseClass::{Account, Flood, Mail, Scan, Usage};
    use FactKind::{Offence as Of, Report as Told};
    [
        (Of(OffenceKind::ScanSensitive), Some(Scan), Some(Signal::Attack)),
        (Of(OffenceKind::ScanHorizontal), Some(Scan), Some(Signal::Attack)),
        (Of(OffenceKind::ScanBlock), Some(Scan), Some(Signal::Attack)),
        (Of(OffenceKind::ScanVertical), Some(Scan), Some(Signal::Attack)),
        (Of(OffenceKind::ScanStealth), Some(Scan), Some(Signal::Attack)),
        (Of(OffenceKind::ScanPing), Some(Scan), Some(Signal::Attack)),
        (Of(OffenceKind::ScanUdp), Some(Scan), Some(Signal::Attack)),
        (Of(OffenceKind::SynFlood), Some(Flood), Some(Signal::Attack)),
        (Of(OffenceKind::UdpFlood), Some(Flood), Some(Signal::Attack)),
        (Of(OffenceKind::BulkMail), Some(Mail), Some(Signal::Mail)),
        (Of(OffenceKind::SmtpRate), Some(Mail), Some(Signal::Mail)),
        (Of(OffenceKind::ListedContact), None, Some(Signal::Listed)),
        (Of(OffenceKind::SuddenRise), Some(Usage), None),
        (Told(Report::ForgedSources), None, Some(Signal::Forged)),
        (Told(Report::ExcessiveUse), Some(Usage), None),
        (Told(Report::Complaints), Some(Mail), Some(Signal::Mail)),
        (Told(Report::FailedPreflight), Some(Mail), None),
        (Told(Report::OpenRelay), Some(Mail), None),
        (Told(Report::InvalidDetails), Some(Account), None),
        (Told(Report::Chargeback), Some(Account), None),
    ]
};

impl FactKind {
    /// The class of the case that it opens alone; none: it is only a signal.
    #[must_use]
    pub fn class(self) -> Option<CaseClass> {
        FACTS.iter().find(|(kind, ..)| *kind == self).and_then(|(_, class, _)| *class)
    }

    /// The signal that it is.
    #[must_use]
    pub fn signal(self) -> Option<Signal> {
        FACTS.iter().find(|(kind, ..)| *kind == self).and_then(|(.., signal)| *signal)
    }

    /// As JSON writes it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Offence(kind) => kind.label(),
            Self::Report(Report::ForgedSources) => "forged_sources",
            Self::Report(Report::ExcessiveUse) => "excessive_use",
            Self::Report(Report::Complaints) => "complaints",
            Self::Report(Report::FailedPreflight) => "failed_preflight",
            Self::Report(Report::OpenRelay) => "open_relay",
            Self::Report(Report::InvalidDetails) => "invalid_details",
            Self::Report(Report::Chargeback) => "chargeback",
        }
    }
}

impl fmt::Display for FactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
