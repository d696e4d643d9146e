-- What became of a tenant's standing: suspensions, and restorations by hand.
CREATE TABLE standings (
    id            INTEGER PRIMARY KEY,
    at            INTEGER NOT NULL,
    tenant        TEXT NOT NULL,
    change        TEXT NOT NULL,
    scope         TEXT,              -- of the suspension that began or ended; NULL: there was none
    source        TEXT,              -- whose measures ended; NULL: the tenant as a whole
    ends_at       INTEGER,           -- of a suspension that began; NULL: when somebody restores the tenant
    done_by       TEXT,              -- NULL: its time was over
    reason        TEXT NOT NULL,
    config_digest TEXT NOT NULL
) STRICT;
CREATE INDEX standings_of_tenant ON standings (tenant, at);

CREATE TRIGGER standings_stay BEFORE UPDATE ON standings BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER standings_are_kept BEFORE DELETE ON standings BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
