-- The guard of a check, and its verdict.
UPDATE decision SET (kind, verification_id, at) = (
    WITH kept AS (
        SELECT i.*, EXISTS (SELECT 1 FROM json_each(?1, '$.idempotency.fingerprints') AS f
                            WHERE f.value = i.fingerprint) AS same
        FROM store_idempotency AS i
        WHERE i."key" = ?1 ->> '$.idempotency.key' AND i.keep_until > decision.now
    )
    SELECT 'stale_account', NULL, NULL
    WHERE (SELECT version FROM store_account WHERE id = ?1 ->> '$.account.id') IS NOT ?1 ->> '$.account.version'
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
        SELECT coalesce(?1 ->> '$.which.id',
                        (SELECT id FROM store_live WHERE subject = ?1 ->> '$.which.subject')) AS id
    ),
    v AS (
        SELECT * FROM store_verification
        WHERE id = (SELECT id FROM wanted) AND account_id = ?1 ->> '$.owner' AND keep_until > decision.now
    )
    SELECT 'expired', id, NULL, NULL, NULL FROM v WHERE expires_at <= decision.now
    UNION ALL SELECT 'changed', id, NULL, NULL, NULL FROM v WHERE id IS NOT ?1 ->> '$.read'
    UNION ALL SELECT 'spent', id, expires_at - decision.now, NULL, NULL FROM v WHERE fails >= max_attempts
    UNION ALL SELECT 'mismatch', id, NULL, max_attempts - fails - 1, NULL FROM v WHERE NOT ?1 ->> '$.right'
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
SELECT ?1 ->> '$.idempotency.key', ?1 ->> '$.idempotency.fingerprints[0]', NULL, 1,
       json_object('id', verification_id, 'at', at), now + 86400000
FROM decision WHERE kind = 'approved' AND ?1 ->> '$.idempotency.key' IS NOT NULL;
INSERT OR IGNORE INTO store_limit_entry
SELECT asked."key", asked.now, lower(hex(randomblob(8))), asked.now + asked.window_ms FROM asked, decision
WHERE kind IN ('not_sent', 'expired', 'mismatch') AND exact;
INSERT INTO store_limit_bucket
SELECT asked."key", asked.now / width, 1, asked.now + asked.window_ms + 2 * width FROM asked, decision
WHERE kind IN ('not_sent', 'expired', 'mismatch') AND NOT exact
ON CONFLICT DO UPDATE SET "count" = "count" + 1;
INSERT INTO strike
SELECT s.key, s.value ->> '$.key', s.value ->> '$.threshold', s.value ->> '$.window_ms', s.value ->> '$.ban_ms',
       s.value ->> '$.subject.kind', s.value ->> '$.subject.value', decision.now, lower(hex(randomblob(8)))
FROM decision, json_each(?1, '$.strikes') AS s
WHERE decision.kind = 'mismatch' OR decision.kind = 'spent' AND NOT ?1 ->> '$.right'
   -- Where no code lives, nobody guesses one: nothing speaks against the phone, which anybody may name.
   OR decision.kind IN ('not_sent', 'expired') AND s.value ->> '$.subject.kind' = 'network';

SELECT json_object('ok', json(CASE kind
    WHEN 'stale_account' THEN '{"kind":"stale_account"}'
    WHEN 'key_reused' THEN '{"kind":"key_reused"}'
    WHEN 'changed' THEN '{"kind":"changed"}'
    WHEN 'limited' THEN json_object('kind', kind, 'index', idx, 'wait_ms', wait_ms, 'limits', json(states))
    WHEN 'banned' THEN json_object('kind', kind, 'what', what, 'until', "until", 'limits', json(states))
    WHEN 'spent' THEN json_object('kind', kind, 'wait_ms', wait_ms, 'limits', json(states), 'struck', json(struck))
    WHEN 'mismatch' THEN json_object('kind', kind, 'attempts_left', left, 'limits', json(states),
                                     'struck', json(struck))
    WHEN 'used' THEN json_object('kind', kind, 'id', verification_id, 'limits', json(states))
    WHEN 'approved' THEN json_object('kind', 'approved', 'id', verification_id, 'at', at, 'first', json('true'),
                                     'limits', json(states))
    WHEN 'repeated' THEN json_object('kind', 'approved', 'id', verification_id, 'at', at, 'first', json('false'),
                                     'limits', json(states))
    ELSE json_object('kind', kind, 'limits', json(states), 'struck', json(struck))
END))
FROM decision, limit_answer, struck_answer;
