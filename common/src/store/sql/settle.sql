-- The guard of a check, and its verdict.
UPDATE decision SET (kind, verification_id, at) = (
    WITH kept AS (
        SELECT i.*, EXISTS (SELECT 1 FROM json_each(NEW.request, '$.idempotency.fingerprints') AS f
                            WHERE f.value = i.fingerprint) AS same
        FROM store_idempotency AS i
        WHERE i."key" = NEW.request ->> '$.idempotency.key' AND i.keep_until > decision.now
    )
    SELECT 'stale_account', NULL, NULL
    WHERE (SELECT version FROM store_account WHERE id = NEW.request ->> '$.account.id') IS NOT NEW.request ->> '$.account.version'
    -- A send's entry, which has a message, and a batch's, which has no answer, are of another body in any case.
    UNION ALL SELECT 'key_reused', NULL, NULL FROM kept WHERE NOT same OR message_id IS NOT NULL OR answer = ''
    UNION ALL SELECT 'repeated', answer ->> 'id', answer ->> 'at' FROM kept
    LIMIT 1
);
UPDATE decision SET (kind, idx, wait_ms, what, "until") = (
    SELECT kind, idx, wait_ms, what, "until" FROM refusal ORDER BY rank, idx LIMIT 1
) WHERE kind IS NULL;
UPDATE decision SET (kind, verification_id, wait_ms, left, at) = (
    WITH
    wanted AS (
        SELECT coalesce(NEW.request ->> '$.which.id',
                        (SELECT id FROM store_live WHERE subject = NEW.request ->> '$.which.subject')) AS id
    ),
    v AS (
        SELECT * FROM store_verification
        WHERE id = (SELECT id FROM wanted) AND account_id = NEW.request ->> '$.owner' AND keep_until > decision.now
    )
    SELECT 'expired', id, NULL, NULL, NULL FROM v WHERE expires_at <= decision.now
    UNION ALL SELECT 'changed', id, NULL, NULL, NULL FROM v WHERE id IS NOT NEW.request ->> '$.read'
    UNION ALL SELECT 'spent', id, expires_at - decision.now, NULL, NULL FROM v WHERE fails >= max_attempts
    UNION ALL SELECT 'mismatch', id, NULL, max_attempts - fails - 1, NULL FROM v WHERE NOT NEW.request ->> '$.right'
    UNION ALL SELECT 'used', id, NULL, NULL, NULL FROM v WHERE approved_at IS NOT NULL
    UNION ALL SELECT 'approved', id, NULL, NULL, decision.now FROM v
    UNION ALL SELECT 'not_sent', NULL, NULL, NULL, NULL
    LIMIT 1
) WHERE kind IS NULL;

UPDATE store_verification SET fails = fails + 1
WHERE id = (SELECT verification_id FROM decision WHERE kind = 'mismatch');
UPDATE store_verification SET approved_at = (SELECT now FROM decision)
WHERE id = (SELECT verification_id FROM decision WHERE kind = 'approved');
INSERT OR REPLACE INTO store_idempotency
SELECT NEW.request ->> '$.idempotency.key', NEW.request ->> '$.idempotency.fingerprints[0]', NULL, 1,
       json_object('id', verification_id, 'at', at), now + 86400000
FROM decision WHERE kind = 'approved' AND NEW.request ->> '$.idempotency.key' IS NOT NULL;
INSERT OR IGNORE INTO store_limit_entry
SELECT asked."key", asked.now, lower(hex(randomblob(8))), asked.now + asked.window_ms FROM decision CROSS JOIN asked
WHERE kind IN ('not_sent', 'expired', 'mismatch') AND exact;
INSERT INTO store_limit_bucket
SELECT asked."key", asked.now / width, 1, asked.now + asked.window_ms + 2 * width FROM decision CROSS JOIN asked
WHERE kind IN ('not_sent', 'expired', 'mismatch') AND NOT exact
ON CONFLICT DO UPDATE SET "count" = "count" + 1;
UPDATE decision SET counted = kind IN ('not_sent', 'expired', 'mismatch');
INSERT INTO strike
SELECT s.key, s.value ->> '$.key', s.value ->> '$.threshold', s.value ->> '$.window_ms', s.value ->> '$.ban_ms',
       s.value ->> '$.subject.kind', s.value ->> '$.subject.value', decision.now,
       coalesce(s.value ->> '$.entry', lower(hex(randomblob(8)))), s.value ->> '$.accounts.account_id',
       s.value ->> '$.accounts.min', NULL
FROM decision CROSS JOIN jsonb_each(NEW.request, '$.strikes') AS s
WHERE decision.kind = 'mismatch' OR decision.kind = 'spent' AND NOT NEW.request ->> '$.right'
   -- Where no code lives, nobody guesses one: nothing speaks against the phone, which anybody may name.
   OR decision.kind IN ('not_sent', 'expired') AND s.value ->> '$.subject.kind' = 'network';

INSERT INTO answer
SELECT NEW.id, json_object('ok', CASE kind
    WHEN 'stale_account' THEN jsonb_object('kind', kind)
    WHEN 'key_reused' THEN jsonb_object('kind', kind, 'fingerprint', (SELECT fingerprint FROM store_idempotency WHERE "key" = NEW.request ->> '$.idempotency.key'
                                     AND fingerprint NOT IN (SELECT value FROM json_each(NEW.request, '$.idempotency.fingerprints'))))
    WHEN 'changed' THEN jsonb_object('kind', kind)
    WHEN 'limited' THEN jsonb_object('kind', kind, 'index', idx, 'wait_ms', wait_ms, 'limits', (SELECT states FROM limit_answer))
    WHEN 'banned' THEN jsonb_object('kind', kind, 'what', what, 'until', "until", 'limits', (SELECT states FROM limit_answer))
    WHEN 'spent' THEN jsonb_object('kind', kind, 'wait_ms', wait_ms, 'limits', (SELECT states FROM limit_answer), 'struck', (SELECT struck FROM struck_answer))
    WHEN 'mismatch' THEN jsonb_object('kind', kind, 'attempts_left', left, 'limits', (SELECT states FROM limit_answer),
                                     'struck', (SELECT struck FROM struck_answer))
    WHEN 'used' THEN jsonb_object('kind', kind, 'id', verification_id, 'limits', (SELECT states FROM limit_answer))
    WHEN 'approved' THEN jsonb_object('kind', 'approved', 'id', verification_id, 'at', at, 'first', jsonb('true'),
                                     'limits', (SELECT states FROM limit_answer))
    WHEN 'repeated' THEN jsonb_object('kind', 'approved', 'id', verification_id, 'at', at, 'first', jsonb('false'),
                                     'limits', (SELECT states FROM limit_answer))
    ELSE jsonb_object('kind', kind, 'limits', (SELECT states FROM limit_answer), 'struck', (SELECT struck FROM struck_answer))
END)
FROM decision;
