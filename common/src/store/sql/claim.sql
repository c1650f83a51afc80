-- Takes a job to work on. The row of `decision` says what the claim met; whatever is "ours" is written at the end.
DELETE FROM decision;
INSERT INTO decision (now, message_id)
SELECT coalesce(NEW.request ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)), NEW.request ->> '$.message_id';
-- What the store lost comes back: the latest verification of its subject where no other is.
INSERT OR IGNORE INTO store_live
SELECT v ->> 'subject', v ->> 'id', (v ->> 'expires_at') + (v ->> 'remember_ms')
FROM (SELECT now, jsonb_extract(NEW.request, '$.verification') AS v FROM decision)
WHERE NOT EXISTS (SELECT 1 FROM store_verification WHERE id = v ->> 'id')
  AND v IS NOT NULL AND (v ->> 'expires_at') + (v ->> 'remember_ms') > now;
INSERT INTO store_verification
SELECT v ->> 'id', v ->> 'subject', v ->> 'account_id', v ->> 'purpose', v ->> 'key_id', v ->> 'digits',
       v ->> 'ttl_ms', v ->> 'max_attempts', v ->> 'remember_ms', v ->> 'first_at', v ->> 'expires_at', v ->> 'sends', 0,
       NULL, message_id, (v ->> 'expires_at') + (v ->> 'remember_ms')
FROM (SELECT now, message_id, jsonb_extract(NEW.request, '$.verification') AS v FROM decision)
WHERE NOT EXISTS (SELECT 1 FROM store_verification WHERE id = v ->> 'id')
  AND v IS NOT NULL AND (v ->> 'expires_at') + (v ->> 'remember_ms') > now;

UPDATE decision SET (kind, left) = (
    WITH c AS (
        SELECT c.*, (generation, attempt) > (NEW.request ->> '$.generation', NEW.request ->> '$.attempt') AS newer,
               (generation, attempt) = (NEW.request ->> '$.generation', NEW.request ->> '$.attempt') AS same,
               owner <> NEW.request ->> '$.owner' AS another, NEW.request ->> '$.max_claims' AS max_claims
        FROM store_claim AS c WHERE c.message_id = decision.message_id
    )
    SELECT 'stale', NULL FROM c WHERE newer
    UNION ALL SELECT 'resolved', NULL FROM c WHERE same AND state = 'resolved'
    UNION ALL SELECT 'busy', NULL FROM c
        WHERE same AND lease_until > decision.now AND another
    UNION ALL SELECT 'interrupted', claims FROM c
        WHERE same AND (state = 'interrupted' OR (state = 'calling' AND another))
    UNION ALL SELECT 'unsure', claims FROM c WHERE same AND state = 'unsure'
    -- A worker that got no answer asks again: that is the same claim, and it hasn't called.
    UNION ALL SELECT iif(claims + another >= max_claims, 'poison', 'granted'), claims + another FROM c WHERE same
    -- Its claim may be lost, or gone with its time.
    UNION ALL SELECT 'unsure', 1
        WHERE NOT EXISTS (SELECT 1 FROM c) AND NEW.request ->> '$.redelivered'
          AND (NEW.request ->> '$.epoch' IS NOT (SELECT epoch FROM store_epoch)
               OR decision.now >= NEW.request ->> '$.keep_until')
    UNION ALL SELECT 'granted', 1
    LIMIT 1
);
-- A later message goes on in its place where it is surely published and hasn't failed. One that was withdrawn is nowhere.
UPDATE decision SET kind = 'superseded'
WHERE kind = 'granted' AND EXISTS (
    SELECT 1
    FROM store_verification AS v
    LEFT JOIN store_message AS later ON later.id = v.last_message
    LEFT JOIN store_claim AS c ON c.message_id = v.last_message
    WHERE v.id = NEW.request ->> '$.verification.id'
      AND (v.approved_at IS NOT NULL
           OR NEW.request ->> '$.supersedable' AND v.last_message <> decision.message_id
              AND v.expires_at > NEW.request ->> '$.verification.expires_at'
              AND (c.message_id IS NOT NULL OR later.confirmed = 1)
              AND coalesce(c.status, '') NOT IN ('failed', 'expired', 'poison')));
UPDATE decision SET kind = 'expired' WHERE kind = 'granted' AND now >= NEW.request ->> '$.call.begin_by';
-- What a claim met stays so until its result is written: whoever claims next meets it too.
INSERT INTO store_claim
SELECT message_id, NEW.request ->> '$.generation', NEW.request ->> '$.attempt',
       CASE
           WHEN kind IN ('unsure', 'interrupted') THEN kind
           WHEN kind = 'granted' AND NEW.request ->> '$.call.provider' IS NOT NULL THEN 'calling'
           ELSE 'claimed'
       END,
       NEW.request ->> '$.owner', now + (NEW.request ->> '$.lease_ms'), left,
       coalesce(NEW.request ->> '$.call.provider', ''), now, '',
       max(NEW.request ->> '$.keep_until', now + (NEW.request ->> '$.lease_ms')), ''
FROM decision WHERE kind NOT IN ('stale', 'resolved', 'busy')
ON CONFLICT (message_id) DO UPDATE
SET generation = excluded.generation, attempt = excluded.attempt, owner = excluded.owner,
    lease_until = excluded.lease_until, claims = excluded.claims, keep_until = excluded.keep_until,
    state = excluded.state, provider = iif(excluded.state = 'calling', excluded.provider, provider),
    called_at = iif(excluded.state = 'calling', excluded.called_at, called_at),
    resolution = '';

INSERT INTO answer
SELECT NEW.id, json_object('ok', CASE kind
    WHEN 'busy' THEN jsonb_object('now', now, 'kind', kind, 'wait_ms', c.lease_until - now)
    WHEN 'interrupted' THEN jsonb_object('now', now, 'kind', kind, 'called_at', c.called_at, 'provider', c.provider)
    WHEN 'resolved' THEN jsonb_object('now', now, 'kind', kind, 'resolution', c.resolution)
    ELSE jsonb_object('now', now, 'kind', kind)
END)
FROM decision LEFT JOIN store_claim AS c ON c.message_id = decision.message_id;
