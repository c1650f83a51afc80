-- Marks a message whose confirm never came.
UPDATE store_message SET confirmed = 2 WHERE id = NEW.request ->> '$.messages[0]' AND confirmed = 0;
INSERT INTO answer VALUES (NEW.id, '{"ok":null}');
