//! What is tried: an algorithm, a cap, a round trip, and what is sent.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What enforces the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Fairway's plain token bucket.
    Bucket,
    /// Fairway's fair phantom queues.
    Fair,
    /// A class of the kernel's HTB with a queue of 50 ms.
    Htb,
    /// The kernel's TBF with a queue of 50 ms.
    Tbf,
}

impl Algorithm {
    /// All of them, as they are shown.
    pub const ALL: [Self; 4] = [Self::Bucket, Self::Fair, Self::Htb, Self::Tbf];

    /// Whether it is Fairway's own.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Bucket | Self::Fair)
    }

    /// Its name in configurations and reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Fair => "fair",
            Self::Htb => "htb",
            Self::Tbf => "tbf",
        }
    }
}

/// A congestion control of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Control {
    /// RFC 5681.
    Reno,
    /// RFC 9438.
    Cubic,
    /// BBR, whichever version this kernel has.
    Bbr,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Reno, Self::Cubic, Self::Bbr];

    /// As the kernel calls it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Reno => "reno",
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
        }
    }

    /// Whether this kernel has it, after it was asked to load it.
    pub fn is_available(self) -> Result<bool> {
        const FILE: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";
        // A kernel without modules has it or has it not; the file tells.
        let _ = std::process::Command::new("modprobe")
            .args(["--quiet", &format!("tcp_{}", self.label())])
            .status();
        let available = fs::read_to_string(FILE).context(FILE)?;
        Ok(available.split_whitespace().any(|name| name == self.label()))
    }
}

/// One sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A TCP connection that sends as much as it can.
    Tcp(Control),
    /// Datagrams at a part of the cap, whatever becomes of them.
    Udp {
        /// Payload of each.
        payload_bytes: usize,
        /// Offered frames, in percent of the cap.
        percent: u32,
    },
    /// 100 kB by a new TCP connection, over and over.
    Downloads(Control),
}

/// What a tenant receives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Its name in reports.
    pub name: String,
    /// Its senders; those whose shares count come first.
    pub sources: Vec<Source>,
}

impl Workload {
    /// A workload with a name.
    #[must_use]
    pub fn new(name: &str, sources: &[Source]) -> Self {
        Self { name: name.to_owned(), sources: sources.to_owned() }
    }

    /// One connection.
    #[must_use]
    pub fn one(control: Control) -> Self {
        Self::new(control.label(), &[Source::Tcp(control)])
    }

    /// Some connections of one control beside as many of another.
    #[must_use]
    pub fn beside(count: usize, first: Control, second: Control) -> Self {
        let number = if count == 1 { String::new() } else { format!("{count} ") };
        let name = format!("{number}{} beside {number}{}", first.label(), second.label());
        let sources = [vec![Source::Tcp(first); count], vec![Source::Tcp(second); count]].concat();
        Self { name, sources }
    }

    /// A connection beside datagrams at twice the cap.
    #[must_use]
    pub fn beside_udp(control: Control) -> Self {
        let udp = Source::Udp { payload_bytes: 1_472, percent: 200 };
        Self::new(&format!("{} beside UDP", control.label()), &[Source::Tcp(control), udp])
    }

    /// Downloads of 100 kB beside a connection.
    #[must_use]
    pub fn downloads_beside(control: Control) -> Self {
        let sources = [Source::Downloads(Control::Cubic), Source::Tcp(control)];
        Self::new(&format!("100 kB beside {}", control.label()), &sources)
    }

    /// Datagrams alone, at one and a half times the cap.
    #[must_use]
    pub fn udp(payload_bytes: usize) -> Self {
        let name = format!("UDP, {payload_bytes} B payload");
        Self::new(&name, &[Source::Udp { payload_bytes, percent: 150 }])
    }
}

/// One tenant's share of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Experiment {
    /// What enforces the cap.
    pub algorithm: Algorithm,
    /// What is sent.
    pub workload: Workload,
    /// The cap.
    pub cap_kbit_per_sec: u32,
    /// The round trip without any queue.
    pub round_trip_ms: u32,
    /// The burst of Fairway's algorithms; its default if there is none.
    pub burst_ms: Option<u32>,
}

impl Experiment {
    /// Bytes that the cap lets through in a second.
    #[must_use]
    pub fn cap_bytes_per_sec(&self) -> f64 {
        f64::from(self.cap_kbit_per_sec) * 125.0
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, workload, cap_kbit_per_sec, round_trip_ms, burst_ms } = self;
        let cap = f64::from(*cap_kbit_per_sec) / 1e3;
        write!(f, "{} under {} of {cap} Mbit/s at {round_trip_ms} ms", workload.name, algorithm.label())?;
        burst_ms.map_or(Ok(()), |burst| write!(f, ", burst {burst} ms"))
    }
}
