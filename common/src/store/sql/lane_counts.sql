-- Accepted and done in the last minute.
SELECT json_object('ok', json_object(
    'accepted', coalesce(sum("count") FILTER (WHERE what = 'accepted'), 0),
    'done', coalesce(sum("count") FILTER (WHERE what = 'done'), 0)))
FROM store_count
WHERE lane = ?1 ->> '$.lane'
  AND bucket > coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)) / 10000 - 6;
