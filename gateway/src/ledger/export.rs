//! Copies of the ledger that carry their proof, and checking one without the database.
//!
//! An export has every entry of a range. Those that were not asked for are there by their digest alone: it
//! proves the chain over them, and gives nothing of them away. The first line says which hash the range
//! follows, the last which one it ends with.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::verify::{Follower, Link, Verified};
use crate::domain::BootTime;
use crate::store::{Body, Hash, Head, Header, Reader, Selection, StoreError, Stored, hex, time, unhex};

const FORMAT: &str = "fairway-ledger";
const VERSION: u32 = 1;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Comma-separated values, one row an entry.
    Csv,
}

/// Why an export could not be made or checked.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be written or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is none of ours, or broken.
    #[error("line {line}: {what}")]
    Unreadable {
        /// Where, counting from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

/// One line: of JSON as it is, of CSV with empty columns.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    line: Kind,
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    way: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// What the range follows.
    #[default]
    Begin,
    /// An entry.
    Entry,
    /// An entry that was not asked for.
    LeftOut,
    /// Where the range ends.
    End,
}

const COLUMNS: [&str; 18] = [
    "line", "number", "at", "actor", "way", "role", "tenant", "kind", "data", "config", "boot", "boot_us",
    "salt", "body", "digest", "hash", "format", "version",
];

/// Writes what is selected, with its proof. Returns how many entries it holds, those left out aside.
pub fn export(
    reader: &Reader,
    selection: &Selection,
    format: Format,
    out: &mut impl Write,
) -> Result<u64, ExportError> {
    let mut out = Writer::new(format, out)?;
    let range = reader.range(selection)?;
    let (first, last) = range.unwrap_or((1, 0));
    let (mut entries, mut head) = (0, Head::default());
    if range.is_none() {
        out.line(&Line::begin(head))?;
    }
    reader.each(|entry| -> Result<(), ExportError> {
        let number = entry.header.number;
        if number == first && range.is_some() {
            head = Head { number: number - 1, hash: entry.previous };
            out.line(&Line::begin(head))?;
        }
        if (first..=last).contains(&number) {
            let is_selected = selection.holds(&entry.header);
            entries += u64::from(is_selected);
            out.line(&if is_selected { Line::entry(&entry) } else { Line::left_out(&entry) })?;
            head = Head { number, hash: entry.hash };
        }
        Ok(())
    })??;
    out.line(&Line::end(head))?;
    out.flush()?;
    Ok(entries)
}

/// Checks an export; `witness` is a hash that was seen elsewhere.
pub fn check_export(file: &Path, witness: Option<Hash>) -> Result<Verified, ExportError> {
    let mut lines = read(file)?.into_iter();
    let unreadable = |line, what: &str| ExportError::Unreadable { line, what: what.to_owned() };
    let begin = lines.next().filter(|begin| begin.line == Kind::Begin);
    let begin = begin.ok_or_else(|| unreadable(1, "this is no export of a ledger"))?;
    if begin.format.as_deref() != Some(FORMAT) || begin.version != Some(VERSION) {
        return Err(unreadable(1, "this export is of a format that this release does not know"));
    }
    let start = begin.head().ok_or_else(|| unreadable(1, "it does not say what it follows"))?;
    let (mut follower, mut end) = (Follower::after(start, witness), None);
    for (line, number) in lines.zip(2..) {
        let broken = || unreadable(number, "it lacks what belongs to it");
        match line.line {
            _ if end.is_some() => return Err(unreadable(number, "it stands after the end")),
            Kind::Begin => return Err(unreadable(number, "a second beginning")),
            Kind::End => end = Some(line.head().ok_or_else(broken)?),
            Kind::LeftOut => {
                let digest = line.digest.as_deref().and_then(hash).ok_or_else(broken)?;
                follower.follow(line.number, &Link::Digest(digest));
            }
            Kind::Entry => {
                let entry = line.stored(follower.found.head.hash).ok_or_else(broken)?;
                follower.follow(entry.header.number, &Link::Entry(&entry));
            }
        }
    }
    // Without an end it was cut: at least one more line is missing.
    let cut = Head { number: follower.found.head.number + 1, ..Head::default() };
    Ok(follower.end(end.unwrap_or(cut)))
}

/// Writes lines in either format.
enum Writer<'w, W: Write> {
    Json(&'w mut W),
    Csv(Box<csv::Writer<&'w mut W>>),
}

impl<'w, W: Write> Writer<'w, W> {
    fn new(format: Format, out: &'w mut W) -> io::Result<Self> {
        Ok(match format {
            Format::JsonLines => Self::Json(out),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(COLUMNS)?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    fn line(&mut self, line: &Line) -> Result<(), ExportError> {
        match self {
            Self::Json(out) => {
                serde_json::to_writer(&mut **out, line).map_err(io::Error::from)?;
                Ok(out.write_all(b"\n")?)
            }
            Self::Csv(writer) => {
                let value = serde_json::to_value(line).map_err(io::Error::from)?;
                let column = |name| match value.get(name) {
                    None => String::new(),
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                };
                Ok(writer.write_record(COLUMNS.map(column)).map_err(io::Error::from)?)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Json(out) => out.flush(),
            Self::Csv(writer) => writer.flush(),
        }
    }
}

fn read(file: &Path) -> Result<Vec<Line>, ExportError> {
    let mut input = BufReader::new(File::open(file)?);
    let unreadable = |line, what: String| ExportError::Unreadable { line, what };
    if input.fill_buf()?.first() == Some(&b'{') {
        let parse = |(line, text): (usize, io::Result<String>)| {
            serde_json::from_str(&text?).map_err(|error| unreadable(line, error.to_string()))
        };
        return (1..).zip(input.lines()).map(parse).collect();
    }
    let mut rows = csv::Reader::from_reader(input);
    if rows.headers().map_err(io::Error::from)? != COLUMNS[..] {
        return Err(unreadable(1, "this is no export of a ledger".to_owned()));
    }
    let parse = |(line, row): (usize, csv::Result<csv::StringRecord>)| {
        let row = row.map_err(|error| unreadable(line, error.to_string()))?;
        let columns = COLUMNS.iter().zip(&row).filter(|(_, text)| !text.is_empty());
        let value = columns.map(|(name, text)| ((*name).to_owned(), typed(name, text))).collect();
        serde_json::from_value(Value::Object(value)).map_err(|error| unreadable(line, error.to_string()))
    };
    (2..).zip(rows.records()).map(parse).collect()
}

/// A column of CSV as JSON has it.
fn typed(column: &str, text: &str) -> Value {
    let is_text = !matches!(column, "number" | "boot_us" | "version" | "data");
    let parsed = if is_text { None } else { serde_json::from_str(text).ok() };
    parsed.unwrap_or_else(|| text.into())
}

impl Line {
    fn begin(head: Head) -> Self {
        let (format, version) = (Some(FORMAT.to_owned()), Some(VERSION));
        Self { format, version, ..Self::at_head(Kind::Begin, head) }
    }

    fn end(head: Head) -> Self {
        Self::at_head(Kind::End, head)
    }

    fn at_head(line: Kind, head: Head) -> Self {
        Self { line, number: head.number, hash: Some(hex(&head.hash)), ..Self::default() }
    }

    fn left_out(entry: &Stored) -> Self {
        let digest = Some(hex(&entry.header.digest()));
        Self { line: Kind::LeftOut, number: entry.header.number, digest, ..Self::default() }
    }

    fn entry(entry: &Stored) -> Self {
        let Stored { header, body, hash, .. } = entry;
        Self {
            line: Kind::Entry,
            number: header.number,
            at: Some(time(header.at)),
            boot: header.boot.as_ref().map(|boot| boot.id.clone()),
            boot_us: header.boot.as_ref().map(|boot| boot.us),
            actor: Some(header.actor.clone()),
            way: Some(header.way.clone()),
            role: header.role.clone(),
            tenant: header.tenant.clone(),
            kind: Some(header.kind.clone()),
            config: Some(header.config_digest.clone()).filter(|digest| !digest.is_empty()),
            body: Some(hex(&header.body_digest)),
            salt: body.as_ref().map(|body| hex(&body.salt)),
            data: body.as_ref().and_then(|body| serde_json::from_str(&body.text).ok()),
            hash: Some(hex(hash)),
            ..Self::default()
        }
    }

    fn head(&self) -> Option<Head> {
        Some(Head { number: self.number, hash: hash(self.hash.as_deref()?)? })
    }

    /// The entry again; it follows the one with the hash `previous`, or its own hash is wrong.
    fn stored(self, previous: Hash) -> Option<Stored> {
        let at: Timestamp = self.at?.parse().ok()?;
        let header = Header {
            number: self.number,
            at,
            boot: self.boot.zip(self.boot_us).map(|(id, us)| BootTime { id, us }),
            actor: self.actor?,
            way: self.way?,
            role: self.role,
            tenant: self.tenant,
            kind: self.kind?,
            config_digest: self.config.unwrap_or_default(),
            body_digest: hash(&self.body?)?,
        };
        let body = match (self.salt, self.data) {
            (Some(salt), Some(data)) => Some(Body { salt: unhex(&salt)?, text: data.to_string() }),
            _ => None,
        };
        Some(Stored { header, previous, hash: hash(&self.hash?)?, body })
    }
}

impl Selection {
    fn holds(&self, header: &Header) -> bool {
        let Self { tenant, from, to } = self;
        tenant.as_ref().is_none_or(|tenant| header.tenant.as_ref() == Some(tenant))
            && from.is_none_or(|from| header.at >= from)
            && to.is_none_or(|to| header.at < to)
    }
}

fn hash(text: &str) -> Option<Hash> {
    unhex(text)?.try_into().ok()
}
