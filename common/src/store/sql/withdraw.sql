-- Takes back exactly what one message's admission counted, where it isn't queued by a repeat and nobody has claimed it. What
-- it began with stays where another send belongs to it.
DELETE FROM refunded;
INSERT INTO refunded
SELECT id, limits, accepted_at, 1 FROM store_message AS m
WHERE id = NEW.request ->> '$.messages[0]' AND status = 'accepted' AND confirmed <> 1
  AND NOT EXISTS (SELECT 1 FROM store_claim WHERE message_id = m.id);
UPDATE store_count SET "count" = "count" - 1
FROM refunded JOIN store_message AS m USING (id)
WHERE what = 'accepted' AND store_count.lane = m.lane AND bucket = m.accepted_at / 10000 AND "count" > 0;
DELETE FROM store_live
WHERE id IN (SELECT v.id FROM store_verification AS v JOIN store_message AS m ON m.verification_id = v.id
             JOIN refunded ON refunded.id = m.id WHERE previous_expiry IS NULL AND v.sends = 1);
DELETE FROM store_verification
WHERE sends = 1
  AND id IN (SELECT verification_id FROM store_message JOIN refunded USING (id) WHERE previous_expiry IS NULL);
UPDATE store_verification
SET sends = sends - 1,
    expires_at = CASE WHEN last_message = m.id THEN coalesce(m.previous_expiry, expires_at) ELSE expires_at END
FROM refunded JOIN store_message AS m USING (id)
WHERE store_verification.id = m.verification_id;
DELETE FROM store_idempotency WHERE message_id IN (SELECT id FROM refunded);
DELETE FROM store_unconfirmed WHERE message_id IN (SELECT id FROM refunded);
DELETE FROM store_message WHERE id IN (SELECT id FROM refunded);
INSERT INTO answer VALUES (NEW.id, '{"ok":null}');
