-- The guard of a send. First what stands before any limit: the caller, the idempotency key, a message in doubt.
UPDATE decision SET (kind, message_id, wait_ms) = (
    WITH
    asker AS (SELECT version FROM store_account WHERE id = ?1 ->> '$.account.id'),
    kept AS (
        SELECT i.*, m.confirmed, m.asked_at,
               EXISTS (SELECT 1 FROM json_each(?1, '$.idempotency.fingerprints') AS f
                       WHERE f.value = i.fingerprint) AS same
        FROM store_idempotency AS i LEFT JOIN store_message AS m ON m.id = i.message_id
        WHERE i."key" = ?1 ->> '$.idempotency.key' AND i.keep_until > decision.now
    ),
    doubted AS (
        SELECT m.id FROM store_unconfirmed AS u JOIN store_message AS m ON m.id = u.message_id
        WHERE u.subject = ?1 ->> '$.subject' AND m.confirmed <> 1 AND m.deadline > decision.now
          AND (m.confirmed = 2 OR decision.now - m.asked_at >= 30000)
    )
    SELECT 'stale_account', NULL, NULL WHERE (SELECT version FROM asker) IS NOT ?1 ->> '$.account.version'
    -- An entry without a message is a batch's or a check's: another body in any case.
    UNION ALL SELECT 'key_reused', NULL, NULL FROM kept WHERE NOT same OR message_id IS NULL
    UNION ALL SELECT 'replayed', message_id, NULL FROM kept WHERE done OR coalesce(confirmed, 1) = 1
    UNION ALL SELECT 'again', message_id, NULL FROM kept WHERE confirmed = 2 OR decision.now - asked_at >= 30000
    UNION ALL SELECT 'in_flight', NULL, asked_at + 30000 - decision.now FROM kept
    UNION ALL SELECT 'again', id, NULL FROM doubted
    LIMIT 1
);

-- The verification that this send belongs to, if one lives that has a full ttl left under the cap of 10 minutes.
UPDATE decision SET reused = (
    SELECT v.id FROM store_live AS l JOIN store_verification AS v ON v.id = l.id
    WHERE l.subject = ?1 ->> '$.verification.subject' AND v.approved_at IS NULL AND v.fails < v.max_attempts
      AND v.expires_at > decision.now AND v.first_at + 600000 - decision.now >= ?1 ->> '$.verification.ttl_ms'
) WHERE kind IS NULL;

-- Then whatever refuses, the first in the order of ranks.
UPDATE decision SET (kind, rank, idx, wait_ms, what, "until") = (
    SELECT kind, rank, idx, wait_ms, what, "until" FROM (
        SELECT * FROM refusal
        UNION ALL
        SELECT 2, 0, 'max_sends', v.expires_at - decision.now, NULL, NULL
        FROM store_verification AS v
        WHERE v.id = decision.reused AND v.sends >= ?1 ->> '$.verification.max_sends'
        ORDER BY rank, idx LIMIT 1
    )
) WHERE kind IS NULL;
-- What the caller's own or the service's limits refuse says nothing against phone or address.
INSERT INTO strike
SELECT s.key, s.value ->> '$.key', s.value ->> '$.threshold', s.value ->> '$.window_ms', s.value ->> '$.ban_ms',
       s.value ->> '$.subject.kind', s.value ->> '$.subject.value', decision.now, lower(hex(randomblob(8)))
FROM decision, json_each(?1, '$.strikes') AS s
WHERE decision.kind IN ('limited', 'max_sends') AND decision.rank IN (1, 2, 3, 6)
  AND NOT EXISTS (SELECT 1 FROM ban_hit);
UPDATE decision SET kind = 'admitted', message_id = ?1 ->> '$.message_id' WHERE kind IS NULL;

-- What is admitted is counted and written down.
INSERT OR IGNORE INTO store_limit_entry
SELECT asked."key", asked.now, message_id, asked.now + asked.window_ms FROM asked, decision
WHERE kind = 'admitted' AND exact;
INSERT INTO store_limit_bucket
SELECT asked."key", asked.now / width, 1, asked.now + asked.window_ms + 2 * width FROM asked, decision
WHERE kind = 'admitted' AND NOT exact
ON CONFLICT DO UPDATE SET "count" = "count" + 1;
INSERT INTO store_count
SELECT 'accepted', ?1 ->> '$.lane', now / 10000, 1 FROM decision WHERE kind = 'admitted'
ON CONFLICT DO UPDATE SET "count" = "count" + 1;
INSERT INTO store_message
SELECT message_id, ?1 ->> '$.owner', ?1 ->> '$.lane', 'accepted', now, now,
       now + (?1 ->> '$.ttl_ms'), coalesce(reused, ?1 ->> '$.verification.id'),
       (SELECT expires_at FROM store_verification WHERE id = reused),
       ?1 -> '$.about', '[]', ?1 ->> '$.subject', ?1 ->> '$.confirmed', now, ?1 ->> '$.idempotency.key',
       (SELECT coalesce(json_group_array(json_object('key', "key", 'exact', exact, 'at', now, 'width', width,
                                                     'refund', refund)), '[]') FROM asked),
       '', 0
FROM decision WHERE kind = 'admitted';
UPDATE store_verification
SET sends = sends + 1, expires_at = decision.now + (?1 ->> '$.verification.ttl_ms'),
    last_message = decision.message_id,
    keep_until = decision.now + (?1 ->> '$.verification.ttl_ms') + remember_ms
FROM decision WHERE kind = 'admitted' AND store_verification.id = decision.reused;
INSERT INTO store_verification
SELECT v ->> 'id', v ->> 'subject', v ->> 'account_id', v ->> 'purpose', v ->> 'key_id', v ->> 'digits',
       v ->> 'ttl_ms', v ->> 'max_attempts', v ->> 'remember_ms', now, now + (v ->> 'ttl_ms'), 1, 0, NULL,
       message_id, now + (v ->> 'ttl_ms') + (v ->> 'remember_ms')
FROM (SELECT *, ?1 -> '$.verification' AS v FROM decision)
WHERE kind = 'admitted' AND reused IS NULL AND v IS NOT NULL;
INSERT OR REPLACE INTO store_live
SELECT subject, id, keep_until FROM store_verification
WHERE id = (SELECT coalesce(reused, ?1 ->> '$.verification.id') FROM decision WHERE kind = 'admitted');
UPDATE store_message
SET deadline = v.expires_at - v.ttl_ms / 3
FROM decision, store_verification AS v
WHERE kind = 'admitted' AND store_message.id = decision.message_id AND v.id = store_message.verification_id;
UPDATE store_message
SET keep_until = store_message.deadline + 3600000,
    answer = json_object(
        'message_id', store_message.id, 'accepted_at', decision.now, 'deadline', store_message.deadline,
        'epoch', (SELECT epoch FROM store_epoch),
        'resend_at', decision.now + coalesce(
            (SELECT max(wait_ms) FROM limit_use WHERE rank = 1 AND "full"), 0),
        'verification', (
            SELECT json_object('id', v.id, 'key_id', v.key_id, 'digits', v.digits, 'ttl_ms', v.ttl_ms,
                               'first_at', v.first_at, 'expires_at', v.expires_at, 'sends', v.sends,
                               'max_attempts', v.max_attempts, 'remember_ms', v.remember_ms)
            FROM store_verification AS v WHERE v.id = store_message.verification_id))
FROM decision WHERE kind = 'admitted' AND store_message.id = decision.message_id;
INSERT OR REPLACE INTO store_unconfirmed
SELECT subject, store_message.id, store_message.keep_until FROM store_message JOIN decision ON store_message.id = message_id
WHERE kind = 'admitted' AND NOT confirmed;
INSERT OR REPLACE INTO store_idempotency
SELECT idempotency, ?1 ->> '$.idempotency.fingerprints[0]', store_message.id, confirmed, answer, now + 86400000
FROM store_message JOIN decision ON store_message.id = message_id
WHERE kind = 'admitted' AND idempotency IS NOT NULL;
-- A key that met a message in doubt stands for that message from now on.
INSERT OR REPLACE INTO store_idempotency
SELECT ?1 ->> '$.idempotency.key', ?1 ->> '$.idempotency.fingerprints[0]', store_message.id, 0, answer, now + 86400000
FROM store_message JOIN decision ON store_message.id = message_id
WHERE kind = 'again' AND ?1 ->> '$.idempotency.key' IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM store_idempotency AS i
                  WHERE i."key" = ?1 ->> '$.idempotency.key' AND i.keep_until > now);
UPDATE store_message SET asked_at = decision.now, confirmed = 0
FROM decision WHERE kind = 'again' AND store_message.id = decision.message_id;

SELECT CASE
    WHEN NOT EXISTS (SELECT 1 FROM store_epoch) THEN json('{"lost":true}')
    ELSE json_object('ok', json(CASE kind
        WHEN 'stale_account' THEN '{"kind":"stale_account"}'
        WHEN 'key_reused' THEN '{"kind":"key_reused"}'
        WHEN 'in_flight' THEN json_object('kind', kind, 'wait_ms', wait_ms)
        WHEN 'replayed' THEN json_patch((SELECT answer FROM store_idempotency WHERE "key" = ?1 ->> '$.idempotency.key'),
                                        '{"kind":"replayed"}')
        WHEN 'limited' THEN json_object('kind', kind, 'index', idx, 'wait_ms', wait_ms, 'limits', json(states),
                                        'struck', json(struck))
        WHEN 'max_sends' THEN json_object('kind', kind, 'wait_ms', wait_ms, 'limits', json(states),
                                          'struck', json(struck))
        WHEN 'banned' THEN json_object('kind', kind, 'what', what, 'until', "until", 'limits', json(states))
        ELSE json_object('kind', 'admitted', 'again', json(iif(kind = 'again', 'true', 'false')),
                         'message', (SELECT json(answer) FROM store_message WHERE id = message_id),
                         'limits', json(states))
    END))
END
FROM decision, limit_answer, struck_answer;
