//! The whole controller, from its files and signals to its sockets and commands, over a data plane that
//! attaches to nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod commands;
mod comparison;
mod explain;
mod fake;
mod hostile;
mod kept;
mod lowered_caps;
mod metrics;
mod offences;
mod replay;
mod service;
mod signals;
mod suspension;
