-- One entry in each limit, or none.
UPDATE decision SET (kind, idx, wait_ms, what, "until", counted) = (
    SELECT kind, idx, wait_ms, what, "until", kind = 'taken' FROM (
        SELECT * FROM refusal
        UNION ALL SELECT 9, 0, 'taken', NULL, NULL, NULL
        ORDER BY rank, idx LIMIT 1
    )
) WHERE EXISTS (SELECT 1 FROM store_epoch);
INSERT OR IGNORE INTO store_limit_entry
SELECT asked."key", asked.now, NEW.request ->> '$.entry', asked.now + asked.window_ms
FROM decision CROSS JOIN asked
WHERE kind = 'taken' AND exact;
INSERT INTO store_limit_bucket
SELECT asked."key", asked.now / width, 1, asked.now + asked.window_ms + 2 * width FROM decision CROSS JOIN asked
WHERE kind = 'taken' AND NOT exact
ON CONFLICT DO UPDATE SET "count" = "count" + 1;

INSERT INTO answer
SELECT NEW.id, CASE
    WHEN kind IS NULL THEN '{"lost":true}'
    ELSE json_object('ok', CASE kind
        WHEN 'limited' THEN jsonb_object('kind', kind, 'index', idx, 'wait_ms', wait_ms, 'limits', (SELECT states FROM limit_answer))
        WHEN 'banned' THEN jsonb_object('kind', kind, 'what', what, 'until', "until", 'limits', (SELECT states FROM limit_answer))
        ELSE jsonb_object('kind', kind, 'at', now, 'limits', (SELECT states FROM limit_answer))
    END)
END
FROM decision;
