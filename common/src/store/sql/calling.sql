-- The provider is about to be called: only by whoever holds the claim.
UPDATE store_message SET status = 'sending'
WHERE id = (SELECT message_id FROM store_claim
            WHERE message_id = NEW.request ->> '$.message_id' AND generation = NEW.request ->> '$.generation'
              AND attempt = NEW.request ->> '$.attempt' AND owner = NEW.request ->> '$.owner'
              AND state IN ('claimed', 'calling'));
UPDATE store_claim
SET state = 'calling', provider = NEW.request ->> '$.provider',
    called_at = coalesce(NEW.request ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    lease_until = coalesce(NEW.request ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER))
                  + (NEW.request ->> '$.lease_ms')
WHERE message_id = NEW.request ->> '$.message_id' AND generation = NEW.request ->> '$.generation'
  AND attempt = NEW.request ->> '$.attempt' AND owner = NEW.request ->> '$.owner' AND state IN ('claimed', 'calling');
INSERT INTO answer SELECT NEW.id, iif(changes() > 0, '{"ok":true}', '{"ok":false}');
