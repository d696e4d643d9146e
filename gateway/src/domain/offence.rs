//! Offences and measures, as the programs number them and as everybody else names them.

use gateway_ebpf::detect as abi;
use serde::{Deserialize, Serialize};

/// What a detector looks for, which is also the name of the offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffenceKind {
    /// Many hosts on ports that are scanned for to break in: SSH, Telnet, SMB, RDP, databases.
    ScanSensitive,
    /// Many hosts on a few ports.
    ScanHorizontal,
    /// Many hosts on many ports.
    ScanBlock,
    /// Many ports of one host.
    ScanVertical,
    /// TCP segments that open no connection, to look behind a firewall: FIN, NULL, XMAS, SYN+FIN.
    ScanStealth,
    /// ICMP echo requests to many hosts.
    ScanPing,
    /// UDP to many hosts that do not answer.
    ScanUdp,
    /// Many more connections opened than are answered.
    SynFlood,
    /// Many more datagrams sent than are answered.
    UdpFlood,
    /// Mail to many mail hosts.
    BulkMail,
    /// Many mail connections.
    SmtpRate,
    /// Contact with a network on a drop list.
    ListedContact,
    /// Use of the uplink that rises far over what the tenant is used to, while the uplink is loaded.
    /// Judged by the controller, for the tenant as a whole.
    SuddenRise,
}

impl OffenceKind {
    /// Every kind; `kind as usize` is its index.
    pub const ALL: [Self; 13] = [
        Self::ScanSensitive,
        Self::ScanHorizontal,
        Self::ScanBlock,
        Self::ScanVertical,
        Self::ScanStealth,
        Self::ScanPing,
        Self::ScanUdp,
        Self::SynFlood,
        Self::UdpFlood,
        Self::BulkMail,
        Self::SmtpRate,
        Self::ListedContact,
        Self::SuddenRise,
    ];

    /// As the config, metrics and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ScanSensitive => "scan_sensitive",
            Self::ScanHorizontal => "scan_horizontal",
            Self::ScanBlock => "scan_block",
            Self::ScanVertical => "scan_vertical",
            Self::ScanStealth => "scan_stealth",
            Self::ScanPing => "scan_ping",
            Self::ScanUdp => "scan_udp",
            Self::SynFlood => "syn_flood",
            Self::UdpFlood => "udp_flood",
            Self::BulkMail => "bulk_mail",
            Self::SmtpRate => "smtp_rate",
            Self::ListedContact => "listed_contact",
            Self::SuddenRise => "sudden_rise",
        }
    }

    /// The kind with this label.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }
}

impl From<OffenceKind> for abi::Kind {
    fn from(kind: OffenceKind) -> Self {
        match kind {
            OffenceKind::ScanSensitive => Self::ScanSensitive,
            OffenceKind::ScanHorizontal => Self::ScanHorizontal,
            OffenceKind::ScanBlock => Self::ScanBlock,
            OffenceKind::ScanVertical => Self::ScanVertical,
            OffenceKind::ScanStealth => Self::ScanStealth,
            OffenceKind::ScanPing => Self::ScanPing,
            OffenceKind::ScanUdp => Self::ScanUdp,
            OffenceKind::SynFlood => Self::SynFlood,
            OffenceKind::UdpFlood => Self::UdpFlood,
            OffenceKind::BulkMail => Self::BulkMail,
            OffenceKind::SmtpRate => Self::SmtpRate,
            OffenceKind::ListedContact => Self::ListedContact,
            OffenceKind::SuddenRise => Self::SuddenRise,
        }
    }
}

/// How far a detector goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetectMode {
    /// It does not look.
    Off,
    /// It reports what it would have done.
    Watch,
    /// It acts.
    Enforce,
}

impl DetectMode {
    /// As the config and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Watch => "watch",
            Self::Enforce => "enforce",
        }
    }
}

/// What is done to a source, or to a tenant as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// It is reported, and nothing else.
    None,
    /// It reaches nothing but the walled garden.
    Quarantine,
    /// It reaches one host a second that it had not talked to.
    Slow,
    /// Its mail ports are closed.
    CloseSmtp,
    /// It opens no TCP connections.
    DropSyn,
    /// It sends no UDP.
    DropUdp,
    /// The tenant's cap is lowered to what would be no rise.
    LowerCap,
}

impl Measure {
    /// Every measure against a source, in the order of the data plane's numbers.
    pub const OF_SOURCES: [Self; 6] =
        [Self::None, Self::Quarantine, Self::Slow, Self::CloseSmtp, Self::DropSyn, Self::DropUdp];

    /// As the config, metrics and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Slow => "slow",
            Self::CloseSmtp => "close_smtp",
            Self::DropSyn => "drop_syn",
            Self::DropUdp => "drop_udp",
            Self::LowerCap => "lower_cap",
        }
    }
}

impl From<DetectMode> for abi::Mode {
    fn from(mode: DetectMode) -> Self {
        match mode {
            DetectMode::Off => Self::Off,
            DetectMode::Watch => Self::Watch,
            DetectMode::Enforce => Self::Enforce,
        }
    }
}

impl From<Measure> for abi::Measure {
    fn from(measure: Measure) -> Self {
        match measure {
            // A cap is the policy's, and no source is under the measure that lowers it.
            Measure::None | Measure::LowerCap => Self::None,
            Measure::Quarantine => Self::Quarantine,
            Measure::Slow => Self::Slow,
            Measure::CloseSmtp => Self::CloseSmtp,
            Measure::DropSyn => Self::DropSyn,
            Measure::DropUdp => Self::DropUdp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_index_and_its_label() {
        for (index, kind) in OffenceKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.label());
            assert_eq!(OffenceKind::from_label(kind.label()), Some(kind));
        }
    }

    #[test]
    fn kinds_and_measures_are_the_programs_own() {
        for (number, kind) in (1..).zip(OffenceKind::ALL) {
            assert_eq!(abi::Kind::from_number(number), Some(kind.into()));
            assert_eq!(abi::Kind::from(kind).label(), kind.label());
        }
        assert_eq!(abi::Kind::ALL.len(), OffenceKind::ALL.len());
        for (number, measure) in (0..).zip(Measure::OF_SOURCES) {
            assert_eq!(abi::Measure::from_number(number), Some(measure.into()));
            assert_eq!(abi::Measure::from(measure).label(), measure.label());
        }
        assert_eq!(abi::Measure::ALL.len(), Measure::OF_SOURCES.len());
    }
}
