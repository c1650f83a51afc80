-- Bans and a new epoch, where there is none.
INSERT OR REPLACE INTO store_ban
SELECT value ->> '$.subject.kind', value ->> '$.subject.value', value ->> '$.until'
FROM json_each(NEW.request, '$.bans') WHERE NOT EXISTS (SELECT 1 FROM store_epoch);
INSERT INTO store_epoch SELECT NEW.request ->> '$.epoch' WHERE NOT EXISTS (SELECT 1 FROM store_epoch);
INSERT INTO answer VALUES (NEW.id, '{"ok":null}');
