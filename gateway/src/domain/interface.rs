//! Interfaces that are policed.

use serde::Serialize;

/// Which side of the gateway an interface faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Packets received here come from tenants (outbound, "up").
    Tenant,
    /// Packets received here go to tenants (inbound, "down").
    Uplink,
}

impl Side {
    /// As the config, metrics and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Uplink => "uplink",
        }
    }
}

/// XDP attach mode; never another one in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack, for drivers without XDP; slower.
    Generic,
    /// In the network card.
    Offload,
}

impl Mode {
    /// As the config, metrics and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offload => "offload",
        }
    }
}
