-- Keeps what a sandbox was handed: for a day, the newest 1,000 of an account.
INSERT OR REPLACE INTO store_sandbox
SELECT ?1 ->> '$.account_id', coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)),
       ?1 ->> '$.message_id', ?1 ->> '$.sealed';
DELETE FROM store_sandbox
WHERE account_id = ?1 ->> '$.account_id'
  AND "at" < (SELECT "at" FROM store_sandbox WHERE account_id = ?1 ->> '$.account_id'
              ORDER BY "at" DESC LIMIT 1 OFFSET 999);
SELECT '{"ok":null}';
