-- A job of a message that was just admitted.
INSERT INTO queue_job (queue, message_id, trace, body, available_at)
SELECT NEW.request ->> '$.queue', NEW.request ->> '$.message_id', NEW.request ->> '$.trace',
       CAST(NEW.request ->> '$.body' AS BLOB), CAST(unixepoch('subsec') * 1000 AS INTEGER);
INSERT INTO answer VALUES (NEW.id, '');
