//! Quantities with their units: bit rates, sizes and durations, as the operator writes them.
//!
//! Units are decimal, and a number may have a fraction as long as nothing is lost: `2.5 Gbit/s` is
//! taken, `0.5 bit/s` is not. What [`BitRate`] and [`DurationText`] print is read back as the same value.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use super::value::{Kind, Refusal, Scalar, text};
use super::{BitRate, LineRate};

/// A unit, its size in the smallest unit of its quantity, and other spellings seen in the field.
type Unit = (&'static str, u64, &'static [&'static str]);

/// In bits per second, largest first.
const RATE_UNITS: [Unit; 4] = [
    ("Gbit/s", 1_000_000_000, &["gbit", "gbits", "gbits/s", "gbps"]),
    ("Mbit/s", 1_000_000, &["mbit", "mbits", "mbits/s", "mbps"]),
    ("kbit/s", 1_000, &["kbit", "kbits", "kbits/s", "kbps"]),
    ("bit/s", 1, &["bit", "bits", "bits/s", "bps"]),
];

/// In bytes, largest first.
const SIZE_UNITS: [Unit; 8] = [
    ("TB", 1_000_000_000_000, &["t", "tbytes"]),
    ("TiB", 1 << 40, &[]),
    ("GB", 1_000_000_000, &["g", "gbytes"]),
    ("GiB", 1 << 30, &[]),
    ("MB", 1_000_000, &["m", "mbytes"]),
    ("MiB", 1 << 20, &[]),
    ("kB", 1_000, &["k", "kbytes"]),
    ("KiB", 1 << 10, &[]),
];

/// In milliseconds, largest first.
const DURATION_UNITS: [Unit; 5] = [
    ("d", 86_400_000, &["day", "days"]),
    ("h", 3_600_000, &["hour", "hours"]),
    ("m", 60_000, &["min", "minute", "minutes"]),
    ("s", 1_000, &["sec", "second", "seconds"]),
    ("ms", 1, &["msec", "millisecond", "milliseconds"]),
];

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// No digits in front.
    #[error("does not begin with a number")]
    NoNumber,
    /// Nothing behind the number.
    #[error("no unit, expected one of {known}")]
    NoUnit {
        /// The units there are, smallest first.
        known: String,
    },
    /// A unit of another quantity, or none at all.
    #[error("unknown unit \"{unit}\", expected one of {known}")]
    UnknownUnit {
        /// What stands where the unit should.
        unit: String,
        /// The units there are, smallest first.
        known: String,
        /// The unit that was probably meant.
        meant: Option<&'static str>,
    },
    /// Finer than the smallest unit.
    #[error("not a whole number of {smallest}")]
    TooFine {
        /// The smallest unit.
        smallest: &'static str,
    },
    /// Outside of what can be enforced.
    #[error("out of range")]
    OutOfRange,
}

/// The quantity in the smallest of `units`.
fn parse(written: &str, units: &[Unit]) -> Result<u64, QuantityError> {
    let number_end = written.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(written.len());
    let (number, unit) = written.split_at(number_end);
    let unit = unit.trim_start();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(QuantityError::NoNumber);
    }
    let Some((_, size, _)) = units.iter().find(|(name, _, _)| *name == unit) else {
        let is_meant = |(name, _, others): &&Unit| {
            let unit = unit.to_lowercase();
            // "MB/s" is bytes: eight times as much, and not to be taken for a slip.
            name.to_lowercase() == unit || others.contains(&unit.as_str())
        };
        let meant = units.iter().find(is_meant).map(|(name, _, _)| *name);
        let known = units.iter().rev().map(|(name, _, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(match unit {
            "" => QuantityError::NoUnit { known },
            unit => QuantityError::UnknownUnit { unit: unit.to_owned(), known, meant },
        });
    };
    let fraction = fraction.trim_end_matches('0');
    let scale = u32::try_from(fraction.len()).ok().and_then(|digits| 10_u128.checked_pow(digits));
    let scale = scale.ok_or(QuantityError::TooFine { smallest: units[units.len() - 1].0 })?;
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| QuantityError::OutOfRange)?;
    let scaled = digits.checked_mul(u128::from(*size)).ok_or(QuantityError::OutOfRange)?;
    if !scaled.is_multiple_of(scale) {
        return Err(QuantityError::TooFine { smallest: units[units.len() - 1].0 });
    }
    u64::try_from(scaled / scale).map_err(|_| QuantityError::OutOfRange)
}

impl FromStr for BitRate {
    type Err = QuantityError;

    /// From `8 kbit/s` to `10 Gbit/s`.
    fn from_str(written: &str) -> Result<Self, QuantityError> {
        Self::from_bits_per_sec(parse(written, &RATE_UNITS)?).ok_or(QuantityError::OutOfRange)
    }
}

/// A duration as it is written: `250ms`, `90s`, `5m`, `1h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationText(pub Duration);

impl FromStr for DurationText {
    type Err = QuantityError;

    fn from_str(written: &str) -> Result<Self, QuantityError> {
        parse(written, &DURATION_UNITS).map(|milliseconds| Self(Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for DurationText {
    /// In the largest unit that needs no fraction; what is below a millisecond is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let fits = |(_, size, _): &&Unit| milliseconds.is_multiple_of(u128::from(*size));
        match DURATION_UNITS.iter().find(fits) {
            Some((name, size, _)) if milliseconds > 0 => {
                write!(f, "{}{name}", milliseconds / u128::from(*size))
            }
            _ => write!(f, "{milliseconds}ms"),
        }
    }
}

/// A size as it is written: `500 MB`, `1 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeText(pub(crate) u64);

impl fmt::Display for SizeText {
    /// In the largest unit that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZE_UNITS.iter().find(|(_, size, _)| self.0.is_multiple_of(*size)) {
            Some((name, size, _)) => write!(f, "{} {name}", self.0 / size),
            None => write!(f, "{} B", self.0),
        }
    }
}

fn refuse(error: QuantityError, written: &str) -> Refusal {
    let refusal = Refusal::new(error.to_string());
    match error {
        QuantityError::UnknownUnit { unit, meant: Some(meant), .. } => {
            let number = written.strip_suffix(unit.as_str()).unwrap_or(written);
            refusal.help(format!("write \"{number}{meant}\""))
        }
        _ => refusal,
    }
}

/// What a line carries. Nothing of it is enforced, so it may exceed what a cap may be.
pub(super) const CAPACITY: Scalar<LineRate> = Scalar {
    expected: "a rate from \"1 Mbit/s\" to \"1000 Gbit/s\"",
    read: |value| {
        let written = text(value)?;
        match parse(written, &RATE_UNITS) {
            Ok(bits_per_sec @ 1_000_000..=1_000_000_000_000) => Ok(LineRate { bits_per_sec }),
            Ok(_) => Err(refuse(QuantityError::OutOfRange, written)),
            Err(error) => Err(refuse(error, written)),
        }
    },
};

/// Room on a disk.
pub(super) const SIZE: Scalar<u64> = Scalar {
    expected: "a size from \"1 MB\" to \"1000 TB\"",
    read: |value| {
        let written = text(value)?;
        match parse(written, &SIZE_UNITS) {
            Ok(bytes @ 1_000_000..=1_000_000_000_000_000) => Ok(bytes),
            Ok(_) => Err(refuse(QuantityError::OutOfRange, written)),
            Err(error) => Err(refuse(error, written)),
        }
    },
};

/// A rate that can be enforced.
pub(super) const RATE: Scalar<BitRate> = Scalar {
    expected: "a rate from \"8 kbit/s\" to \"10 Gbit/s\"",
    read: |value| {
        let written = text(value)?;
        written.parse().map_err(|error| refuse(error, written))
    },
};

/// How long a burst may last.
pub(super) const BURST: DurationWithin = DurationWithin(Duration::from_millis(10)..=Duration::from_secs(10));

/// A duration within a range.
pub(super) struct DurationWithin(pub(super) RangeInclusive<Duration>);

impl Kind for DurationWithin {
    type Value = Duration;

    fn expected(&self) -> String {
        let (least, most) = (DurationText(*self.0.start()), DurationText(*self.0.end()));
        format!("a duration from \"{least}\" to \"{most}\"")
    }

    fn read(&self, value: &DeValue<'_>) -> Result<Duration, Refusal> {
        let written = text(value)?;
        match written.parse() {
            Ok(DurationText(duration)) if self.0.contains(&duration) => Ok(duration),
            Ok(_) => Err(refuse(QuantityError::OutOfRange, written)),
            Err(error) => Err(refuse(error, written)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(written: &str) -> Result<u64, QuantityError> {
        written.parse().map(BitRate::bits_per_sec)
    }

    #[test]
    fn rates_are_read_to_the_bit() {
        assert_eq!(bits("10 Mbit/s"), Ok(10_000_000));
        assert_eq!(bits("10Mbit/s"), Ok(10_000_000));
        assert_eq!(bits("2.5 Gbit/s"), Ok(2_500_000_000));
        assert_eq!(bits("8.001 kbit/s"), Ok(8_001));
        assert_eq!(bits("1.50000000000000000000000000000000000000000 Mbit/s"), Ok(1_500_000));
        assert_eq!(bits("8.0001 kbit/s"), Err(QuantityError::TooFine { smallest: "bit/s" }));
    }

    #[test]
    fn rates_end_where_the_data_plane_does() {
        assert_eq!(bits("8 kbit/s"), Ok(BitRate::MIN.bits_per_sec()));
        assert_eq!(bits("7999 bit/s"), Err(QuantityError::OutOfRange));
        assert_eq!(bits("10 Gbit/s"), Ok(BitRate::MAX.bits_per_sec()));
        assert_eq!(bits("10000000001 bit/s"), Err(QuantityError::OutOfRange));
        assert_eq!(bits("99999999999999999999999999999999999999999 Gbit/s"), Err(QuantityError::OutOfRange));
    }

    #[test]
    fn other_spellings_are_understood_but_not_taken() {
        let meant = |written: &str| match bits(written) {
            Err(QuantityError::UnknownUnit { meant, .. }) => meant,
            other => panic!("{written}: {other:?}"),
        };
        assert_eq!(meant("10 Mbps"), Some("Mbit/s"));
        assert_eq!(meant("10 mbit/s"), Some("Mbit/s"));
        assert_eq!(meant("10 MB/s"), None);
        assert!(matches!(bits("10"), Err(QuantityError::NoUnit { .. })));
        for no_number in ["", "Mbit/s", "-1 Mbit/s", ".5 Mbit/s", "1. Mbit/s", "1.2.3 Mbit/s"] {
            assert_eq!(bits(no_number), Err(QuantityError::NoNumber), "{no_number}");
        }
    }

    #[test]
    fn durations_have_one_unit() {
        let duration = |written: &str| written.parse().map(|DurationText(duration)| duration);
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3_600)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert!(duration("1h 30m").is_err());
        assert!(duration("1M").is_err());
        assert_eq!(DurationText(Duration::ZERO).to_string(), "0ms");
        assert_eq!(DurationText(Duration::from_secs(90)).to_string(), "90s");
    }

    #[test]
    fn sizes_are_decimal_or_binary() {
        let size = |written: &str| parse(written, &SIZE_UNITS);
        assert_eq!(size("1 GB"), Ok(1_000_000_000));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("20 kB"), Ok(20_000));
        assert!(matches!(size("1 gb"), Err(QuantityError::UnknownUnit { meant: Some("GB"), .. })));
        let shown = [1_000_000_000, 3 << 29, 1_536_000, 1_001].map(|bytes| SizeText(bytes).to_string());
        assert_eq!(shown, ["1 GB", "1536 MiB", "1536 kB", "1001 B"]);
    }

    proptest! {
        #[test]
        fn a_rate_reads_back_as_itself(bits_per_sec in 8_000_u64..=10_000_000_000) {
            let rate = BitRate::from_bits_per_sec(bits_per_sec).unwrap();
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn a_duration_reads_back_as_itself(milliseconds: u64) {
            let duration = DurationText(Duration::from_millis(milliseconds));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_is_a_panic(written: String) {
            let _ = written.parse::<BitRate>();
            let _ = written.parse::<DurationText>();
        }
    }
}
