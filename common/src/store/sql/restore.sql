-- Bans and a new epoch, where there is none.
INSERT OR REPLACE INTO store_ban
SELECT value ->> '$.subject.kind', value ->> '$.subject.value', value ->> '$.until'
FROM json_each(?1, '$.bans') WHERE NOT EXISTS (SELECT 1 FROM store_epoch);
INSERT INTO store_epoch SELECT ?1 ->> '$.epoch' WHERE NOT EXISTS (SELECT 1 FROM store_epoch);
SELECT '{"ok":null}';
