-- Forgets bans that ended, all at once.
DELETE FROM store_ban
WHERE "until" <> 0 AND "until" <= coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER));
SELECT '{"ok":"0"}';
