//! The main file's sections, read: what tenants are held against.

use super::detect::{DetectSection, read_detect, report_unseen_rises};
use super::enforcement::read_enforcement;
use super::gateway::{
    FairUseSection, GatewaySection, read_columns, read_evidence, read_fair_use, read_gateway,
    read_interfaces, read_metrics,
};
use super::ports::{ClosedPorts, SmtpSection, read_closed_ports, read_smtp, read_walled_garden};
use super::reader::Table;
use super::syntax::ColumnNames;
use super::{Enforcement, EvidenceLimits, Interface, Metrics, Written};
use ipnetwork::IpNetwork;

/// Everything but the tenants. Where something was wrong, its default stands.
pub(super) struct MainFile {
    pub(super) gateway: GatewaySection,
    pub(super) columns: ColumnNames,
    pub(super) interfaces: Vec<Interface>,
    pub(super) fair_use: FairUseSection,
    pub(super) smtp: SmtpSection,
    pub(super) closed_ports: ClosedPorts,
    pub(super) walled_garden: Vec<IpNetwork>,
    pub(super) detect: DetectSection,
    pub(super) enforcement: Enforcement,
    pub(super) evidence: EvidenceLimits,
    pub(super) metrics: Option<Metrics>,
    pub(super) written: Written,
}

impl MainFile {
    /// Keys that only the main file has.
    pub(super) const SECTIONS: [&str; 13] = [
        "gateway",
        "csv",
        "limits",
        "interface",
        "cap",
        "fair_use",
        "smtp",
        "closed_port",
        "walled_garden",
        "detect",
        "enforcement",
        "evidence",
        "metrics",
    ];

    /// Keys whose places are remembered, for whoever asks which rule decides.
    const KEYS_TOLD: [&str; 9] = [
        "gateway.unknown_sources",
        "gateway.fragments",
        "cap.algorithm",
        "fair_use.ceiling",
        "smtp.default",
        "smtp.submission",
        "smtp.refuse",
        "smtp.relays",
        "walled_garden.hosts",
    ];

    pub(super) fn read(root: &mut Table<'_>) -> Self {
        let gateway = read_gateway(root);
        let forwarding = gateway.settings.forwarding;
        let read = Self {
            gateway,
            columns: read_columns(root),
            interfaces: read_interfaces(root, forwarding),
            fair_use: read_fair_use(root),
            smtp: read_smtp(root),
            closed_ports: read_closed_ports(root),
            walled_garden: read_walled_garden(root),
            detect: read_detect(root),
            enforcement: read_enforcement(root),
            evidence: read_evidence(root),
            metrics: read_metrics(root),
            written: root.written(&Self::KEYS_TOLD),
        };
        report_unseen_rises(root, &read.detect, &read.interfaces);
        read
    }
}
