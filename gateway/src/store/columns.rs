//! Columns, read as what was written there. Times are microseconds since 1970, UTC; words are as JSON spells them.

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use rusqlite::Row;
use serde::de::DeserializeOwned;

use crate::detect::LoweredCap;

/// A time.
pub(crate) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    let microseconds: Option<i64> = row.get(column)?;
    let unreadable = |error: jiff::Error| unreadable(column, error.into());
    microseconds.map(Timestamp::from_microsecond).transpose().map_err(unreadable)
}

/// A time that must be there.
pub(crate) fn needed_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    time(row, column)?.ok_or_else(|| unreadable(column, "empty".into()))
}

/// One of a few words.
pub(super) fn labelled<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|error| unreadable(column, error.into()))
}

/// Any JSON.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error.into()))
}

/// The column `source`.
pub(super) fn source(row: &Row<'_>) -> rusqlite::Result<Option<IpNetwork>> {
    let text: Option<String> = row.get("source")?;
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error: ipnetwork::IpNetworkError| unreadable("source", error.into()))
}

/// What a tenant is held to while a measure holds.
pub(super) fn lowered_cap(row: &Row<'_>) -> rusqlite::Result<Option<LoweredCap>> {
    let rate = |column| row.get(column).map(|rate: Option<i64>| rate.map(i64::cast_unsigned));
    let cap = LoweredCap {
        up_bits_per_second: rate("up_bits_per_second")?,
        down_bits_per_second: rate("down_bits_per_second")?,
    };
    Ok((cap != LoweredCap::default()).then_some(cap))
}

/// A column that does not hold what was written there.
fn unreadable(column: &str, error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    let error = format!("column {column}: {error}").into();
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error)
}
