-- An account's version, set first if a newer one is given.
INSERT INTO store_account
SELECT NEW.request ->> '$.account_id', NEW.request ->> '$.version' WHERE NEW.request ->> '$.version' IS NOT NULL
ON CONFLICT (id) DO UPDATE SET version = max(version, excluded.version);
INSERT INTO answer
SELECT NEW.id, json_object('ok', (SELECT version FROM store_account WHERE id = NEW.request ->> '$.account_id'));
