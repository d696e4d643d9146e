//! The receivers: take whatever comes, and count it by the port that it comes from.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::namespace::Namespace;

/// Where connections arrive.
pub(super) const TCP_PORT: u16 = 5_001;
/// Where datagrams arrive.
pub(super) const UDP_PORT: u16 = 5_002;

/// How often the thread looks whether it is to end, in ms.
const LOOK_MS: u16 = 50;
/// The listener's place among the connections.
const LISTENER: u64 = u64::MAX;

/// Running receivers.
pub(super) struct Sink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
    /// Never read: the kernel drops what does not fit, and nobody answers that the port is closed.
    _datagrams: UdpSocket,
}

struct Shared {
    received_by_port: Vec<AtomicU64>,
    is_over: AtomicBool,
}

impl Sink {
    /// Starts to listen on all addresses of `namespace`.
    pub(super) fn start(namespace: &Namespace) -> Result<Self> {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let (listener, datagrams) = namespace.enter(|| -> Result<_> {
            Ok((TcpListener::bind(any(TCP_PORT))?, UdpSocket::bind(any(UDP_PORT))?))
        })??;
        listener.set_nonblocking(true)?;
        let received_by_port = (0..=u16::MAX).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { received_by_port, is_over: AtomicBool::new(false) });
        let thread = thread::Builder::new().name("sink".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || receive(&listener, &shared)
        })?;
        Ok(Self { shared, thread: Some(thread), _datagrams: datagrams })
    }

    /// Payload that arrived by TCP from a port.
    pub(super) fn received(&self, port: u16) -> u64 {
        self.shared.received_by_port[usize::from(port)].load(Relaxed)
    }

    /// Ends all connections.
    pub(super) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.shared.is_over.store(true, Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the receivers fell over"))?
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("the receivers: {error:#}");
        }
    }
}

fn receive(listener: &TcpListener, shared: &Shared) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut connections: Vec<Option<(TcpStream, u16)>> = Vec::new();
    let mut events = vec![EpollEvent::empty(); 64];
    let mut buffer = vec![0; 256 << 10];
    while !shared.is_over.load(Relaxed) {
        let count = match epoll.wait(&mut events, LOOK_MS) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error).context("waiting for data"),
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept(listener, &epoll, &mut connections)?;
                continue;
            }
            let connection = &mut connections[usize::try_from(event.data())?];
            let Some((stream, port)) = connection else { continue };
            match stream.read(&mut buffer) {
                // Closing it ends the connection for the sender, too, which waits for that.
                Ok(0) => *connection = None,
                Ok(bytes) => {
                    shared.received_by_port[usize::from(*port)].fetch_add(bytes as u64, Relaxed);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => *connection = None,
            }
        }
    }
    Ok(())
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<(TcpStream, u16)>>,
) -> Result<()> {
    let (stream, peer) = match listener.accept() {
        Ok(accepted) => accepted,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error).context("accepting a connection"),
    };
    stream.set_nonblocking(true)?;
    let place = connections.iter().position(Option::is_none).unwrap_or(connections.len());
    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, place as u64))?;
    if place == connections.len() {
        connections.push(None);
    }
    connections[place] = Some((stream, peer.port()));
    Ok(())
}
