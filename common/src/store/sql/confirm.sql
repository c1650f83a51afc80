-- Marks messages whose publish was confirmed, and the keys of their requests as answered.
UPDATE store_message SET confirmed = 1 WHERE id IN (SELECT value FROM json_each(NEW.request, '$.messages'));
DELETE FROM store_unconfirmed WHERE message_id IN (SELECT value FROM json_each(NEW.request, '$.messages'));
UPDATE store_idempotency SET done = 1
WHERE "key" IN (SELECT idempotency FROM store_message
                WHERE id IN (SELECT value FROM json_each(NEW.request, '$.messages')) AND idempotency IS NOT NULL);
INSERT INTO answer VALUES (NEW.id, '{"ok":null}');
