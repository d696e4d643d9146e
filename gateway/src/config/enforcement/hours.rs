//! Office hours: when a lesser case is dealt with (policy rule E5).

use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// `enforcement.office_hours`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfficeHours {
    /// Which days of the week, Monday first; at least one.
    pub days: [bool; 7],
    /// The first minute of a day.
    pub from: Time,
    /// The first minute after; later than `from`.
    pub to: Time,
    /// Days off, sorted.
    pub holidays: Vec<Date>,
}

impl Default for OfficeHours {
    fn default() -> Self {
        let days = [true, true, true, true, true, false, false];
        Self { days, from: Time::constant(9, 0, 0, 0), to: Time::constant(17, 0, 0, 0), holidays: Vec::new() }
    }
}

impl OfficeHours {
    /// Days of the week as the config writes them.
    pub(super) const DAYS: [(&str, Weekday); 7] = [
        ("Mon", Weekday::Monday),
        ("Tue", Weekday::Tuesday),
        ("Wed", Weekday::Wednesday),
        ("Thu", Weekday::Thursday),
        ("Fri", Weekday::Friday),
        ("Sat", Weekday::Saturday),
        ("Sun", Weekday::Sunday),
    ];

    /// The first moment from `now` on at which the office is open; `now` itself if it is open.
    ///
    /// A calendar in which no day of a year is open counts as always open: a case is late rather than lost.
    #[must_use]
    pub fn next_open(&self, now: Timestamp, timezone: &TimeZone) -> Timestamp {
        // One day more than a leap year, so that a calendar with a single day a year has its day.
        const DAYS_AHEAD: i64 = 367;
        let today = now.to_zoned(timezone.clone()).date();
        let open = (0..DAYS_AHEAD).find_map(|ahead| {
            let date = today.checked_add(ahead.days()).ok()?;
            if !self.days[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())]
                || self.holidays.binary_search(&date).is_ok()
            {
                return None;
            }
            // A time that a change of the clocks leaves out is taken as the same time after it.
            let at = |time: Time| Some(date.to_datetime(time).to_zoned(timezone.clone()).ok()?.timestamp());
            let (from, to) = (at(self.from)?, at(self.to)?);
            (now < to).then(|| from.max(now))
        });
        open.unwrap_or(now)
    }

    /// The days as the config writes them: `Mon,Tue,Sat`.
    #[must_use]
    pub fn days_text(&self) -> String {
        let open = Self::DAYS.iter().zip(self.days).filter(|(_, open)| *open);
        open.map(|((name, _), _)| *name).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for OfficeHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{}", self.days_text(), hours_and_minutes(self.from), hours_and_minutes(self.to))
    }
}

/// `09:00`.
pub(crate) fn hours_and_minutes(time: Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// London without the machine's time zones: clocks go forward on the last Sunday of March.
    fn london() -> TimeZone {
        TimeZone::posix("GMT0BST,M3.5.0/1,M10.5.0").unwrap()
    }

    fn next(hours: &OfficeHours, now: &str) -> String {
        hours.next_open(now.parse().unwrap(), &london()).to_string()
    }

    #[test]
    fn an_open_office_is_open_now() {
        let hours = OfficeHours::default();
        assert_eq!(next(&hours, "2026-11-30T09:00:00Z"), "2026-11-30T09:00:00Z");
        assert_eq!(next(&hours, "2026-11-30T16:59:59Z"), "2026-11-30T16:59:59Z");
    }

    #[test]
    fn evenings_weekends_and_holidays_are_waited_for() {
        let hours = OfficeHours { holidays: vec!["2026-12-25".parse().unwrap()], ..OfficeHours::default() };
        assert_eq!(next(&hours, "2026-11-30T05:00:00Z"), "2026-11-30T09:00:00Z");
        assert_eq!(next(&hours, "2026-11-30T17:00:00Z"), "2026-12-01T09:00:00Z");
        // A Thursday evening; Friday is the holiday.
        assert_eq!(next(&hours, "2026-12-24T18:00:00Z"), "2026-12-28T09:00:00Z");
    }

    #[test]
    fn office_hours_follow_the_clocks() {
        let hours = OfficeHours::default();
        // Friday before and Monday after the clocks went forward: nine o'clock is an hour earlier in UTC.
        assert_eq!(next(&hours, "2026-03-27T08:00:00Z"), "2026-03-27T09:00:00Z");
        assert_eq!(next(&hours, "2026-03-28T12:00:00Z"), "2026-03-30T08:00:00Z");
        // An office that opens at a time that does not exist on that Sunday.
        let sunday = OfficeHours {
            days: [false, false, false, false, false, false, true],
            from: Time::constant(1, 30, 0, 0),
            to: Time::constant(3, 0, 0, 0),
            holidays: Vec::new(),
        };
        assert_eq!(next(&sunday, "2026-03-29T00:00:00Z"), "2026-03-29T01:30:00Z");
    }

    #[test]
    fn a_calendar_without_an_open_day_never_loses_a_case() {
        let mut hours = OfficeHours { days: [true; 7], ..OfficeHours::default() };
        let first: Date = "2026-01-01".parse().unwrap();
        hours.holidays = (0..800_i64).map(|day| first.checked_add(day.days()).unwrap()).collect();
        assert_eq!(next(&hours, "2026-02-01T00:00:00Z"), "2026-02-01T00:00:00Z");
    }
}
