//! The control socket: how the other commands, and the operator's own tools, talk to a running gateway.
//!
//! HTTP/1 with JSON over a Unix socket. Its file admits the owner and one group (mode 0660), and each
//! peer's credentials are looked at again, so that a careless chmod opens nothing. Paths carry the
//! version of the interface; objects carry the version of their shape.

pub mod api;
mod cases;
mod client;
pub mod explain;
mod history;
mod peer;
mod server;
mod socket;

pub use cases::{CloseCase, JudgeCase, NoteCase, OpenCases, ShownCase, Slow};
pub use client::{CallError, Client};
pub use history::History;
pub use peer::Access;
pub use server::{ReloadRequest, serve};
pub use socket::{ControlSocket, SocketError};
