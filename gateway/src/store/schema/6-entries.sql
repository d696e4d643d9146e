-- The ledger: entries, each chained to the one before. Times are microseconds since 1970, UTC.
-- docs/ledger.md says how digest and hash are made.
CREATE TABLE entries (
    number        INTEGER PRIMARY KEY CHECK (number > 0),   -- 1, 2, 3 and so on, without a gap
    at            INTEGER NOT NULL,
    boot          TEXT,              -- the kernel's boot_id; NULL: recorded by a release that did not say
    boot_us       INTEGER,           -- the boot clock's reading at `at`, microseconds
    actor         TEXT NOT NULL,
    way           TEXT NOT NULL,     -- how the actor came in: socket, token, kernel, controller or import
    role          TEXT,
    tenant        TEXT,              -- NULL: of no tenant
    kind          TEXT NOT NULL,
    config_digest TEXT NOT NULL,
    body_digest   BLOB NOT NULL,
    previous      BLOB NOT NULL,     -- hash of the entry before; of the first: 32 zero bytes
    hash          BLOB NOT NULL
) STRICT;
CREATE INDEX entries_of_tenant ON entries (tenant, at);

-- What an entry says. Apart from the entries, because personal data has to go after its time: the chain
-- holds the digest, and verifies without the body.
CREATE TABLE bodies (
    entry INTEGER PRIMARY KEY REFERENCES entries,
    salt  BLOB NOT NULL,             -- goes with the body, so that the digest does not give it away
    body  TEXT NOT NULL              -- JSON, keys sorted, no spaces
) STRICT;

-- Which bodies may go: those of the entries from `first` to `last`, by the entry that says so.
CREATE TABLE removals (
    entry INTEGER PRIMARY KEY REFERENCES entries,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL
) STRICT;

-- Where the chain ends, so that a cut is noticed.
CREATE TABLE head (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,
    hash   BLOB NOT NULL
) STRICT;

-- How far the boot clock was seen to run in each boot: a note, replaced at every write.
CREATE TABLE boots (
    ordinal INTEGER PRIMARY KEY,
    boot    TEXT NOT NULL UNIQUE,
    last_us INTEGER NOT NULL
) STRICT;

CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER entries_are_kept BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER bodies_stay BEFORE UPDATE ON bodies BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER bodies_are_kept BEFORE DELETE ON bodies
WHEN NOT EXISTS (SELECT 1 FROM removals WHERE OLD.entry BETWEEN first AND last)
BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER removals_stay BEFORE UPDATE ON removals BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER removals_are_kept BEFORE DELETE ON removals BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
