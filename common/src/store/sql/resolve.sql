-- What came of an attempt: the first result written stands.
DELETE FROM decision;
INSERT INTO decision (now, message_id, kind)
SELECT coalesce(NEW.request ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)), NEW.request ->> '$.message_id', CASE
    WHEN (c.generation, c.attempt) > (NEW.request ->> '$.generation', NEW.request ->> '$.attempt') THEN 'stale'
    WHEN (c.generation, c.attempt) = (NEW.request ->> '$.generation', NEW.request ->> '$.attempt') AND c.state = 'resolved' THEN 'already'
    ELSE 'written'
END
FROM (SELECT 1) LEFT JOIN store_claim AS c ON c.message_id = NEW.request ->> '$.message_id';
INSERT INTO store_claim
SELECT message_id, NEW.request ->> '$.generation', NEW.request ->> '$.attempt', 'resolved', '', 0, 0, '', 0, NEW.request ->> '$.resolution',
       now + 3600000, NEW.request ->> '$.status'
FROM decision WHERE kind = 'written'
ON CONFLICT (message_id) DO UPDATE
SET generation = excluded.generation, attempt = excluded.attempt, state = 'resolved',
    resolution = excluded.resolution, status = excluded.status, keep_until = max(store_claim.keep_until, excluded.keep_until);
UPDATE store_message
SET status = NEW.request ->> '$.status', attempts = NEW.request -> '$.attempts', updated_at = (SELECT now FROM decision),
    -- What ended was surely published.
    confirmed = iif(NEW.request ->> '$.finished', 1, confirmed)
WHERE id = (SELECT message_id FROM decision WHERE kind = 'written');
DELETE FROM store_unconfirmed
WHERE message_id = (SELECT message_id FROM decision WHERE kind = 'written' AND NEW.request ->> '$.finished');
UPDATE store_idempotency SET done = 1
WHERE "key" = (SELECT m.idempotency
               FROM decision CROSS JOIN store_message AS m ON m.id = decision.message_id
               WHERE kind = 'written' AND NEW.request ->> '$.finished');
INSERT INTO store_count
SELECT 'done', NEW.request ->> '$.lane', now / 10000, 1 FROM decision
WHERE kind = 'written' AND NEW.request ->> '$.finished'
ON CONFLICT DO UPDATE SET "count" = "count" + 1;
DELETE FROM refunded;
INSERT INTO refunded
SELECT m.id, m.limits, m.accepted_at, 0
FROM decision CROSS JOIN store_message AS m ON m.id = decision.message_id
WHERE kind = 'written' AND NEW.request ->> '$.refund';
-- A newer send of the verification took its place: it is none of those that the verification may have.
UPDATE store_verification SET sends = sends - 1
WHERE sends > 1 AND id = NEW.request ->> '$.verification' AND NEW.request ->> '$.status' = 'superseded'
  AND EXISTS (SELECT 1 FROM refunded);
INSERT INTO answer
SELECT NEW.id, json_object('ok', CASE kind
    WHEN 'written' THEN jsonb_object('kind', kind, 'approved_at', (
        SELECT approved_at FROM store_verification WHERE id = NEW.request ->> '$.verification'))
    WHEN 'already' THEN jsonb_object('kind', kind, 'resolution', (
        SELECT resolution FROM store_claim AS c WHERE c.message_id = decision.message_id))
    ELSE jsonb_object('kind', kind)
END)
FROM decision;
