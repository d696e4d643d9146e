-- What the detector of sudden rises has learned of each tenant. No record, but a note: the next one replaces it.
CREATE TABLE baselines (
    tenant                TEXT PRIMARY KEY,
    up_bytes_per_second   REAL NOT NULL,
    up_minutes            INTEGER NOT NULL,   -- for how long it was learned
    down_bytes_per_second REAL NOT NULL,
    down_minutes          INTEGER NOT NULL,
    quiet_until           INTEGER             -- rises are not reported before
) STRICT;
