-- What the writer's connection has beside the tables: the request's limits, and how full they are.

CREATE TEMP TABLE asked (
    idx INTEGER PRIMARY KEY, "key" TEXT, quota INTEGER, window_ms INTEGER, rank INTEGER, refund INTEGER,
    now INTEGER, exact INTEGER, width INTEGER
);
CREATE TEMP TABLE refunded (id TEXT, limits TEXT, whole INTEGER);
CREATE TEMP TABLE decision (
    now INTEGER, kind TEXT, idx INTEGER, wait_ms INTEGER, what TEXT, "until" INTEGER,
    reused TEXT, verification_id TEXT, message_id TEXT, left INTEGER, at INTEGER, phone TEXT, ip_bits TEXT
);

-- An entry counts while it is younger than the window; a bucket while any of it may be. `wait_ms` is the time
-- until one more passes.
CREATE TEMP VIEW entry_use AS
SELECT asked.idx,
       (SELECT count(*) FROM store_limit_entry AS e
        WHERE e."key" = asked."key" AND e."at" > asked.now - asked.window_ms) AS used,
       -- The quota-th newest: one more passes when it has left the window. (OFFSET takes no column.)
       coalesce((SELECT nth."at" + asked.window_ms - asked.now
        FROM (SELECT e."at", row_number() OVER (ORDER BY e."at" DESC) AS place FROM store_limit_entry AS e
              WHERE e."key" = asked."key" AND e."at" > asked.now - asked.window_ms) AS nth
        WHERE nth.place = asked.quota), 0) AS wait_ms
FROM asked WHERE exact;

CREATE TEMP VIEW bucket_use AS
SELECT asked.idx,
       coalesce((SELECT sum(b."count") FROM store_limit_bucket AS b
        WHERE b."key" = asked."key"
          AND b.bucket >= (asked.now - asked.window_ms) / asked.width), 0) AS used,
       coalesce((SELECT (max(b.bucket) + 1) * asked.width + asked.window_ms - asked.now
        FROM store_limit_bucket AS b
        WHERE b."key" = asked."key"
          AND b.bucket >= (asked.now - asked.window_ms) / asked.width
          AND (SELECT sum(newer."count") FROM store_limit_bucket AS newer
               WHERE newer."key" = asked."key" AND newer.bucket >= b.bucket) >= asked.quota), 0) AS wait_ms
FROM asked WHERE NOT exact;

CREATE TEMP VIEW limit_use AS
SELECT asked.*, used, wait_ms, used >= asked.quota AS "full"
FROM asked JOIN (SELECT * FROM entry_use UNION ALL SELECT * FROM bucket_use) USING (idx);

-- The states of the limits as an answer says them.
CREATE TEMP VIEW limit_answer AS
SELECT coalesce(json_group_array(json_object(
           'remaining', max(quota - used, 0), 'wait_ms', CASE WHEN "full" THEN wait_ms ELSE 0 END)
       ORDER BY idx), '[]') AS states
FROM limit_use;

-- The bans that hit the request.
CREATE TEMP VIEW ban_hit AS
SELECT 0 AS idx, 'phone' AS what, b."until" FROM decision, store_ban AS b
WHERE (b.kind = 'phone' AND b.value = decision.phone
       OR b.kind = 'phone_prefix' AND b.value IN (
           SELECT substr(decision.phone, 1, l.len)
           FROM (SELECT DISTINCT length(value) AS len FROM store_ban WHERE kind = 'phone_prefix') AS l))
  AND (b."until" = 0 OR b."until" > decision.now)
UNION ALL
SELECT 1, 'ip', b."until" FROM decision, store_ban AS b
WHERE b.kind = 'network' AND b.value IN (
          SELECT substr(decision.ip_bits, 1, l.len)
          FROM (SELECT DISTINCT length(value) AS len FROM store_ban WHERE kind = 'network') AS l)
  AND (b."until" = 0 OR b."until" > decision.now);

-- A row put here gives a message's entries back: all of them, or those that are to be refunded.
CREATE TEMP TRIGGER give_back AFTER INSERT ON refunded
BEGIN
    DELETE FROM store_limit_entry
    WHERE ("key", "at", entry) IN (
        SELECT l.value ->> 'key', l.value ->> 'at', NEW.id FROM json_each(NEW.limits) AS l
        WHERE l.value ->> 'exact' AND (NEW.whole OR l.value ->> 'refund'));
    UPDATE store_limit_bucket SET "count" = "count" - 1
    WHERE "count" > 0 AND ("key", bucket) IN (
        SELECT l.value ->> 'key', (l.value ->> 'at') / (l.value ->> 'width') FROM json_each(NEW.limits) AS l
        WHERE NOT l.value ->> 'exact' AND (NEW.whole OR l.value ->> 'refund'));
END;
