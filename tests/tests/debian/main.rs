//! The Debian package on booted Debian systems, as the README has operators install it; and the package itself.
//! `cargo xtask dist --for-tests` makes what these tests install, as does `cargo xtask test`.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fall over as the test itself may")]

mod bookworm;
mod package;
mod router;
mod trixie;
