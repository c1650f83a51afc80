-- Adds and removes bans.
INSERT OR REPLACE INTO store_ban
SELECT value ->> '$.subject.kind', value ->> '$.subject.value', value ->> '$.until' FROM json_each(NEW.request, '$.add')
WHERE EXISTS (SELECT 1 FROM store_epoch);
DELETE FROM store_ban
WHERE EXISTS (SELECT 1 FROM store_epoch)
  AND (kind, value) IN (SELECT r.value ->> 'kind', r.value ->> 'value' FROM json_each(NEW.request, '$.remove') AS r);
INSERT INTO answer
SELECT NEW.id, iif(EXISTS (SELECT 1 FROM store_epoch), '{"ok":null}', '{"lost":true}');
