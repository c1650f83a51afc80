-- Adds and removes bans.
INSERT OR REPLACE INTO store_ban
SELECT value ->> '$.subject.kind', value ->> '$.subject.value', value ->> '$.until' FROM json_each(?1, '$.add');
DELETE FROM store_ban
WHERE (kind, value) IN (SELECT r.value ->> 'kind', r.value ->> 'value' FROM json_each(?1, '$.remove') AS r);
SELECT '{"ok":null}';
