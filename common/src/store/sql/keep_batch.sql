-- Ends a batch of which an item was admitted or replayed: keeps its key, unless it is kept by now. Where every item was
-- refused there is nothing that another body could be mistaken for.
INSERT INTO store_idempotency
SELECT NEW.request ->> '$.batch.key', NEW.request ->> '$.batch.fingerprints[0]', NULL, 1, '', (NEW.request ->> '$.now') + 86400000
WHERE NEW.request ->> '$.batch.key' IS NOT NULL
ON CONFLICT DO UPDATE
SET fingerprint = excluded.fingerprint, message_id = NULL, done = 1, answer = '', keep_until = excluded.keep_until
WHERE store_idempotency.keep_until <= NEW.request ->> '$.now';
INSERT INTO answer VALUES (NEW.id, '{"ok":null}');
