//! Mail: aiosmtpd as the server, swaks as the client; Python's smtplib as one that stays.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::namespace::Namespace;
use crate::process::Process;
use crate::run;

/// How long the client waits for each answer: much longer than any takes here, since a blocked connection is
/// told by nothing else than the lack of one.
const ANSWER: &str = "4s";

/// A server that accepts every mail and writes it down.
#[derive(Debug)]
pub struct MailServer {
    port: u16,
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
        Ok(Self { port, processes })
    }

    /// Has a client try to send a mail to one of the server's addresses.
    ///
    /// # Errors
    /// As [`send`]; or if client and server disagree on whether the mail was delivered.
    pub fn receive(&self, client: &Namespace, address: IpAddr) -> Result<Outcome> {
        let subject = run::unique_name("mail");
        let outcome = send(client, address, self.port, &subject)?;
        let header = format!("Subject: {subject}");
        let received =
            || self.processes.iter().any(|process| process.stdout().lines().any(|line| line == header));
        if outcome == Outcome::Delivered {
            // The server has written it down before it answered, but that has to be read, too.
            run::wait_for(&header, Duration::from_secs(10), || received().then_some(()))?;
        } else {
            ensure!(!received(), "client: {outcome}; server: received");
        }
        Ok(outcome)
    }
}

/// What a client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server accepted the mail.
    Delivered,
    /// No answer to the attempt to connect.
    NoAnswer,
    /// The attempt to connect was answered by a reset or an ICMP error.
    Refused,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Delivered => "delivered",
            Self::NoAnswer => "no answer",
            Self::Refused => "refused",
        })
    }
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
        0 => Ok(Outcome::Delivered),
        _ if dialogue.contains("timeout") || dialogue.contains("timed out") => Ok(Outcome::NoAnswer),
        _ if dialogue.contains("refused") || dialogue.contains("prohibited") => Ok(Outcome::Refused),
        code => bail!("swaks ended with {code}:\n{dialogue}"),
    }
}

/// A client that stays connected, and says NOOP ten times a second until the connection ends.
#[derive(Debug)]
pub struct Conversation {
    process: Process,
}

/// Prints every answer, and how it ended.
const CLIENT: &str = "\
import smtplib, sys, time
client = smtplib.SMTP(sys.argv[1], 25, 'client.example', timeout=6)
try:
    while True:
        print(client.noop())
        time.sleep(0.1)
except smtplib.SMTPServerDisconnected as error:
    print(error, error.__context__)
";

impl Conversation {
    /// Connects to port 25, and waits for an answer.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(client: &Namespace, server: IpAddr) -> Result<Self> {
        let process = client.start(&["/usr/bin/python3", "-c", CLIENT, &server.to_string()])?;
        let mut conversation = Self { process };
        let answered = |process: &Process| process.stdout().contains("250");
        conversation.process.wait_until_ready(Duration::from_secs(20), answered)?;
        Ok(conversation)
    }

    /// Waits for its end, and tells which: [`Outcome::NoAnswer`] after six seconds of silence,
    /// [`Outcome::Refused`] by a reset.
    ///
    /// # Errors
    /// If it goes on, or ends in another way; with the dialogue.
    pub fn end(self, timeout: Duration) -> Result<Outcome> {
        let client = self.process.finish(timeout)?;
        match client.stdout.lines().last() {
            Some(last) if last.contains("timed out") => Ok(Outcome::NoAnswer),
            Some(last) if last.contains("reset by peer") => Ok(Outcome::Refused),
            _ => bail!("the client ended with {}:\n{}{}", client.status, client.stdout, client.stderr),
        }
    }
}
