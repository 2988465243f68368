-- Every statement of the SQLite store. A line "-- name: X" begins the statement called X.

-- name: look
-- All that a transfer's decision needs; no row: no such account.
SELECT
    (SELECT coalesce(max(number), 0) FROM journal WHERE account = a.id),
    (SELECT digest FROM journal WHERE account = a.id AND id = ?2),
    EXISTS (SELECT 1 FROM cdrs WHERE account = a.id AND session = ?3),
    (SELECT json_group_array(json_array(name, posted, reserved)) FROM balances
        WHERE account = a.id),
    s.account, s.id, s.switch, s.state, s.holds, s.epoch, s.opened_us, s.sequence
FROM accounts AS a
LEFT JOIN sessions AS s ON s.account = a.id AND s.id = ?3
WHERE a.id = ?1;

-- name: look_at_ticks
-- The same for many transfers of open sessions as one text, in their order: a list of (account, transfer, session). The
-- second member tells whether there is no such session, or the transfer is booked already.
SELECT json_group_array(json_array(
    (SELECT coalesce(max(number), 0) FROM journal WHERE account = s.account),
    s.id IS NULL
        OR EXISTS (SELECT 1 FROM journal WHERE account = s.account AND id = json_extract(asked.value, '$[1]')),
    json((SELECT json_group_array(json_array(name, posted, reserved)) FROM balances WHERE account = s.account)),
    s.switch, json(s.holds), s.epoch, s.opened_us, s.sequence
))
FROM json_each(?) AS asked
LEFT JOIN sessions AS s
    ON s.account = json_extract(asked.value, '$[0]') AND s.id = json_extract(asked.value, '$[2]');

-- name: look_at_openings
-- The same for many that open a session. The second member tells whether there is no such account, or its journal, its
-- sessions or its CDRs have the transfer or the session already.
SELECT json_group_array(json_array(
    (SELECT coalesce(max(number), 0) FROM journal WHERE account = a.id),
    a.id IS NULL
        OR EXISTS (SELECT 1 FROM journal WHERE account = a.id AND id = json_extract(asked.value, '$[1]'))
        OR EXISTS (SELECT 1 FROM sessions WHERE account = a.id AND id = json_extract(asked.value, '$[2]'))
        OR EXISTS (SELECT 1 FROM cdrs WHERE account = a.id AND session = json_extract(asked.value, '$[2]')),
    json((SELECT json_group_array(json_array(name, posted, reserved)) FROM balances WHERE account = a.id)),
    NULL, NULL, NULL, NULL, NULL
))
FROM json_each(?) AS asked
LEFT JOIN accounts AS a ON a.id = json_extract(asked.value, '$[0]');

-- name: digest
SELECT digest FROM journal WHERE account = ? AND id = ?;

-- name: append_journal
INSERT INTO journal (account, number, id, kind, at_us, legs, session, reason, digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: append_lines
INSERT INTO journal (account, number, id, kind, at_us, legs, session, reason, digest)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
    json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]')
FROM json_each(?);

-- name: place_line
INSERT INTO feed (place, account, number)
VALUES (max((SELECT coalesce(max(place), 0) + 1 FROM feed), :at), :account, :number);

-- name: place_lines
-- Of many, in their order: a list of (account, number).
INSERT INTO feed (place, account, number)
SELECT max((SELECT coalesce(max(place), 0) + 1 FROM feed), :at) + key,
    json_extract(value, '$[0]'), json_extract(value, '$[1]')
FROM json_each(:lines);

-- name: place_document
INSERT INTO feed (place, document)
VALUES (max((SELECT coalesce(max(place), 0) + 1 FROM feed), :at), :collection || '/' || :id)
ON CONFLICT (document) WHERE document IS NOT NULL DO NOTHING;

-- name: feed_after
-- What was archived or forgotten has no line and no document.
SELECT f.place, coalesce(f.account, ''), coalesce(f.number, 0), coalesce(f.document, ''),
    j.account, j.number, j.id, j.kind, j.at_us, j.legs, j.session, j.reason, j.digest, coalesce(a.body, ''),
    d.collection, d.id, d.body, d.due_us, d.version
FROM feed AS f
LEFT JOIN journal AS j ON j.account = f.account AND j.number = f.number AND j.kind <> 'opening'
LEFT JOIN documents AS a ON a.collection = 'actors' AND a.id = j.account || '/' || printf('%016d', j.number)
LEFT JOIN documents AS d ON d.collection = substr(f.document, 1, instr(f.document, '/') - 1)
    AND d.id = substr(f.document, instr(f.document, '/') + 1)
WHERE f.place > ? ORDER BY f.place LIMIT ?;

-- name: last_place
SELECT coalesce(max(place), 0) FROM feed WHERE place <= ?;

-- name: restore_place
INSERT INTO feed (place, account, number, document) VALUES (?, ?, ?, ?);

-- name: forget_places
DELETE FROM feed WHERE place < ?;

-- name: delete_journal_head
DELETE FROM journal WHERE account = ? AND number <= ?;

-- name: store_actor
INSERT INTO documents (collection, id, body, version) VALUES ('actors', ?, ?, 1);

-- name: delete_actors
DELETE FROM documents WHERE collection = 'actors' AND id > ? AND id <= ?;

-- name: replace_cdr
UPDATE cdrs SET document = ? WHERE account = ? AND session = ?;

-- name: delete_cdr
DELETE FROM cdrs WHERE account = ? AND session = ?;

-- name: store_balances
-- With as many rows as there are balances.
INSERT INTO balances (account, name, posted, reserved) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET posted = excluded.posted, reserved = excluded.reserved;

-- name: store_balances_of_many
INSERT INTO balances (account, name, posted, reserved)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]')
FROM json_each(?) WHERE true
ON CONFLICT DO UPDATE SET posted = excluded.posted, reserved = excluded.reserved;

-- name: drop_balance
DELETE FROM balances WHERE account = ? AND name = ? AND posted = 0 AND reserved = 0;

-- name: store_session
INSERT INTO sessions (account, id, switch, state, holds, epoch, opened_us, sequence) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE
SET state = excluded.state, holds = excluded.holds, epoch = excluded.epoch, sequence = excluded.sequence;

-- name: store_sessions
INSERT INTO sessions (account, id, switch, state, holds, epoch, opened_us, sequence)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
    json_extract(value, '$[6]'), json_extract(value, '$[7]')
FROM json_each(?) WHERE true
ON CONFLICT DO UPDATE
SET state = excluded.state, holds = excluded.holds, epoch = excluded.epoch, sequence = excluded.sequence;

-- name: delete_session
DELETE FROM sessions WHERE account = ? AND id = ?;

-- name: store_cdr
INSERT INTO cdrs (account, session, ended_us, document) VALUES (?, ?, ?, ?);

-- name: balances
SELECT json_group_array(json_array(name, posted, reserved)) FROM balances WHERE account = ?;

-- name: balances_of
-- Of all accounts in a JSON list, in its order, as one text: each row, like each statement, is a wait for the interpreter.
SELECT json_group_array(json(
    (SELECT json_group_array(json_array(name, posted, reserved)) FROM balances WHERE account = asked.value)
))
FROM json_each(?) AS asked;

-- name: called
-- A number, whose it is, with which balances, and whether the number that it is forwarded to is one of ours.
SELECT
    n.record, a.version, a.record,
    (SELECT json_group_array(json_array(name, posted, reserved)) FROM balances WHERE account = n.account),
    EXISTS (SELECT 1 FROM numbers WHERE number =
        CASE WHEN json_valid(n.record) THEN json_extract(n.record, '$.forward_to') END)
FROM numbers AS n
LEFT JOIN accounts AS a ON a.id = n.account
WHERE n.number = ?;

-- name: session
SELECT account, id, switch, state, holds, epoch, opened_us, sequence FROM sessions WHERE account = ? AND id = ?;

-- name: sessions
SELECT account, id, switch, state, holds, epoch, opened_us, sequence FROM sessions
WHERE :switch IS NULL OR switch = :switch
ORDER BY opened_us, id, account;

-- name: sessions_after
SELECT account, id, switch, state, holds, epoch, opened_us, sequence FROM sessions
WHERE id > ? ORDER BY id LIMIT ?;

-- name: sessions_before
SELECT account, id, switch, state, holds, epoch, opened_us, sequence FROM sessions
WHERE id < ? ORDER BY id DESC LIMIT ?;

-- name: session_of_id
SELECT account, id, switch, state, holds, epoch, opened_us, sequence FROM sessions
WHERE id = :id AND (:switch IS NULL OR switch = :switch) LIMIT 1;

-- name: sessions_of_account
SELECT account, id, switch, state, holds, epoch, opened_us, sequence FROM sessions
WHERE account = :account AND (:switch IS NULL OR switch = :switch)
ORDER BY opened_us, id;

-- name: snapshot
-- Of an account, whether or not there is one: a row for each open session, or one without any.
SELECT
    (SELECT coalesce(max(number), 0) FROM journal WHERE account = asked.account),
    (SELECT json_group_array(json_array(name, posted, reserved)) FROM balances WHERE account = asked.account),
    s.account, s.id, s.switch, s.state, s.holds, s.epoch, s.opened_us, s.sequence
FROM (SELECT ? AS account) AS asked
LEFT JOIN sessions AS s ON s.account = asked.account;

-- name: first_number
SELECT min(number) FROM journal WHERE account = ?;

-- name: journal_after
-- With who had each line written: see `_actor_id`.
SELECT j.account, j.number, j.id, j.kind, j.at_us, j.legs, j.session, j.reason, j.digest, coalesce(d.body, '')
FROM journal AS j
LEFT JOIN documents AS d ON d.collection = 'actors' AND d.id = j.account || '/' || printf('%016d', j.number)
WHERE j.account = ? AND j.number > ? ORDER BY j.number LIMIT ?;

-- name: journal_before
SELECT j.account, j.number, j.id, j.kind, j.at_us, j.legs, j.session, j.reason, j.digest, coalesce(d.body, '')
FROM journal AS j
LEFT JOIN documents AS d ON d.collection = 'actors' AND d.id = j.account || '/' || printf('%016d', j.number)
WHERE j.account = ? AND j.number < ? ORDER BY j.number DESC LIMIT ?;

-- name: cdrs
SELECT account, session, ended_us, document FROM cdrs
WHERE ended_us >= :since AND ended_us < :until AND (ended_us, session) > (:after_us, :after_session)
ORDER BY ended_us, session, account LIMIT :limit;

-- name: cdrs_back
SELECT account, session, ended_us, document FROM cdrs
WHERE ended_us >= :since AND ended_us < :until AND (ended_us, session) < (:after_us, :after_session)
ORDER BY ended_us DESC, session DESC, account DESC LIMIT :limit;

-- name: cdrs_of_account
SELECT account, session, ended_us, document FROM cdrs
WHERE account = :account
    AND ended_us >= :since AND ended_us < :until AND (ended_us, session) > (:after_us, :after_session)
ORDER BY ended_us, session LIMIT :limit;

-- name: cdrs_of_account_back
SELECT account, session, ended_us, document FROM cdrs
WHERE account = :account
    AND ended_us >= :since AND ended_us < :until AND (ended_us, session) < (:after_us, :after_session)
ORDER BY ended_us DESC, session DESC LIMIT :limit;

-- name: cdr
SELECT ended_us, document FROM cdrs WHERE account = ? AND session = ?;

-- name: account
SELECT version, record FROM accounts WHERE id = ?;

-- name: accounts_after
SELECT version, record FROM accounts WHERE id > ? ORDER BY id LIMIT ?;

-- name: accounts_before
SELECT version, record FROM accounts WHERE id < ? ORDER BY id DESC LIMIT ?;

-- name: accounts_of_mail
-- By the expression of the index accounts_by_mail, to the letter.
SELECT version, record FROM accounts
WHERE CASE WHEN json_valid(record) AND json_extract(record, '$.status') IS NOT 'closed'
    THEN lower(json_extract(record, '$.email')) END = ?
ORDER BY id LIMIT ?;

-- name: account_ids_after
SELECT id FROM accounts WHERE id > ? ORDER BY id LIMIT ?;

-- name: insert_account
INSERT INTO accounts (id, version, record) VALUES (:id, 1, :record) ON CONFLICT DO NOTHING;

-- name: restore_account
INSERT INTO accounts (id, version, record) VALUES (:id, :version, :record);

-- name: update_account
UPDATE accounts SET record = :record, version = version + 1 WHERE id = :id AND version = :version;

-- name: number
SELECT record FROM numbers WHERE number = ?;

-- name: put_number
-- Changes no row where there is no such account, or where the number is another account's.
INSERT INTO numbers (number, account, record) SELECT :number, id, :record FROM accounts WHERE id = :account
ON CONFLICT DO UPDATE SET record = excluded.record WHERE account = excluded.account;

-- name: delete_number
DELETE FROM numbers WHERE number = :number;

-- name: numbers
SELECT record FROM numbers ORDER BY number;

-- name: numbers_of
SELECT record FROM numbers WHERE account = ? ORDER BY number;

-- name: numbers_after
SELECT record FROM numbers WHERE number > ? ORDER BY number LIMIT ?;

-- name: numbers_before
SELECT record FROM numbers WHERE number < ? ORDER BY number DESC LIMIT ?;

-- name: numbers_of_after
SELECT record FROM numbers WHERE account = ? AND number > ? ORDER BY number LIMIT ?;

-- name: numbers_of_before
SELECT record FROM numbers WHERE account = ? AND number < ? ORDER BY number DESC LIMIT ?;

-- name: number_ids_after
SELECT number FROM numbers WHERE number > ? ORDER BY number LIMIT ?;

-- name: next_epoch
INSERT INTO leases (switch, epoch) VALUES (?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch;

-- name: put_document
INSERT INTO documents (collection, id, body, due_us, version) VALUES (:collection, :id, :body, :due_us, 1)
ON CONFLICT DO NOTHING;

-- name: document
SELECT collection, id, body, due_us, version FROM documents WHERE collection = :collection AND id = :id;

-- name: update_document
UPDATE documents SET body = :body, due_us = :due_us, version = version + 1
WHERE collection = :collection AND id = :id AND version = :version;

-- name: delete_document
DELETE FROM documents WHERE collection = :collection AND id = :id AND version = :version;

-- name: documents_due
SELECT collection, id, body, due_us, version FROM documents
WHERE collection = :collection AND due_us <= :now ORDER BY due_us, id LIMIT :limit;

-- name: documents_after
SELECT collection, id, body, due_us, version FROM documents
WHERE collection = :collection AND id > :after ORDER BY id LIMIT :limit;

-- name: documents_before
SELECT collection, id, body, due_us, version FROM documents
WHERE collection = :collection AND id < :after ORDER BY id DESC LIMIT :limit;

-- name: ping
SELECT value FROM meta WHERE key = 'schema';

-- name: probe
INSERT INTO meta VALUES ('probe', '0') ON CONFLICT DO UPDATE SET value = CAST(1 - value AS TEXT);
