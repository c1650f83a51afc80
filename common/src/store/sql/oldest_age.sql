-- The time back over which the counts of accepted messages add up to what is ready.
WITH
t AS (SELECT coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)) AS now),
back AS (
    SELECT bucket, sum("count") OVER (ORDER BY bucket DESC) AS total FROM store_count, t
    WHERE what = 'accepted' AND lane = ?1 ->> '$.lane' AND bucket > t.now / 10000 - 9000
),
reached AS (SELECT max(bucket) AS bucket FROM back WHERE total >= ?1 ->> '$.ready')
SELECT json_object('ok', max(0, t.now - 10000 * coalesce(
    (SELECT bucket FROM reached), (SELECT min(bucket) FROM back), t.now / 10000)))
FROM t;
