//! The senders of TCP: connections that send as much as they can, and downloads one after the other.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::sockopt::{GetStruct, Linger, ReuseAddr, TcpCongestion};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, getsockopt, setsockopt, socket,
};

use super::experiment::Control;
use super::sink::TCP_PORT;
use crate::namespace::Namespace;

/// What a download brings.
const DOWNLOAD_BYTES: usize = 100_000;
/// How often the thread looks whether it is to end, in ms.
const LOOK_MS: u16 = 50;
/// What is handed to the kernel at once.
static CHUNK: [u8; 64 << 10] = [0; 64 << 10];

nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, libc::tcp_info, GetStruct<libc::tcp_info>);

/// Reads `TCP_INFO`, for which nix has no option of its own.
#[derive(Clone, Copy, Debug)]
struct TcpInfo;

/// A connection that sends as much as it can.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long {
    pub(super) control: Control,
    pub(super) from: Ipv4Addr,
    /// The port that it sends from, and is known by.
    pub(super) port: u16,
    pub(super) to: Ipv4Addr,
}

/// Downloads one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Download {
    pub(super) control: Control,
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
}

/// Running senders.
pub(super) struct Senders {
    connections: Arc<Vec<(u16, TcpStream)>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Vec<Duration>>>>>,
}

impl Senders {
    /// Opens all connections in `namespace`, and begins to send.
    pub(super) fn start(namespace: &Namespace, long: &[Long], downloads: &[Download]) -> Result<Self> {
        let open_all = || -> Result<Vec<_>> {
            let open = |each: &Long| Ok((each.port, open(each.control, each.from, each.port, each.to)?));
            long.iter().map(open).collect()
        };
        let connections = Arc::new(namespace.enter(open_all)??);
        let is_over = Arc::new(AtomicBool::new(false));
        let spawn = || {
            let (connections, is_over) = (Arc::clone(&connections), Arc::clone(&is_over));
            let downloads = downloads.iter().copied().map(Running::new).collect();
            let work = move || Worker { connections: &connections, downloads }.run(&is_over);
            thread::Builder::new().name("senders".to_owned()).spawn(work)
        };
        // A thread begins in the namespace of the one that starts it, and opens its downloads there.
        let thread = namespace.enter(spawn)??;
        Ok(Self { connections, is_over, thread: Some(thread) })
    }

    /// Segments that the connection from each port has sent again.
    pub(super) fn retransmissions(&self) -> Result<Vec<(u16, u64)>> {
        let retransmissions = |(port, stream): &(u16, TcpStream)| {
            let info = getsockopt(stream, TcpInfo).context("TCP_INFO")?;
            Ok((*port, u64::from(info.tcpi_total_retrans)))
        };
        self.connections.iter().map(retransmissions).collect()
    }

    /// Ends everything at once; returns how long each download of each source took.
    pub(super) fn stop(mut self) -> Result<Vec<Vec<Duration>>> {
        self.end().context("they were stopped before")?
    }

    fn end(&mut self) -> Option<Result<Vec<Vec<Duration>>>> {
        self.is_over.store(true, Relaxed);
        let thread = self.thread.take()?;
        Some(thread.join().unwrap_or_else(|_| Err(anyhow!("the senders fell over"))))
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.end() {
            eprintln!("the senders: {error:#}");
        }
    }
}

/// Begins to connect, from a free port if it is 0.
fn open(control: Control, from: Ipv4Addr, port: u16, to: Ipv4Addr) -> Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    setsockopt(&socket, TcpCongestion, &control.label().into())
        .with_context(|| format!("the congestion control {}", control.label()))?;
    // What is still to be sent at the end would disturb the next batch.
    setsockopt(&socket, Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(from, port)))?;
    match connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(to, TCP_PORT))) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error).with_context(|| format!("connecting to {to}")),
    }
}

/// A download under way, and how long those before it took.
struct Running {
    what: Download,
    stream: Option<TcpStream>,
    sent_bytes: usize,
    started: Instant,
    took: Vec<Duration>,
}

impl Running {
    fn new(what: Download) -> Self {
        Self { what, stream: None, sent_bytes: 0, started: Instant::now(), took: Vec::new() }
    }
}

struct Worker<'a> {
    connections: &'a [(u16, TcpStream)],
    downloads: Vec<Running>,
}

impl Worker<'_> {
    fn run(mut self, is_over: &AtomicBool) -> Result<Vec<Vec<Duration>>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (index, (_, stream)) in self.connections.iter().enumerate() {
            epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLOUT, index as u64))?;
        }
        for download in 0..self.downloads.len() {
            self.begin(download, &epoll)?;
        }
        let mut events = vec![EpollEvent::empty(); 64];
        while !is_over.load(Relaxed) {
            let count = match epoll.wait(&mut events, LOOK_MS) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error).context("waiting to send"),
            };
            for event in &events[..count] {
                let index = usize::try_from(event.data())?;
                match self.connections.get(index) {
                    Some((_, stream)) => fill(stream)?,
                    None => self.advance(index - self.connections.len(), &epoll)?,
                }
            }
        }
        Ok(self.downloads.into_iter().map(|download| download.took).collect())
    }

    /// Opens the next connection of a download.
    fn begin(&mut self, index: usize, epoll: &Epoll) -> Result<()> {
        let running = &mut self.downloads[index];
        let Download { control, from, to } = running.what;
        running.started = Instant::now();
        running.sent_bytes = 0;
        let stream = open(control, from, 0, to)?;
        let place = (self.connections.len() + index) as u64;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLOUT | EpollFlags::EPOLLIN, place))?;
        running.stream = Some(stream);
        Ok(())
    }

    /// Sends more of a download; once the receiver has all, the next one begins.
    fn advance(&mut self, index: usize, epoll: &Epoll) -> Result<()> {
        let running = &mut self.downloads[index];
        let Some(stream) = &mut running.stream else { return Ok(()) };
        if running.sent_bytes < DOWNLOAD_BYTES {
            let rest = (DOWNLOAD_BYTES - running.sent_bytes).min(CHUNK.len());
            match stream.write(&CHUNK[..rest]) {
                Ok(bytes) => running.sent_bytes += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("a download"),
            }
            if running.sent_bytes == DOWNLOAD_BYTES {
                let place = (self.connections.len() + index) as u64;
                epoll.modify(&*stream, &mut EpollEvent::new(EpollFlags::EPOLLIN, place))?;
                stream.shutdown(Shutdown::Write)?;
            }
            return Ok(());
        }
        match stream.read(&mut [0; 16]) {
            Ok(_) => {
                running.took.push(running.started.elapsed());
                running.stream = None;
                self.begin(index, epoll)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).context("the end of a download"),
        }
    }
}

/// Hands the kernel as much as it takes.
fn fill(mut stream: &TcpStream) -> Result<()> {
    loop {
        match stream.write(&CHUNK) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("a connection"),
        }
    }
}
