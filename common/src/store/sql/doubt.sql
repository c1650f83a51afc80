-- Marks a message whose confirm never came.
UPDATE store_message SET confirmed = 2 WHERE id = ?1 ->> '$.messages[0]' AND confirmed = 0;
SELECT '{"ok":null}';
