-- Schema 5: the order in which everything is told (ledger/feed.py). A row names a line of a journal, or a document. What
-- was stored before has no place.

CREATE TABLE feed (
    place    INTEGER PRIMARY KEY,
    account  TEXT,
    number   INTEGER,
    document TEXT,              -- COLLECTION/ID
    CHECK ((document IS NULL) = (account IS NOT NULL AND number IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX feed_by_document ON feed (document) WHERE document IS NOT NULL;
