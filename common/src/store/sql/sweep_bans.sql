-- Forgets bans that ended, all at once.
DELETE FROM store_ban
WHERE "until" <> 0 AND "until" <= coalesce(NEW.request ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER));
INSERT INTO answer VALUES (NEW.id, '{"ok":"0"}');
