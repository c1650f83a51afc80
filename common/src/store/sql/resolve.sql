-- What came of an attempt: the first result written stands.
DELETE FROM decision;
INSERT INTO decision (now, kind)
SELECT coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)), coalesce((
    SELECT CASE
        WHEN (generation, attempt) > (?1 ->> '$.generation', ?1 ->> '$.attempt') THEN 'stale'
        WHEN (generation, attempt) = (?1 ->> '$.generation', ?1 ->> '$.attempt') AND state = 'resolved' THEN 'already'
    END
    FROM store_claim WHERE message_id = ?1 ->> '$.message_id'), 'written');
INSERT INTO store_claim
SELECT ?1 ->> '$.message_id', ?1 ->> '$.generation', ?1 ->> '$.attempt', 'resolved', '', 0, 0, '', 0,
       ?1 ->> '$.resolution', now + 3600000
FROM decision WHERE kind = 'written'
ON CONFLICT (message_id) DO UPDATE
SET generation = excluded.generation, attempt = excluded.attempt, state = 'resolved',
    resolution = excluded.resolution, keep_until = max(store_claim.keep_until, excluded.keep_until);
UPDATE store_message
SET status = ?1 ->> '$.status', attempts = ?1 -> '$.attempts', updated_at = decision.now
FROM decision WHERE kind = 'written' AND id = ?1 ->> '$.message_id';
DELETE FROM store_unconfirmed
WHERE ?1 ->> '$.finished' AND message_id = ?1 ->> '$.message_id'
  AND (SELECT kind FROM decision) = 'written';
UPDATE store_idempotency SET done = 1
WHERE ?1 ->> '$.finished' AND (SELECT kind FROM decision) = 'written' AND "key" = (SELECT idempotency FROM store_message WHERE id = ?1 ->> '$.message_id');
INSERT INTO store_count
SELECT 'done', ?1 ->> '$.lane', now / 10000, 1 FROM decision WHERE kind = 'written' AND ?1 ->> '$.finished'
ON CONFLICT DO UPDATE SET "count" = "count" + 1;
DELETE FROM refunded;
INSERT INTO refunded
SELECT id, limits, 0 FROM store_message, decision
WHERE kind = 'written' AND ?1 ->> '$.refund' AND id = ?1 ->> '$.message_id';
SELECT json_object('ok', json(CASE kind
    WHEN 'written' THEN json_object('kind', kind, 'approved_at', (
        SELECT v.approved_at FROM store_message AS m JOIN store_verification AS v ON v.id = m.verification_id
        WHERE m.id = ?1 ->> '$.message_id'))
    WHEN 'already' THEN json_object('kind', kind, 'resolution', (
        SELECT resolution FROM store_claim WHERE message_id = ?1 ->> '$.message_id'))
    ELSE json_object('kind', kind)
END))
FROM decision;
