-- What the writer's connection has beside the tables: the request's limits, and how full they are.

CREATE TEMP TABLE asked (
    idx INTEGER PRIMARY KEY, "key" TEXT, quota INTEGER, window_ms INTEGER, rank INTEGER, refund INTEGER,
    now INTEGER, exact INTEGER, width INTEGER
);
CREATE TEMP TABLE refunded (id TEXT, limits TEXT, whole INTEGER);
CREATE TEMP TABLE decision (
    now INTEGER, kind TEXT, rank INTEGER, idx INTEGER, wait_ms INTEGER, what TEXT, "until" INTEGER,
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

-- How long the beginnings are that are banned: from each length to the next by `store_ban_length`.
CREATE TEMP VIEW ban_length AS
WITH RECURSIVE lengths (kind, len) AS (
    SELECT kinds.kind, (SELECT min(length(b.value)) FROM store_ban AS b WHERE b.kind = kinds.kind)
    FROM (SELECT 'phone_prefix' AS kind UNION ALL SELECT 'network') AS kinds
    UNION ALL
    SELECT l.kind, (SELECT min(length(b.value)) FROM store_ban AS b WHERE b.kind = l.kind AND length(b.value) > l.len)
    FROM lengths AS l WHERE l.len IS NOT NULL
)
SELECT kind, len FROM lengths WHERE len IS NOT NULL;

-- The bans in force that hit the request: the phone's before the address's, the widest first. The order of the joins
-- is fixed, so that bans are looked up by what would hit, and never gone through.
CREATE TEMP VIEW ban_hit AS
SELECT 0 AS idx, 'phone' AS what, b.kind, b.value, b."until"
FROM decision CROSS JOIN store_ban AS b
WHERE b.kind = 'phone' AND b.value = decision.phone AND (b."until" = 0 OR b."until" > decision.now)
UNION ALL
SELECT iif(l.kind = 'network', 100, 0) + l.len, iif(l.kind = 'network', 'ip', 'phone'), b.kind, b.value, b."until"
FROM decision CROSS JOIN ban_length AS l CROSS JOIN store_ban AS b
WHERE b.kind = l.kind AND b.value = substr(iif(l.kind = 'network', decision.ip_bits, decision.phone), 1, l.len)
  AND length(b.value) = l.len
  AND (b."until" = 0 OR b."until" > decision.now);

-- Whatever refuses the request, by its limits and by bans.
CREATE TEMP VIEW refusal AS
SELECT rank, idx, 'limited' AS kind, wait_ms, NULL AS what, NULL AS "until" FROM limit_use WHERE "full"
UNION ALL
SELECT 4, idx, 'banned', NULL, what, "until" FROM ban_hit;

-- A row put into `strike` counts one refusal or failure against a phone or an address. The one that makes the window's
-- count reach the threshold empties the window and bans the subject, unless it is banned for longer; 0 is for good.
CREATE TEMP TABLE strike (
    idx INTEGER PRIMARY KEY, "key" TEXT, threshold INTEGER, window_ms INTEGER, ban_ms INTEGER, kind TEXT, value TEXT,
    now INTEGER, entry TEXT
);
CREATE TEMP TABLE struck (idx INTEGER PRIMARY KEY, kind TEXT, value TEXT, "until" INTEGER, UNIQUE (kind, value));
CREATE TEMP TRIGGER strike AFTER INSERT ON strike
BEGIN
    INSERT OR IGNORE INTO store_limit_entry VALUES (NEW."key", NEW.now, NEW.entry, NEW.now + NEW.window_ms);
    INSERT INTO struck (kind, value, "until")
    SELECT NEW.kind, NEW.value, NEW.now + NEW.ban_ms
    WHERE (SELECT count(*) FROM store_limit_entry WHERE "key" = NEW."key" AND "at" > NEW.now - NEW.window_ms)
              >= NEW.threshold
      AND NOT EXISTS (SELECT 1 FROM store_ban AS b
                      WHERE b.kind = NEW.kind AND b.value = NEW.value
                        AND (b."until" = 0 OR b."until" >= NEW.now + NEW.ban_ms))
    ON CONFLICT (kind, value) DO UPDATE SET "until" = excluded."until";
    INSERT OR REPLACE INTO store_ban
    SELECT kind, value, "until" FROM struck WHERE kind = NEW.kind AND value = NEW.value;
    DELETE FROM store_limit_entry
    WHERE "key" = NEW."key"
      AND (SELECT count(*) FROM store_limit_entry WHERE "key" = NEW."key" AND "at" > NEW.now - NEW.window_ms)
              >= NEW.threshold;
END;

-- The bans that the request made, as an answer says them.
CREATE TEMP VIEW struck_answer AS
SELECT coalesce(json_group_array(json_object(
           'subject', json_object('kind', kind, 'value', value), 'until', "until") ORDER BY idx), '[]') AS struck
FROM struck;

-- A row put here gives entries back, a message's or another's: all of them, or those that are to be refunded.
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
