-- Schema 4: who has a mail address is found without a look at every account. Closed accounts are left out, and records
-- that are no JSON (`charging ledger verify` names those).

CREATE INDEX accounts_by_mail ON accounts (
    CASE WHEN json_valid(record) AND json_extract(record, '$.status') IS NOT 'closed'
    THEN lower(json_extract(record, '$.email')) END
);
