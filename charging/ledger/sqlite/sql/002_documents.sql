-- Schema 2: documents that come due (ledger/documents.py). Bodies may be long, so they stay out of the indexes.

CREATE TABLE documents (
    collection TEXT NOT NULL,
    id         TEXT NOT NULL,
    body       TEXT NOT NULL,
    due_us     INTEGER,             -- null: never
    version    INTEGER NOT NULL CHECK (version > 0),
    PRIMARY KEY (collection, id)
) STRICT;
CREATE INDEX documents_by_due ON documents (collection, due_us, id) WHERE due_us IS NOT NULL;
