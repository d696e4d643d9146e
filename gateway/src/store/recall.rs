//! What holds, as the store knows it: what a controller goes on from.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, params};

use super::columns::{labelled, lowered_cap, needed_time, source, time};
use super::error::StoreError;
use super::reader::Reader;
use crate::clock::{Earlier, Reading};
use crate::config::OffenceKind;
use crate::detect::{Baseline, Learned, MeasureInForce};
use crate::domain::{BootTime, Moment};
use crate::suspension::Suspension;

/// What holds at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recalled {
    /// Suspensions, by tenant and scope.
    pub suspensions: Vec<(String, Suspension)>,
    /// Measures, one for each source, kind and measure; the last one taken.
    pub measures: Vec<MeasureInForce>,
    /// Measures of this boot that were ended before their time: the kernel may not have heard of it.
    pub lifted: Vec<MeasureInForce>,
    /// All offences ever recorded, by tenant and kind.
    pub counts: BTreeMap<(String, OffenceKind), u64>,
    /// Whether part of the ledger was lost, and what the kernel restricts has not been compared since.
    pub is_to_adopt: bool,
}

/// A measure as it was taken.
struct Taken {
    measure: MeasureInForce,
    boot: Option<BootTime>,
    is_ended: bool,
}

/// How far the boot clock was seen to run, boot by boot.
struct Boots(Vec<(String, u64)>);

impl Reader {
    /// What holds at `now`.
    pub fn recall(&self, now: &Moment) -> Result<Recalled, StoreError> {
        let boots = Boots(self.rows("SELECT boot, last_us FROM boots ORDER BY ordinal", [], |row| {
            Ok((row.get("boot")?, row.get::<_, i64>("last_us")?.cast_unsigned()))
        })?);
        let (mut measures, mut lifted) = (BTreeMap::new(), BTreeMap::new());
        for taken in self.taken(now)? {
            let Some(left) = boots.left(&taken, now) else { continue };
            let Taken { mut measure, is_ended, boot } = taken;
            measure.until = until(measure.until, now.wall, left);
            let is_of_this_boot = boot.map(|boot| boot.id) == now.boot.as_ref().map(|boot| boot.id.clone());
            // The last one says how it stands: lifted, or taken anew since.
            measures.remove(&measure.identity());
            lifted.remove(&measure.identity());
            match is_ended {
                false => drop(measures.insert(measure.identity(), measure)),
                true if is_of_this_boot => drop(lifted.insert(measure.identity(), measure)),
                true => {}
            }
        }
        let to_adopt = self.rows("SELECT 1 FROM losses WHERE adopted_by IS NULL", [], |_| Ok(()))?;
        Ok(Recalled {
            suspensions: self.suspensions()?,
            measures: measures.into_values().collect(),
            lifted: lifted.into_values().collect(),
            counts: self.counts()?,
            is_to_adopt: !to_adopt.is_empty(),
        })
    }

    /// Suspensions in force, by tenant and scope; those whose time is over too, as long as nobody said so.
    pub fn suspensions(&self) -> Result<Vec<(String, Suspension)>, StoreError> {
        self.rows("SELECT * FROM suspensions ORDER BY tenant, scope", [], |row| {
            let suspension = Suspension {
                scope: labelled(row, "scope")?,
                reason: row.get("reason")?,
                by: row.get("by")?,
                since: needed_time(row, "since")?,
                until: time(row, "until")?,
            };
            Ok((row.get("tenant")?, suspension))
        })
    }

    /// Measures that may hold at `now`, by one clock or the other, in the order they were taken.
    fn taken(&self, now: &Moment) -> Result<Vec<Taken>, StoreError> {
        let query = "SELECT * FROM measures WHERE ends_at > ?1 OR boot = ?2 ORDER BY entry";
        let boot = now.boot.as_ref().map(|boot| &boot.id);
        self.rows(query, params![now.wall.as_microsecond(), boot], |row| {
            let boot: Option<String> = row.get("boot")?;
            let us: Option<i64> = row.get("starts_boot_us")?;
            let ended_by: Option<i64> = row.get("ended_by")?;
            let measure = MeasureInForce {
                tenant: row.get("tenant")?,
                source: source(row)?,
                kind: Some(labelled(row, "kind")?),
                measure: labelled(row, "measure")?,
                lowered_cap: lowered_cap(row)?,
                since: needed_time(row, "starts_at")?,
                until: needed_time(row, "ends_at")?,
            };
            let boot = boot.zip(us).map(|(id, us)| BootTime { id, us: us.cast_unsigned() });
            Ok(Taken { measure, boot, is_ended: ended_by.is_some() })
        })
    }

    fn counts(&self) -> Result<BTreeMap<(String, OffenceKind), u64>, StoreError> {
        let counted = |row: &Row<'_>| {
            let offences: i64 = row.get("offences")?;
            Ok(((row.get("tenant")?, labelled(row, "kind")?), offences.cast_unsigned()))
        };
        Ok(self.rows("SELECT * FROM offence_counts", [], counted)?.into_iter().collect())
    }

    /// The last moment that is known of: when the last entry was written, and for how long the boot went on after it.
    pub(super) fn last_seen(&self, now: &Moment) -> Result<Option<Earlier>, StoreError> {
        let query = "SELECT at, boot, boot_us, last_us FROM entries LEFT JOIN boots USING (boot)
                     WHERE number = (SELECT max(number) FROM entries)";
        let seen = self.rows(query, [], |row| {
            let us =
                |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned));
            let (at, boot) = (needed_time(row, "at")?, row.get::<_, Option<String>>("boot")?);
            let started = Duration::from_micros(us("boot_us")?.unwrap_or_default());
            let ended = Duration::from_micros(us("last_us")?.unwrap_or_default());
            // What was dated before the boot has no reading of its clock.
            let is_this =
                boot.is_some() && boot == now.boot.as_ref().map(|boot| boot.id.clone()) && !started.is_zero();
            Ok(match is_this {
                true => Earlier::ThisBoot(Reading { wall: at, boot: started }),
                false => Earlier::AnotherBoot(at.checked_add(ended.saturating_sub(started)).unwrap_or(at)),
            })
        })?;
        Ok(seen.into_iter().next())
    }

    /// What was learned of the tenants' use, as it was last kept.
    pub fn baselines(&self) -> Result<Vec<Learned>, StoreError> {
        self.rows("SELECT * FROM baselines ORDER BY tenant", [], |row| {
            let baseline = |rate, minutes| -> rusqlite::Result<_> {
                Ok(Baseline { bytes_per_sec: row.get(rate)?, minutes: row.get(minutes)? })
            };
            Ok(Learned {
                tenant: row.get("tenant")?,
                baselines: [
                    baseline("up_bytes_per_second", "up_minutes")?,
                    baseline("down_bytes_per_second", "down_minutes")?,
                ],
                quiet_until: time(row, "quiet_until")?,
            })
        })
    }
}

impl Boots {
    /// How long a measure holds yet; none: it is over. Never longer than it was taken for, whatever the wall
    /// clock shows: within a boot the boot clock decides, and over boots what it is known to have run counts.
    fn left(&self, taken: &Taken, now: &Moment) -> Option<Duration> {
        let MeasureInForce { since, until, .. } = taken.measure;
        let length = until.duration_since(since);
        let run = match (&taken.boot, &now.boot) {
            (Some(then), Some(now)) if then.id == now.id => {
                return positive(length - micros(now.us.saturating_sub(then.us)));
            }
            (Some(then), Some(now)) => self.run_between(then, &now.id) + micros(now.us),
            (Some(then), None) => self.run_between(then, ""),
            (None, _) => SignedDuration::ZERO,
        };
        positive(until.duration_since(now.wall).min(length - run))
    }

    /// How long the machine is known to have run between then and the boot of now.
    fn run_between(&self, then: &BootTime, now: &str) -> SignedDuration {
        let mut since = self.0.iter().skip_while(|(id, _)| *id != then.id);
        let in_its_boot = since.next().map_or(0, |(_, last_us)| last_us.saturating_sub(then.us));
        let between: u64 = since.filter(|(id, _)| id != now).map(|(_, last_us)| last_us).sum();
        micros(in_its_boot.saturating_add(between))
    }
}

fn positive(left: SignedDuration) -> Option<Duration> {
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

fn micros(us: u64) -> SignedDuration {
    SignedDuration::from_micros(i64::try_from(us).unwrap_or(i64::MAX))
}

/// The end as it was recorded, unless the clocks disagree by more than they drift.
fn until(recorded: Timestamp, now: Timestamp, left: Duration) -> Timestamp {
    const DRIFT: SignedDuration = SignedDuration::from_secs(1);
    let by_clock = SignedDuration::try_from(left).ok().and_then(|left| now.checked_add(left).ok());
    let by_clock = by_clock.unwrap_or(recorded);
    if recorded.duration_since(by_clock).abs() <= DRIFT { recorded } else { by_clock }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fake::{at, offence};

    const MINUTE_US: u64 = 60_000_000;

    fn boot(id: &str, us: u64) -> Option<BootTime> {
        Some(BootTime { id: id.into(), us })
    }

    /// A quarantine of an hour that began in boot `a`, five minutes after it.
    fn taken() -> Taken {
        let measure = offence("acme", "192.0.2.1/32", 0).taken().unwrap();
        Taken { measure, boot: boot("a", 5 * MINUTE_US), is_ended: false }
    }

    fn left(boots: &[(&str, u64)], wall: i64, now: Option<BootTime>) -> Option<u64> {
        let boots = Boots(boots.iter().map(|(id, us)| ((*id).to_owned(), *us)).collect());
        boots.left(&taken(), &Moment { wall: at(wall), boot: now }).map(|left| left.as_secs() / 60)
    }

    const YEAR_S: i64 = 365 * 86_400;

    #[test]
    fn within_a_boot_the_boot_clock_decides() {
        let now = |minutes| boot("a", minutes * MINUTE_US);
        assert_eq!(left(&[], 600, now(15)), Some(50));
        assert_eq!(left(&[], -YEAR_S, now(15)), Some(50), "the wall clock was set back");
        assert_eq!(left(&[], YEAR_S, now(15)), Some(50), "it was wrong when the measure was taken");
        assert_eq!(left(&[], 600, now(65)), None);
    }

    #[test]
    fn over_boots_a_measure_holds_no_longer_than_it_was_taken_for() {
        let seen = [("a", 25 * MINUTE_US), ("b", 10 * MINUTE_US), ("c", MINUTE_US)];
        let now = boot("c", 2 * MINUTE_US);
        assert_eq!(left(&seen, 45 * 60, now.clone()), Some(15), "the wall clock is right");
        // 20 minutes of the first boot, 10 of the second, 2 of this one.
        assert_eq!(left(&seen, -YEAR_S, now.clone()), Some(28), "the wall clock is a year behind");
        assert_eq!(left(&seen, 3_601, now), None);
        assert_eq!(left(&seen[..2], -YEAR_S, boot("d", 0)), Some(30), "the first start of this boot");
        assert_eq!(left(&[], -YEAR_S, None), Some(60));
    }

    #[test]
    fn an_end_is_moved_only_where_the_clocks_disagree() {
        let hour = Duration::from_secs(3_600);
        let almost = at(0) + SignedDuration::from_millis(500);
        assert_eq!(until(at(3_600), almost, hour), at(3_600));
        assert_eq!(until(at(3_600), at(-YEAR_S), hour), at(3_600 - YEAR_S));
    }
}
