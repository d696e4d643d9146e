//! Who does something, and what they may.

use serde::{Deserialize, Serialize};

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Their name.
    pub name: String,
    /// How they came in.
    pub way: Way,
    /// What they may.
    pub role: Role,
}

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By the control socket, as the kernel names the user behind it.
    Socket,
    /// By a token.
    Token,
}

/// What somebody may; each role may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Read,
    /// Act.
    Operate,
    /// Confirm what others ask for.
    Approve,
}

impl Role {
    /// As JSON writes it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Approve => "approve",
        }
    }
}
