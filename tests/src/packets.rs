//! Single packets: forged sources by hping3, and exact numbers of datagrams.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;

use crate::namespace::Namespace;
use crate::run::wait_for;

/// Sends empty UDP datagrams with a source that need not be the sender's own.
///
/// # Errors
/// If hping3 did not send them all.
pub fn send_forged(namespace: &Namespace, source: Ipv4Addr, target: SocketAddrV4, count: u32) -> Result<()> {
    let (source, count) = (source.to_string(), count.to_string());
    let (address, port) = (target.ip().to_string(), target.port().to_string());
    let mut arguments = vec!["hping3", "--udp", "--numeric", "--spoof", &source, "--destport", &port];
    arguments.extend(["--count", &count, "--interval", "u2000", &address]);
    // hping3 fails when nothing is answered, as is meant here; what it sent stands in its closing lines.
    let finished = namespace.start(&arguments)?.finish(Duration::from_secs(30))?;
    let sent = format!("{count} packets transmitted");
    ensure!(finished.stderr.contains(&sent), "hping3: {}{}", finished.stdout, finished.stderr);
    Ok(())
}

/// Sends UDP datagrams of `payload_bytes` each, one at a time, from an address of the namespace.
pub fn send_datagrams(
    namespace: &Namespace,
    source: IpAddr,
    target: SocketAddr,
    payload_bytes: usize,
    count: u32,
) -> Result<()> {
    let socket = bind(namespace, SocketAddr::new(source, 0))?;
    for _ in 0..count {
        socket.send_to(&vec![0; payload_bytes], target).with_context(|| format!("sending to {target}"))?;
    }
    Ok(())
}

/// Counts datagrams that arrive.
#[derive(Debug)]
pub struct Receiver {
    socket: UdpSocket,
    received: u32,
}

impl Receiver {
    /// Listens on an address of the namespace.
    pub fn listen(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        /// Nothing is read while a test sends; a datagram takes at most its frame and 1 KiB of this.
        const ROOM_BYTES: usize = 64 << 20;
        let socket = bind(namespace, address)?;
        setsockopt(&socket, RcvBufForce, &ROOM_BYTES).context("making room for datagrams")?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, received: 0 })
    }

    /// Datagrams so far.
    pub fn received(&mut self) -> u32 {
        let mut byte = [0];
        // A datagram longer than the buffer is cut, not refused.
        while self.socket.recv(&mut byte).is_ok() {
            self.received += 1;
        }
        self.received
    }

    /// Waits until that many have arrived.
    ///
    /// # Errors
    /// If they have not after five seconds.
    pub fn wait_for(&mut self, count: u32) -> Result<()> {
        wait_for(&format!("{count} datagrams"), Duration::from_secs(5), || {
            (self.received() >= count).then_some(())
        })
        .with_context(|| format!("{} arrived", self.received))
    }
}

fn bind(namespace: &Namespace, address: SocketAddr) -> Result<UdpSocket> {
    namespace.enter(|| UdpSocket::bind(address))?.with_context(|| format!("binding to {address}"))
}
