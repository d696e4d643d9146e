//! The web: Python's server, curl as the client.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::process::Process;
use crate::run;

/// A server with one page.
#[derive(Debug)]
pub struct WebServer {
    _process: Process,
    _directory: TempDir,
}

/// The page.
pub const PAGE: &str = "served by the test bed\n";

impl WebServer {
    /// Starts it on a port of all addresses.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let directory = run::scratch_directory()?;
        fs::write(directory.path().join("index.html"), PAGE).context("writing the page")?;
        let (path, port_word) = (directory.path().to_string_lossy(), port.to_string());
        let server =
            ["/usr/bin/python3", "-m", "http.server", "--bind", "::", "--directory", &path, &port_word];
        let process = namespace.serve(&server, (Ipv6Addr::UNSPECIFIED, port).into())?;
        Ok(Self { _process: process, _directory: directory })
    }
}

/// Fetches a page by HTTP; the body if the answer is a success.
///
/// # Errors
/// If the server cannot be connected to within three seconds, or there is no answer to the request within fifteen, or one
/// that tells of an error.
pub fn get(namespace: &Namespace, server: SocketAddr, path: &str) -> Result<String> {
    get_with(namespace, server, path, &[])
}

/// [`get`] with further options of curl.
pub fn get_with(namespace: &Namespace, server: SocketAddr, path: &str, options: &[&str]) -> Result<String> {
    let url = format!("http://{server}{path}");
    let mut arguments = vec!["curl", "--silent", "--show-error", "--fail", "--globoff"];
    arguments.extend(["--connect-timeout", "3", "--max-time", "15"]);
    arguments.extend(options);
    arguments.push(&url);
    namespace.run(&arguments)
}
