-- A ledger as the program wrote it while its schema was 4: as schema-3.sql, and mail addresses have an index.
PRAGMA application_id = 1128810322;
BEGIN TRANSACTION;
CREATE TABLE accounts (
    id      TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    record  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "accounts" VALUES('anna',1,'{"id":"anna","plan":"voice_pro","language":"nl","email":"anna@example.nl","status":"active","status_reason":"","paid_until_us":null,"paid_at_us":null,"payments":[],"created_us":0,"fax_address":"","fax_address_us":0}');
INSERT INTO "accounts" VALUES('ben',1,'{"id":"ben","plan":"voice_free","language":"nl","email":"","status":"active","status_reason":"","paid_until_us":null,"paid_at_us":null,"payments":[],"created_us":0,"fax_address":"","fax_address_us":0}');
CREATE TABLE balances (
    account  TEXT NOT NULL REFERENCES accounts (id),
    name     TEXT NOT NULL,
    posted   INTEGER NOT NULL CHECK (abs(posted) < 9007199254740992),
    reserved INTEGER NOT NULL CHECK (reserved BETWEEN 0 AND 9007199254740991),
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
INSERT INTO "balances" VALUES('anna','credit',19887500,150000);
CREATE TABLE cdrs (
    account  TEXT NOT NULL REFERENCES accounts (id),
    session  TEXT NOT NULL,
    ended_us INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (account, session)
) STRICT, WITHOUT ROWID;
INSERT INTO "cdrs" VALUES('anna','s1',1795262400000002,'{"seconds":45}');
CREATE TABLE documents (
    collection TEXT NOT NULL,
    id         TEXT NOT NULL,
    body       TEXT NOT NULL,
    due_us     INTEGER,             -- null: never
    version    INTEGER NOT NULL CHECK (version > 0),
    PRIMARY KEY (collection, id)
) STRICT;
INSERT INTO "documents" VALUES('notices','0','old',NULL,1);
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
INSERT INTO "journal" VALUES('anna',1,'top-up/1','top_up',1795262400000000,'[["credit",20000000,0]]',NULL,'','e5845065caf7fd5609dbf677e5a97ce3');
INSERT INTO "journal" VALUES('anna',2,'s1/1/reserve','reserve',1795262400000001,'[["credit",0,300000]]','s1','','2e3700210787f464c091d493534fbca6');
INSERT INTO "journal" VALUES('anna',3,'s1/2/settle','settle',1795262400000002,'[["credit",-112500,-300000]]','s1','','e49f9ef12fc855b582c488da7a552f65');
INSERT INTO "journal" VALUES('anna',4,'s2/1/reserve','reserve',1795262400000003,'[["credit",0,150000]]','s2','','1c0a9dff8c2af22efef5fb75ba41e1df');
CREATE TABLE leases (
    switch TEXT PRIMARY KEY,
    epoch  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "leases" VALUES('asterisk',1);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('schema','4');
CREATE TABLE numbers (
    number  TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id),
    record  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "numbers" VALUES('+31850001001','anna','{"number":"+31850001001","account":"anna","forward_to":"","paid_voicemail":null,"mailbox":""}');
CREATE TABLE sessions (
    account   TEXT NOT NULL REFERENCES accounts (id),
    id        TEXT NOT NULL,
    switch    TEXT NOT NULL,
    state     TEXT NOT NULL,
    holds     TEXT NOT NULL,    -- {balance: amount, …}
    epoch     INTEGER NOT NULL,
    opened_us INTEGER NOT NULL, sequence INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
INSERT INTO "sessions" VALUES('anna','s2','asterisk','{"a":2}','{"credit":150000}',1,1795262400000003,4);
CREATE INDEX numbers_by_account ON numbers (account);
CREATE UNIQUE INDEX journal_by_id ON journal (account, id);
CREATE TRIGGER journal_lines_are_never_edited BEFORE UPDATE ON journal
BEGIN
    SELECT RAISE (ABORT, 'a journal line is never edited');
END;
CREATE INDEX cdrs_by_end ON cdrs (ended_us, session);
CREATE INDEX cdrs_by_account ON cdrs (account, ended_us, session);
CREATE INDEX documents_by_due ON documents (collection, due_us, id) WHERE due_us IS NOT NULL;
CREATE INDEX accounts_by_mail ON accounts (
    CASE WHEN json_valid(record) AND json_extract(record, '$.status') IS NOT 'closed'
    THEN lower(json_extract(record, '$.email')) END
);
COMMIT;
