-- The guard of a send. First what stands before any limit: the caller, the idempotency key, a message in doubt.
UPDATE decision SET (kind, message_id, wait_ms) = (
    WITH
    kept AS (
        SELECT i.*, m.confirmed, m.asked_at,
               EXISTS (SELECT 1 FROM json_each(NEW.request, '$.idempotency.fingerprints') AS f
                       WHERE f.value = i.fingerprint) AS same
        FROM store_idempotency AS i LEFT JOIN store_message AS m ON m.id = i.message_id
        WHERE i."key" = NEW.request ->> '$.idempotency.key' AND i.keep_until > decision.now
    ),
    doubted AS (
        SELECT m.id
        FROM store_unconfirmed AS u CROSS JOIN store_message AS m ON m.id = u.message_id
        WHERE u.subject = NEW.request ->> '$.subject' AND m.confirmed <> 1 AND m.deadline > decision.now
          AND (m.confirmed = 2 OR decision.now - m.asked_at >= 30000)
    )
    SELECT 'stale_account', NULL, NULL
    WHERE (SELECT version FROM store_account WHERE id = NEW.request ->> '$.account.id') IS NOT NEW.request ->> '$.account.version'
    -- An entry without a message is a batch's or a check's: another body in any case.
    UNION ALL SELECT 'key_reused', NULL, NULL FROM kept WHERE NOT same OR message_id IS NULL
    UNION ALL SELECT 'replayed', message_id, NULL FROM kept WHERE done OR coalesce(confirmed, 1) = 1
    UNION ALL SELECT 'again', message_id, NULL FROM kept WHERE confirmed = 2 OR decision.now - asked_at >= 30000
    UNION ALL SELECT 'in_flight', NULL, asked_at + 30000 - decision.now FROM kept
    UNION ALL SELECT 'again', id, NULL FROM doubted
    LIMIT 1
);

-- The verification that this send belongs to, if one lives that has a full ttl left under the cap of 10 minutes.
UPDATE decision SET (reused, previous_expiry) = (
    SELECT v.id, v.expires_at
    FROM store_live AS l CROSS JOIN store_verification AS v ON v.id = l.id
    WHERE l.subject = NEW.request ->> '$.verification.subject' AND v.approved_at IS NULL AND v.fails < v.max_attempts
      AND v.expires_at > decision.now AND v.first_at + 600000 - decision.now >= NEW.request ->> '$.verification.ttl_ms'
) WHERE kind IS NULL;

-- A code that the caller's process can't derive, its secret being none of those there, isn't sent again.
UPDATE decision SET (kind, what) = (
    SELECT 'key_missing', v.key_id FROM store_verification AS v
    WHERE v.id = coalesce(reused, (SELECT verification_id FROM store_message WHERE id = decision.message_id))
) WHERE (kind = 'again' OR kind IS NULL AND reused IS NOT NULL) AND NEW.request -> '$.known_keys' IS NOT NULL
  AND EXISTS (
      SELECT 1 FROM store_verification AS v
      WHERE v.id = coalesce(reused, (SELECT verification_id FROM store_message WHERE id = decision.message_id))
        AND v.key_id NOT IN (SELECT value FROM json_each(NEW.request, '$.known_keys')));

-- Then whatever refuses, the first in the order of ranks; where nothing does it is admitted.
UPDATE decision SET (kind, rank, idx, wait_ms, what, "until", message_id, counted) = (
    SELECT kind, rank, idx, wait_ms, what, "until", message_id, message_id IS NOT NULL FROM (
        SELECT *, NULL AS message_id FROM refusal
        UNION ALL
        SELECT 2, 0, 'max_sends', v.expires_at - decision.now, NULL, NULL, NULL
        FROM store_verification AS v
        WHERE v.id = decision.reused AND v.sends >= NEW.request ->> '$.verification.max_sends'
        UNION ALL
        SELECT 9, 0, 'admitted', NULL, NULL, NULL, NEW.request ->> '$.message_id'
        ORDER BY rank, idx LIMIT 1
    )
) WHERE kind IS NULL;
-- What the caller's own or the service's limits refuse says nothing against phone or address.
INSERT INTO strike
SELECT s.key, s.value ->> '$.key', s.value ->> '$.threshold', s.value ->> '$.window_ms', s.value ->> '$.ban_ms',
       s.value ->> '$.subject.kind', s.value ->> '$.subject.value', decision.now,
       coalesce(s.value ->> '$.entry', lower(hex(randomblob(8)))), s.value ->> '$.accounts.account_id',
       s.value ->> '$.accounts.min', NULL
FROM decision CROSS JOIN jsonb_each(NEW.request, '$.strikes') AS s
WHERE decision.kind IN ('limited', 'max_sends') AND decision.rank IN (1, 2, 3, 6)
  AND NOT EXISTS (SELECT 1 FROM ban_hit);

-- What is admitted is counted and written down.
INSERT OR IGNORE INTO store_limit_entry
SELECT asked."key", asked.now, message_id, asked.now + asked.window_ms FROM decision CROSS JOIN asked
WHERE kind = 'admitted' AND exact;
INSERT INTO store_limit_bucket
SELECT asked."key", asked.now / width, 1, asked.now + asked.window_ms + 2 * width FROM decision CROSS JOIN asked
WHERE kind = 'admitted' AND NOT exact
ON CONFLICT DO UPDATE SET "count" = "count" + 1;
INSERT INTO store_count
SELECT 'accepted', NEW.request ->> '$.lane', now / 10000, 1 FROM decision WHERE kind = 'admitted'
ON CONFLICT DO UPDATE SET "count" = "count" + 1;
INSERT INTO store_verification
SELECT coalesce(reused, v ->> 'id'), v ->> 'subject', v ->> 'account_id', v ->> 'purpose', v ->> 'key_id',
       v ->> 'digits', v ->> 'ttl_ms', v ->> 'max_attempts', v ->> 'remember_ms', now, now + (v ->> 'ttl_ms'), 1, 0,
       NULL, message_id, now + (v ->> 'ttl_ms') + (v ->> 'remember_ms')
FROM (SELECT *, jsonb_extract(NEW.request, '$.verification') AS v FROM decision WHERE kind = 'admitted')
WHERE v IS NOT NULL
-- The one that lives: what it began with stays.
ON CONFLICT (id) DO UPDATE
SET sends = sends + 1, expires_at = excluded.expires_at, last_message = excluded.last_message,
    keep_until = excluded.expires_at + store_verification.remember_ms;
INSERT OR REPLACE INTO store_live
SELECT v.subject, v.id, v.keep_until
FROM decision CROSS JOIN store_verification AS v
WHERE kind = 'admitted' AND v.id = coalesce(reused, NEW.request ->> '$.verification.id');
INSERT INTO store_message
SELECT message_id, NEW.request ->> '$.owner', NEW.request ->> '$.lane', 'accepted', now, now, deadline, v_id, previous_expiry,
       NEW.request -> '$.about', '[]', NEW.request ->> '$.subject', NEW.request ->> '$.confirmed', now, NEW.request ->> '$.idempotency.key',
       jsonb_extract(NEW.request, '$.limits'),
       jsonb_object(
           'message_id', message_id, 'accepted_at', now, 'deadline', deadline, 'epoch', (SELECT epoch FROM store_epoch),
           'resend_at', now + coalesce((SELECT max(wait_ms) FROM limit_use WHERE rank = 1 AND "full"), 0),
           'client_ip', NEW.request ->> '$.about.client_ip', 'verification', v_answer),
       -- Until its row is committed, for which a database may be waited for.
       deadline + 90000000
FROM (
    SELECT decision.now, message_id, previous_expiry, v.id AS v_id,
           coalesce(v.expires_at - v.ttl_ms / 3, decision.now + (NEW.request ->> '$.ttl_ms')) AS deadline,
           iif(v.id IS NULL, NULL, jsonb_object(
               'id', v.id, 'key_id', v.key_id, 'digits', v.digits, 'ttl_ms', v.ttl_ms, 'first_at', v.first_at,
               'expires_at', v.expires_at, 'sends', v.sends, 'max_attempts', v.max_attempts,
               'remember_ms', v.remember_ms)) AS v_answer
    FROM decision
    LEFT JOIN store_verification AS v ON v.id = coalesce(reused, NEW.request ->> '$.verification.id')
    WHERE kind = 'admitted'
);
INSERT OR REPLACE INTO store_unconfirmed
SELECT m.subject, m.id, m.deadline + 3600000
FROM decision CROSS JOIN store_message AS m ON m.id = message_id
WHERE kind = 'admitted' AND NOT NEW.request ->> '$.confirmed';
INSERT OR REPLACE INTO store_idempotency
SELECT idempotency, NEW.request ->> '$.idempotency.fingerprints[0]', m.id, m.confirmed, json(m.answer), now + 86400000
FROM decision CROSS JOIN store_message AS m ON m.id = message_id
WHERE kind = 'admitted' AND NEW.request ->> '$.idempotency.key' IS NOT NULL;
-- A key that met a message in doubt stands for that message from now on.
INSERT OR REPLACE INTO store_idempotency
SELECT NEW.request ->> '$.idempotency.key', NEW.request ->> '$.idempotency.fingerprints[0]', m.id, 0, json(m.answer), now + 86400000
FROM decision CROSS JOIN store_message AS m ON m.id = message_id
WHERE kind = 'again' AND NEW.request ->> '$.idempotency.key' IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM store_idempotency AS i
                  WHERE i."key" = NEW.request ->> '$.idempotency.key' AND i.keep_until > now);
UPDATE store_message SET asked_at = (SELECT now FROM decision), confirmed = 0
WHERE id = (SELECT message_id FROM decision WHERE kind = 'again');

INSERT INTO answer
SELECT NEW.id, CASE
    WHEN NOT EXISTS (SELECT 1 FROM store_epoch) THEN '{"lost":true}'
    ELSE json_object('ok', CASE kind
        WHEN 'in_flight' THEN jsonb_object('kind', kind, 'wait_ms', wait_ms)
        WHEN 'replayed' THEN (SELECT jsonb_patch(i.answer, '{"kind":"replayed"}') FROM store_idempotency AS i
                              WHERE i."key" = NEW.request ->> '$.idempotency.key')
        WHEN 'limited' THEN jsonb_object('kind', kind, 'index', idx, 'wait_ms', wait_ms, 'limits', (SELECT states FROM limit_answer),
                                         'struck', (SELECT struck FROM struck_answer))
        WHEN 'max_sends' THEN jsonb_object('kind', kind, 'wait_ms', wait_ms, 'limits', (SELECT states FROM limit_answer), 'struck', (SELECT struck FROM struck_answer))
        WHEN 'banned' THEN jsonb_object('kind', kind, 'what', what, 'until', "until", 'limits', (SELECT states FROM limit_answer))
        WHEN 'stale_account' THEN jsonb_object('kind', kind)
        WHEN 'key_reused' THEN jsonb_object('kind', kind, 'fingerprint', (SELECT fingerprint FROM store_idempotency WHERE "key" = NEW.request ->> '$.idempotency.key'
                                     AND fingerprint NOT IN (SELECT value FROM json_each(NEW.request, '$.idempotency.fingerprints'))))
        WHEN 'key_missing' THEN jsonb_object('kind', kind, 'key_id', what)
        ELSE jsonb_object('kind', 'admitted', 'again', jsonb(iif(kind = 'again', 'true', 'false')),
                          'message', (SELECT answer FROM store_message WHERE id = message_id), 'limits', (SELECT states FROM limit_answer))
    END)
END
FROM decision;
