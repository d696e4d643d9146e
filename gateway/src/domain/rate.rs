//! Bit rates: what is enforced, and what a line carries.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bits per second of Ethernet frames without FCS. 8 kbit/s to 10 Gbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct BitRate(u64);

impl BitRate {
    /// The smallest rate that the data plane's arithmetic holds to 1 %.
    pub const MIN: Self = Self(8_000);
    /// The largest: at 10 Gbit/s a 64-byte frame lasts 51 ns, and the cap counts whole nanoseconds.
    pub const MAX: Self = Self(10_000_000_000);

    /// 10 Mbit/s.
    pub const TEN_MBIT: Self = Self(10_000_000);

    /// A rate, if it lies between [`Self::MIN`] and [`Self::MAX`].
    pub fn from_bits_per_sec(bits_per_sec: u64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&bits_per_sec).then_some(Self(bits_per_sec))
    }

    /// In bits per second.
    pub fn bits_per_sec(self) -> u64 {
        self.0
    }
}

impl From<BitRate> for u64 {
    fn from(rate: BitRate) -> Self {
        rate.0
    }
}

impl TryFrom<u64> for BitRate {
    type Error = &'static str;

    fn try_from(bits_per_sec: u64) -> Result<Self, &'static str> {
        Self::from_bits_per_sec(bits_per_sec).ok_or("not a rate from 8 kbit/s to 10 Gbit/s")
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rate(self.0, f)
    }
}

/// What a line carries in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRate {
    /// In bits per second; 1 Mbit/s to 1000 Gbit/s.
    pub bits_per_sec: u64,
}

impl fmt::Display for LineRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rate(self.bits_per_sec, f)
    }
}

/// In the largest unit that needs no fraction: the form that the config reads.
fn write_rate(bits_per_sec: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (unit, factor) in [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000)] {
        if bits_per_sec.is_multiple_of(factor) {
            return write!(f, "{} {unit}", bits_per_sec / factor);
        }
    }
    write!(f, "{bits_per_sec} bit/s")
}
