//! Mail: aiosmtpd as the server, swaks as the client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::namespace::Namespace;
use crate::process::Process;

/// How long the client waits for each answer: much longer than any takes here, since a blocked connection is
/// told by nothing else than the lack of one.
const ANSWER: &str = "2s";

/// A server that accepts every mail and writes it down.
#[derive(Debug)]
pub struct MailServer {
    /// One for each family: aiosmtpd listens on one address.
    processes: [Process; 2],
}

impl MailServer {
    /// Starts it on a port of all addresses.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let start = |address: IpAddr| {
            let listen = format!("{address}:{port}");
            let server = ["/usr/bin/aiosmtpd", "--nosetuid", "--listen", &listen];
            let handler = ["--class", "aiosmtpd.handlers.Debugging", "stdout"];
            namespace.serve(&[&server[..], &handler].concat(), SocketAddr::new(address, port))
        };
        let processes = [start(Ipv4Addr::UNSPECIFIED.into())?, start(Ipv6Addr::UNSPECIFIED.into())?];
        Ok(Self { processes })
    }

    /// Whether a mail with this subject was delivered.
    #[must_use]
    pub fn has_received(&self, subject: &str) -> bool {
        let header = format!("Subject: {subject}");
        self.processes.iter().any(|process| process.stdout().lines().any(|line| line == header))
    }
}

/// What a client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server accepted the mail.
    Accepted,
    /// No answer to the attempt to connect.
    TimedOut,
    /// The attempt to connect was answered by a reset or an ICMP error.
    Refused,
}

/// Tries to send a mail from `namespace`.
///
/// # Errors
/// If anything else happens than what [`Outcome`] names; with the dialogue.
pub fn send(namespace: &Namespace, server: IpAddr, port: u16, subject: &str) -> Result<Outcome> {
    let (server, port, header) = (server.to_string(), port.to_string(), format!("Subject: {subject}"));
    let mut arguments = vec!["swaks", "--server", &server, "--port", &port, "--timeout", ANSWER];
    arguments.extend(["--helo", "client.example", "--from", "sender@client.example"]);
    arguments.extend(["--to", "reader@server.example", "--header", &header]);
    if server.contains(':') {
        arguments.push("-6");
    }
    let client = namespace.start(&arguments)?.finish(Duration::from_secs(30))?;
    let dialogue = format!("{}{}", client.stdout, client.stderr);
    match client.code() {
        0 => Ok(Outcome::Accepted),
        _ if dialogue.contains("timeout") || dialogue.contains("timed out") => Ok(Outcome::TimedOut),
        _ if dialogue.contains("refused") || dialogue.contains("prohibited") => Ok(Outcome::Refused),
        code => bail!("swaks ended with {code}:\n{dialogue}"),
    }
}
