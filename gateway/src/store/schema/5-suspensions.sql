-- What an operator takes from a tenant is a suspension. Its standing is something else.
DROP INDEX standings_of_tenant;
DROP TRIGGER standings_stay;
DROP TRIGGER standings_are_kept;
ALTER TABLE standings RENAME TO suspensions;
CREATE INDEX suspensions_of_tenant ON suspensions (tenant, at);

CREATE TRIGGER suspensions_stay BEFORE UPDATE ON suspensions BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
CREATE TRIGGER suspensions_are_kept BEFORE DELETE ON suspensions BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END;
