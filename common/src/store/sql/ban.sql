-- Adds and removes bans.
INSERT OR REPLACE INTO store_ban
SELECT value ->> '$.subject.kind', value ->> '$.subject.value', value ->> '$.until' FROM json_each(?1, '$.add')
WHERE EXISTS (SELECT 1 FROM store_epoch);
DELETE FROM store_ban
WHERE EXISTS (SELECT 1 FROM store_epoch)
  AND (kind, value) IN (SELECT r.value ->> 'kind', r.value ->> 'value' FROM json_each(?1, '$.remove') AS r);
SELECT iif(EXISTS (SELECT 1 FROM store_epoch), '{"ok":null}', '{"lost":true}');
