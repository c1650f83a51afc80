-- An account's version, set first if a newer one is given.
INSERT INTO store_account
SELECT ?1 ->> '$.account_id', ?1 ->> '$.version' WHERE ?1 ->> '$.version' IS NOT NULL
ON CONFLICT (id) DO UPDATE SET version = max(version, excluded.version);
SELECT json_object('ok', (SELECT version FROM store_account WHERE id = ?1 ->> '$.account_id'));
