-- Takes a job to work on. The row of `decision` says what the claim met; whatever is "ours" is written at the end.
DELETE FROM decision;
INSERT INTO decision (now)
SELECT coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER));
INSERT OR IGNORE INTO store_verification
SELECT v ->> 'id', v ->> 'subject', v ->> 'account_id', v ->> 'purpose', v ->> 'key_id', v ->> 'digits',
       v ->> 'ttl_ms', v ->> 'max_attempts', v ->> 'remember_ms', v ->> 'first_at', v ->> 'expires_at', v ->> 'sends', 0,
       NULL, ?1 ->> '$.message_id', (v ->> 'expires_at') + (v ->> 'remember_ms')
FROM (SELECT now, ?1 -> '$.verification' AS v FROM decision)
WHERE v IS NOT NULL AND (v ->> 'expires_at') + (v ->> 'remember_ms') > now;
INSERT OR IGNORE INTO store_live
SELECT subject, id, keep_until FROM store_verification WHERE id = ?1 ->> '$.verification.id';

UPDATE decision SET (kind, left) = (
    WITH c AS (
        SELECT *, (generation, attempt) > (?1 ->> '$.generation', ?1 ->> '$.attempt') AS newer,
               (generation, attempt) = (?1 ->> '$.generation', ?1 ->> '$.attempt') AS same
        FROM store_claim WHERE message_id = ?1 ->> '$.message_id'
    )
    SELECT 'stale', NULL FROM c WHERE newer
    UNION ALL SELECT 'resolved', NULL FROM c WHERE same AND state = 'resolved'
    UNION ALL SELECT 'busy', NULL FROM c
        WHERE same AND lease_until > decision.now AND owner <> ?1 ->> '$.owner'
    UNION ALL SELECT 'interrupted', claims FROM c
        WHERE same AND (state = 'interrupted' OR (state = 'calling' AND owner <> ?1 ->> '$.owner'))
    UNION ALL SELECT 'unsure', claims FROM c WHERE same AND state = 'unsure'
    -- A worker that got no answer asks again: that is the same claim, and it hasn't called.
    UNION ALL SELECT iif(claims + (owner <> ?1 ->> '$.owner') >= ?1 ->> '$.max_claims', 'poison', 'granted'),
        claims + (owner <> ?1 ->> '$.owner') FROM c WHERE same
    UNION ALL SELECT 'unsure', 1
        WHERE NOT EXISTS (SELECT 1 FROM c) AND ?1 ->> '$.redelivered'
          AND ?1 ->> '$.epoch' IS NOT (SELECT epoch FROM store_epoch)
    UNION ALL SELECT 'granted', 1
    LIMIT 1
);
UPDATE decision SET kind = 'superseded'
WHERE kind = 'granted'
  AND EXISTS (SELECT 1 FROM store_verification
              WHERE id = ?1 ->> '$.verification.id' AND approved_at IS NOT NULL);
UPDATE decision SET kind = 'expired' WHERE kind = 'granted' AND now >= ?1 ->> '$.call.deadline';
-- What a claim met stays so until its result is written: whoever claims next meets it too.
INSERT INTO store_claim
SELECT ?1 ->> '$.message_id', ?1 ->> '$.generation', ?1 ->> '$.attempt',
       CASE
           WHEN kind IN ('unsure', 'interrupted') THEN kind
           WHEN kind = 'granted' AND ?1 ->> '$.call.provider' IS NOT NULL THEN 'calling'
           ELSE 'claimed'
       END,
       ?1 ->> '$.owner', now + (?1 ->> '$.lease_ms'), left, coalesce(?1 ->> '$.call.provider', ''), now, '',
       max(?1 ->> '$.keep_until', now + (?1 ->> '$.lease_ms'))
FROM decision WHERE kind NOT IN ('stale', 'resolved', 'busy')
ON CONFLICT (message_id) DO UPDATE
SET generation = excluded.generation, attempt = excluded.attempt, owner = excluded.owner,
    lease_until = excluded.lease_until, claims = excluded.claims, keep_until = excluded.keep_until,
    state = excluded.state, provider = iif(excluded.state = 'calling', excluded.provider, provider),
    called_at = iif(excluded.state = 'calling', excluded.called_at, called_at),
    resolution = '';

SELECT json_object('ok', json(CASE kind
    WHEN 'busy' THEN json_object('now', now, 'kind', kind, 'wait_ms', c.lease_until - now)
    WHEN 'interrupted' THEN json_object('now', now, 'kind', kind, 'called_at', c.called_at, 'provider', c.provider)
    WHEN 'resolved' THEN json_object('now', now, 'kind', kind, 'resolution', c.resolution)
    ELSE json_object('now', now, 'kind', kind)
END))
FROM decision LEFT JOIN store_claim AS c ON c.message_id = ?1 ->> '$.message_id';
