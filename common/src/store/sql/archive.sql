-- Rows of these messages are committed: what stays is what drops late copies.
DELETE FROM store_unconfirmed WHERE message_id IN (SELECT value FROM json_each(NEW.request, '$.messages'));
UPDATE store_idempotency SET done = 1
WHERE "key" IN (SELECT idempotency FROM store_message
                WHERE id IN (SELECT value FROM json_each(NEW.request, '$.messages')) AND idempotency IS NOT NULL);
DELETE FROM store_message WHERE id IN (SELECT value FROM json_each(NEW.request, '$.messages'));
UPDATE store_claim SET resolution = ''
WHERE message_id IN (SELECT value FROM json_each(NEW.request, '$.messages')) AND state = 'resolved';
INSERT INTO answer VALUES (NEW.id, '{"ok":null}');
