-- Keeps what a sandbox was handed: for a day, the newest 1,000 of an account.
INSERT OR REPLACE INTO store_sandbox
SELECT NEW.request ->> '$.account_id', coalesce(NEW.request ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)),
       NEW.request ->> '$.message_id', NEW.request ->> '$.sealed';
DELETE FROM store_sandbox
WHERE account_id = NEW.request ->> '$.account_id'
  AND "at" < (SELECT "at" FROM store_sandbox WHERE account_id = NEW.request ->> '$.account_id'
              ORDER BY "at" DESC LIMIT 1 OFFSET 999);
INSERT INTO answer VALUES (NEW.id, '{"ok":null}');
