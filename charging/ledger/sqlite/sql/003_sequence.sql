-- Schema 3: the number of a session's last transfer, which the next one has to name. 0 for sessions that were stored
-- before: any transfer may follow.

ALTER TABLE sessions ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
