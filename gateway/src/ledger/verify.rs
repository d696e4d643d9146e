//! Whether the chain is what it was: every change, removal, reorder and cut shows, and where.

use std::collections::BTreeMap;
use std::fmt;

use crate::store::{BodiesRemoved, Fact, Hash, Head, Reader, StoreError, Stored, body_digest, hex, link};

/// What verifying found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Entries that are there.
    pub entries: u64,
    /// Bodies that were removed by rule.
    pub removed_bodies: u64,
    /// Where the chain ends, by the entries themselves.
    pub head: Head,
    /// What is wrong, by place; empty: nothing is.
    pub findings: Vec<Finding>,
    /// Whether the hash that was asked for is in the chain; none: none was.
    pub has_witnessed: Option<bool>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entry at or before which it is wrong.
    pub number: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: {}", self.number, self.what)
    }
}

/// One entry of a chain, whole or proven by its digest alone.
pub(super) enum Link<'a> {
    Entry(&'a Stored),
    Digest(Hash),
}

/// Follows a chain, entry by entry.
#[derive(Default)]
pub(super) struct Follower {
    pub(super) found: Verified,
    /// Ranges whose bodies may be missing, by the entry that says so; and entries without a body.
    removals: BTreeMap<u64, (u64, u64)>,
    bodiless: Vec<u64>,
    witness: Option<Hash>,
}

impl Follower {
    /// Begins after `start`; looks for an entry with the hash `witness`.
    pub(super) fn after(start: Head, witness: Option<Hash>) -> Self {
        let found = Verified { head: start, has_witnessed: witness.map(|_| false), ..Verified::default() };
        Self { found, witness, ..Self::default() }
    }

    pub(super) fn follow(&mut self, number: u64, link_to: &Link<'_>) {
        let head = self.found.head;
        if number != head.number + 1 {
            let missing = match number.saturating_sub(head.number + 2) {
                _ if number <= head.number => format!("it stands after entry {}", head.number),
                0 => format!("entry {} is missing before it", number - 1),
                _ => format!("entries {} to {} are missing before it", head.number + 1, number - 1),
            };
            self.find(number, missing);
        }
        let (digest, hash) = match link_to {
            Link::Digest(digest) => (*digest, link(&head.hash, digest)),
            Link::Entry(entry) => (entry.header.digest(), self.check(entry)),
        };
        self.found.head = Head { number, hash };
        self.found.entries += 1;
        if self.witness == Some(hash) || self.witness == Some(link(&head.hash, &digest)) {
            self.found.has_witnessed = Some(true);
        }
    }

    /// Returns the hash that the next entry is to name.
    fn check(&mut self, entry: &Stored) -> Hash {
        let number = entry.header.number;
        let (head, hash) = (self.found.head, link(&entry.previous, &entry.header.digest()));
        if entry.previous != head.hash && number == head.number + 1 {
            self.find(number, "it does not follow the entry before it: one of them is another".to_owned());
        }
        if hash != entry.hash {
            self.find(number, "it was changed: its hash is not that of what it says".to_owned());
        }
        match &entry.body {
            None => self.bodiless.push(number),
            Some(body) if body_digest(&body.salt, &body.text) != entry.header.body_digest => {
                self.find(number, "its body was changed".to_owned());
            }
            Some(_) => {
                if let Ok(Some(Fact::BodiesRemoved(BodiesRemoved { first, last }))) = entry.fact() {
                    self.removals.insert(number, (first, last));
                }
            }
        }
        // By what is stored: one change is one finding, and not one for every entry after it.
        entry.hash
    }

    fn find(&mut self, number: u64, what: String) {
        self.found.findings.push(Finding { number, what });
    }

    /// What was found, once the chain has ended; `head` is where it should.
    pub(super) fn end(mut self, head: Head) -> Verified {
        let removals: Vec<_> = self.removals.values().copied().collect();
        for number in std::mem::take(&mut self.bodiless) {
            if removals.iter().any(|(first, last)| (*first..=*last).contains(&number)) {
                self.found.removed_bodies += 1;
            } else {
                self.find(number, "its body is missing, and no entry says that it was removed".to_owned());
            }
        }
        let end = self.found.head;
        if end.number < head.number {
            self.find(end.number + 1, format!("the chain is cut: it went on to entry {}", head.number));
        } else if end != head {
            let what = format!("the chain should end at entry {} with hash {}", head.number, hex(&head.hash));
            self.find(end.number, what);
        }
        self.found.findings.sort_by_key(|finding| finding.number);
        self.found
    }
}

/// Verifies a database from its first entry to its last. `witness` is a hash that was seen elsewhere: in the
/// metrics, a notice or an export.
pub fn verify(reader: &Reader, witness: Option<Hash>) -> Result<Verified, StoreError> {
    let mut follower = Follower::after(Head::default(), witness);
    let followed = reader.each(|entry| {
        follower.follow(entry.header.number, &Link::Entry(&entry));
        Ok::<_, std::convert::Infallible>(())
    })?;
    match followed {
        Ok(()) => {
            let (head, referenced) = (reader.head()?, reader.last_referenced()?);
            // Whoever cuts the chain and moves the head along forgets what else names the entries.
            Ok(follower.end(Head { number: head.number.max(referenced), ..head }))
        }
        Err(never) => match never {},
    }
}
