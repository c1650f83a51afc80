-- An account's sandbox messages of the last day, newest first.
SELECT json_object('ok', coalesce(json_group_array(json_object(
    'message_id', message_id, 'at', "at", 'sealed', sealed) ORDER BY "at" DESC, message_id DESC), '[]'))
FROM store_sandbox
WHERE account_id = ?1 ->> '$.account_id'
  AND "at" > coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)) - 86400000;
