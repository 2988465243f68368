-- Schema 1. Amounts are integers (micro-euro, seconds), times are microseconds since the epoch, records are JSON.

CREATE TABLE accounts (
    id      TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    record  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE numbers (
    number  TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id),
    record  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX numbers_by_account ON numbers (account);

-- What the journal adds up to, kept beside it so that a write need not add again. The limits are those of the model:
-- a row that breaks them means a defect, and the write fails.
CREATE TABLE balances (
    account  TEXT NOT NULL REFERENCES accounts (id),
    name     TEXT NOT NULL,
    posted   INTEGER NOT NULL CHECK (abs(posted) < 9007199254740992),
    reserved INTEGER NOT NULL CHECK (reserved BETWEEN 0 AND 9007199254740991),
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE journal (
    account TEXT NOT NULL REFERENCES accounts (id),
    number  INTEGER NOT NULL CHECK (number > 0),
    id      TEXT NOT NULL,
    kind    TEXT NOT NULL,
    at_us   INTEGER NOT NULL,
    legs    TEXT NOT NULL,      -- [[balance, posted, reserved], …]
    session TEXT,
    reason  TEXT NOT NULL,
    digest  TEXT NOT NULL,
    PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX journal_by_id ON journal (account, id);
CREATE TRIGGER journal_lines_are_never_edited BEFORE UPDATE ON journal
BEGIN
    SELECT RAISE (ABORT, 'a journal line is never edited');
END;

CREATE TABLE sessions (
    account   TEXT NOT NULL REFERENCES accounts (id),
    id        TEXT NOT NULL,
    switch    TEXT NOT NULL,
    state     TEXT NOT NULL,
    holds     TEXT NOT NULL,    -- {balance: amount, …}
    epoch     INTEGER NOT NULL,
    opened_us INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE cdrs (
    account  TEXT NOT NULL REFERENCES accounts (id),
    session  TEXT NOT NULL,
    ended_us INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (account, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX cdrs_by_end ON cdrs (ended_us, session);
CREATE INDEX cdrs_by_account ON cdrs (account, ended_us, session);

-- The last epoch given out for each switch. Who holds the lease is known to the one daemon that has this file open.
CREATE TABLE leases (
    switch TEXT PRIMARY KEY,
    epoch  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
