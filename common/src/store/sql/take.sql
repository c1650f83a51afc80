-- One entry in each limit, or none.
UPDATE decision SET (kind, idx, wait_ms, what, "until") = (
    SELECT kind, idx, wait_ms, what, "until" FROM refusal ORDER BY rank, idx LIMIT 1
) WHERE EXISTS (SELECT 1 FROM store_epoch);
UPDATE decision SET kind = 'taken' WHERE kind IS NULL AND EXISTS (SELECT 1 FROM store_epoch);
INSERT OR IGNORE INTO store_limit_entry
SELECT asked."key", asked.now, ?1 ->> '$.entry', asked.now + asked.window_ms FROM asked, decision
WHERE kind = 'taken' AND exact;
INSERT INTO store_limit_bucket
SELECT asked."key", asked.now / width, 1, asked.now + asked.window_ms + 2 * width FROM asked, decision
WHERE kind = 'taken' AND NOT exact
ON CONFLICT DO UPDATE SET "count" = "count" + 1;

SELECT CASE
    WHEN kind IS NULL THEN json('{"lost":true}')
    ELSE json_object('ok', json(CASE kind
        WHEN 'limited' THEN json_object('kind', kind, 'index', idx, 'wait_ms', wait_ms, 'limits', json(states))
        WHEN 'banned' THEN json_object('kind', kind, 'what', what, 'until', "until", 'limits', json(states))
        ELSE json_object('kind', kind, 'at', now, 'limits', json(states))
    END))
END
FROM decision, limit_answer;
