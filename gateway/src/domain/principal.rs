//! Who does something, and what they may.

use serde::{Deserialize, Serialize};

/// A person, or a program that acts for one: who asks for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Their name.
    pub name: String,
    /// How they came in.
    pub way: Way,
    /// What they may.
    pub role: Role,
}

/// Whoever brought a fact about: a person, or a part of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user's or the part's name.
    pub name: String,
    /// How it came in.
    pub way: Way,
    /// What it may do; none: it is no person.
    pub role: Option<Role>,
}

impl Actor {
    /// The data plane.
    #[must_use]
    pub fn kernel() -> Self {
        Self { name: "kernel".to_owned(), way: Way::Kernel, role: None }
    }

    /// The controller.
    #[must_use]
    pub fn controller() -> Self {
        Self { name: "controller".to_owned(), way: Way::Controller, role: None }
    }
}

impl From<&Principal> for Actor {
    fn from(by: &Principal) -> Self {
        Self { name: by.name.clone(), way: by.way, role: Some(by.role) }
    }
}

/// How somebody or something came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By the control socket, as the kernel names the user behind it.
    Socket,
    /// By a token of the API.
    Token,
    /// The data plane, by itself.
    Kernel,
    /// The controller, by itself: a time was over, a tenant took too much.
    Controller,
    /// From what an earlier release kept.
    Import,
}

impl Way {
    /// As the ledger and JSON spell it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Token => "token",
            Self::Kernel => "kernel",
            Self::Controller => "controller",
            Self::Import => "import",
        }
    }
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
