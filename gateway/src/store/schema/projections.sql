-- What follows from the entries, written in the same transaction. Made anew from them when this file's
-- version changes: nothing here is kept that they do not say.
CREATE TABLE suspensions (
    tenant TEXT NOT NULL,
    scope  TEXT NOT NULL,
    entry  INTEGER NOT NULL,
    since  INTEGER NOT NULL,
    until  INTEGER,                  -- NULL: when somebody restores the tenant
    by     TEXT,                     -- NULL: kept by a release that did not say
    reason TEXT NOT NULL,
    PRIMARY KEY (tenant, scope)
) STRICT, WITHOUT ROWID;

CREATE TABLE measures (
    entry              INTEGER PRIMARY KEY,   -- the offence's
    tenant             TEXT NOT NULL,
    source             TEXT,                  -- NULL: the tenant as a whole
    kind               TEXT NOT NULL,
    measure            TEXT NOT NULL,
    starts_at          INTEGER NOT NULL,
    ends_at            INTEGER NOT NULL,
    boot               TEXT,
    starts_boot_us     INTEGER,
    up_bits_per_second INTEGER,
    down_bits_per_second INTEGER,
    ended_by           INTEGER                -- the entry of whoever ended it before its time
) STRICT;
CREATE INDEX measures_by_end ON measures (ends_at);
CREATE INDEX measures_by_boot ON measures (boot);
CREATE INDEX measures_of_tenant ON measures (tenant);

CREATE TABLE offence_counts (
    tenant   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    offences INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE losses (
    entry           INTEGER PRIMARY KEY,
    what            TEXT NOT NULL,
    adopted_by      INTEGER,         -- the entry since which the ledger has what the kernel restricts
    acknowledged_by INTEGER
) STRICT;

CREATE TABLE imports (
    digest TEXT PRIMARY KEY,
    entry  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE case_entries (
    entry   INTEGER PRIMARY KEY,
    case_id TEXT                     -- NULL: a signal, which belongs to no case
) STRICT;
CREATE INDEX case_entries_of_case ON case_entries (case_id);
