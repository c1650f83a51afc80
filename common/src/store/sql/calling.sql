-- The provider is about to be called: only by whoever holds the claim.
UPDATE store_claim
SET state = 'calling', provider = ?1 ->> '$.provider', called_at = t.now, lease_until = t.now + (?1 ->> '$.lease_ms')
FROM (SELECT coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)) AS now) AS t
WHERE message_id = ?1 ->> '$.message_id' AND generation = ?1 ->> '$.generation' AND attempt = ?1 ->> '$.attempt'
  AND owner = ?1 ->> '$.owner' AND state IN ('claimed', 'calling');
UPDATE store_message SET status = 'sending' WHERE changes() > 0 AND id = ?1 ->> '$.message_id';
SELECT json_object('ok', json(iif(EXISTS (
    SELECT 1 FROM store_claim
    WHERE message_id = ?1 ->> '$.message_id' AND generation = ?1 ->> '$.generation' AND attempt = ?1 ->> '$.attempt'
      AND owner = ?1 ->> '$.owner' AND state = 'calling'), 'true', 'false')));
