-- What detectors saw. Times are microseconds since 1970, UTC.
CREATE TABLE offences (
    id            INTEGER PRIMARY KEY,
    at            INTEGER NOT NULL,
    tenant        TEXT NOT NULL,
    source        TEXT,              -- NULL: the tenant as a whole
    kind          TEXT NOT NULL,
    mode          TEXT NOT NULL,
    measure       TEXT NOT NULL,     -- what the rule does, taken or not
    counters      TEXT NOT NULL,     -- JSON object of numbers
    targets       TEXT NOT NULL,     -- JSON array of addresses, with ports
    capture       TEXT,              -- file in evidence/
    config_digest TEXT NOT NULL
) STRICT;
CREATE INDEX offences_of_tenant ON offences (tenant, at);

-- Measures that were taken.
CREATE TABLE measures (
    id        INTEGER PRIMARY KEY,
    offence   INTEGER NOT NULL UNIQUE REFERENCES offences,
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX measures_by_end ON measures (ends_at);

-- Measures that somebody ended before their time.
CREATE TABLE lifts (
    measure   INTEGER PRIMARY KEY REFERENCES measures,
    at        INTEGER NOT NULL,
    lifted_by TEXT NOT NULL,
    reason    TEXT NOT NULL
) STRICT;

CREATE TRIGGER offences_stay BEFORE UPDATE ON offences BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER offences_are_kept BEFORE DELETE ON offences BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER measures_stay BEFORE UPDATE ON measures BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER measures_are_kept BEFORE DELETE ON measures BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER lifts_stay BEFORE UPDATE ON lifts BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER lifts_are_kept BEFORE DELETE ON lifts BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
