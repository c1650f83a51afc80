-- Begins a batch of messages: what is decided about it as a whole. Its items are decided one by one, by `admit.sql`, and
-- `keep_batch.sql` ends it.
DELETE FROM decision;
INSERT INTO decision (now) SELECT coalesce(NEW.request ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER));
UPDATE decision SET kind = (
    WITH kept AS (
        SELECT i.message_id, i.answer, EXISTS (SELECT 1 FROM json_each(NEW.request, '$.batch.fingerprints') AS f WHERE f.value = i.fingerprint) AS same
        FROM store_idempotency AS i
        WHERE i."key" = NEW.request ->> '$.batch.key' AND i.keep_until > decision.now
    )
    SELECT 'stale_account'
    WHERE (SELECT version FROM store_account WHERE id = NEW.request ->> '$.account.id') IS NOT NEW.request ->> '$.account.version'
    -- A send's entry, which has a message, and a check's, which has an answer, are of another body in any case.
    UNION ALL SELECT 'key_reused' FROM kept WHERE NOT same OR message_id IS NOT NULL OR answer <> ''
    UNION ALL SELECT 'kept' FROM kept
    LIMIT 1
);

INSERT INTO answer
SELECT NEW.id, CASE
    WHEN NOT EXISTS (SELECT 1 FROM store_epoch) THEN json('{"lost":true}')
    ELSE json_object('ok', CASE
        WHEN kind = 'stale_account' THEN json_object('kind', kind)
        WHEN kind = 'key_reused' THEN json_object('kind', kind, 'fingerprint', (SELECT fingerprint FROM store_idempotency WHERE "key" = NEW.request ->> '$.batch.key'
                                     AND fingerprint NOT IN (SELECT value FROM json_each(NEW.request, '$.batch.fingerprints'))))
        ELSE json_object('kind', 'begun', 'now', now)
    END)
END
FROM decision;
