-- What the writer's connection has beside the tables: the answers, a decision under way, the request's limits and how
-- full they are.

CREATE TEMP TABLE answer (id INTEGER PRIMARY KEY, answer TEXT);
CREATE TEMP TABLE decision (
    now INTEGER, kind TEXT, rank INTEGER, idx INTEGER, wait_ms INTEGER, what TEXT, "until" INTEGER,
    counted INTEGER NOT NULL DEFAULT 0, reused TEXT, previous_expiry INTEGER, verification_id TEXT, message_id TEXT,
    left INTEGER, at INTEGER, phone TEXT, ip_bits TEXT, account_phone TEXT
);
CREATE TEMP TABLE asked (
    idx INTEGER PRIMARY KEY, "key" TEXT, quota INTEGER, window_ms INTEGER, rank INTEGER, now INTEGER, exact INTEGER,
    width INTEGER, used INTEGER
);
CREATE TEMP TABLE refunded (id TEXT, limits BLOB, at INTEGER, whole INTEGER);

-- `used` was looked up before the request itself was counted. `wait_ms` is the time until one more passes: when the
-- quota-th newest has left the window. (OFFSET takes no column.)
CREATE TEMP VIEW limit_use AS
SELECT idx, rank, quota, used_now AS used, used_now >= quota AS "full",
       CASE
           WHEN used_now < quota THEN 0
           WHEN exact THEN coalesce((
               SELECT nth."at" + window_ms - l.now
               FROM (SELECT e."at", row_number() OVER (ORDER BY e."at" DESC) AS place FROM store_limit_entry AS e
                     WHERE e."key" = l."key" AND e."at" > l.now - window_ms) AS nth
               WHERE nth.place = quota), 0)
           ELSE coalesce((
               SELECT (max(b.bucket) + 1) * width + window_ms - l.now
               FROM store_limit_bucket AS b
               WHERE b."key" = l."key" AND b.bucket >= (l.now - window_ms) / width
                 AND (SELECT sum(newer."count") FROM store_limit_bucket AS newer
                      WHERE newer."key" = l."key" AND newer.bucket >= b.bucket) >= quota), 0)
       END AS wait_ms
FROM (SELECT asked.*, asked.used + counted AS used_now FROM decision CROSS JOIN asked) AS l;

-- The states of the limits as an answer says them, in the order of `asked`'s key, in which it is gone through. (Of no
-- rows SQLite makes a text, of others JSONB: hence the outer jsonb.)
CREATE TEMP VIEW limit_answer AS
SELECT jsonb(jsonb_group_array(jsonb_object('remaining', max(quota - used, 0), 'wait_ms', wait_ms))) AS states
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
-- is fixed, so that bans are looked up by what would hit, and never gone through; lengths only where a beginning is banned.
CREATE TEMP VIEW ban_hit AS
SELECT 0 AS idx, 'phone' AS what, b.kind, b.value, b."until"
FROM decision CROSS JOIN store_ban AS b
WHERE b.kind = 'phone' AND b.value = decision.phone AND (b."until" = 0 OR b."until" > decision.now)
UNION ALL
SELECT 50, 'phone', b.kind, b.value, b."until"
FROM decision CROSS JOIN store_ban AS b
WHERE b.kind = 'account_phone' AND b.value = decision.account_phone AND (b."until" = 0 OR b."until" > decision.now)
UNION ALL
SELECT iif(l.kind = 'network', 100, 0) + l.len, iif(l.kind = 'network', 'ip', 'phone'), b.kind, b.value, b."until"
FROM (SELECT 1 FROM store_ban WHERE kind IN ('network', 'phone_prefix') LIMIT 1) CROSS JOIN decision
CROSS JOIN ban_length AS l CROSS JOIN store_ban AS b
WHERE b.kind = l.kind AND b.value = substr(iif(l.kind = 'network', decision.ip_bits, decision.phone), 1, l.len)
  AND length(b.value) = l.len
  AND (b."until" = 0 OR b."until" > decision.now);

-- Whatever refuses the request, by its limits and by bans.
CREATE TEMP VIEW refusal AS
SELECT rank, idx, 'limited' AS kind, wait_ms, NULL AS what, NULL AS "until" FROM limit_use WHERE "full"
UNION ALL
SELECT 4, idx, 'banned', NULL, what, "until" FROM ban_hit;

-- A row put into `strike` counts one refusal or failure against its subject: an entry that the window holds is moved to
-- now, and the window keeps its newest `threshold` entries, since older ones decide nothing. The same for the accounts that
-- the failures are of, where the ban needs some. What makes a window reach its threshold empties it and bans the subject,
-- unless it is banned for longer; 0 is for good.
CREATE TEMP TABLE strike (
    idx INTEGER PRIMARY KEY, "key" TEXT, threshold INTEGER, window_ms INTEGER, ban_ms INTEGER, kind TEXT, value TEXT,
    now INTEGER, entry TEXT, account_id TEXT, min_accounts INTEGER, reached INTEGER
);
CREATE TEMP TABLE window_entry ("key" TEXT, entry TEXT, "most" INTEGER, window_ms INTEGER, now INTEGER);
CREATE TEMP TRIGGER window_entry AFTER INSERT ON window_entry
BEGIN
    DELETE FROM store_limit_entry
    WHERE "key" = NEW."key" AND ("at" <= NEW.now - NEW.window_ms OR entry = NEW.entry);
    INSERT INTO store_limit_entry VALUES (NEW."key", NEW.now, NEW.entry, NEW.now + NEW.window_ms);
    -- There is one too many at the most.
    DELETE FROM store_limit_entry
    WHERE "key" = NEW."key"
      AND ("at", entry) = (SELECT "at", entry FROM store_limit_entry WHERE "key" = NEW."key" ORDER BY "at", entry LIMIT 1)
      AND (SELECT count(*) FROM store_limit_entry WHERE "key" = NEW."key") > NEW."most";
    DELETE FROM window_entry;
END;
CREATE TEMP TABLE struck (idx INTEGER PRIMARY KEY, kind TEXT, value TEXT, "until" INTEGER, UNIQUE (kind, value));
CREATE TEMP TRIGGER strike AFTER INSERT ON strike
BEGIN
    INSERT INTO window_entry VALUES (NEW."key", NEW.entry, NEW.threshold, NEW.window_ms, NEW.now);
    INSERT INTO window_entry
    SELECT NEW."key" || ':accounts', NEW.account_id, NEW.min_accounts, NEW.window_ms, NEW.now
    WHERE NEW.account_id IS NOT NULL;
    UPDATE strike
    SET reached = (SELECT count(*) FROM store_limit_entry WHERE "key" = NEW."key") >= NEW.threshold
              AND (SELECT count(*) FROM store_limit_entry WHERE "key" = NEW."key" || ':accounts')
                  >= coalesce(NEW.min_accounts, 0)
    WHERE idx = NEW.idx;
    INSERT INTO struck (kind, value, "until")
    SELECT kind, value, now + ban_ms FROM strike AS s
    WHERE s.idx = NEW.idx AND s.reached
      AND NOT EXISTS (SELECT 1 FROM store_ban AS b
                      WHERE b.kind = s.kind AND b.value = s.value AND (b."until" = 0 OR b."until" >= s.now + s.ban_ms))
    ON CONFLICT (kind, value) DO UPDATE SET "until" = excluded."until";
    INSERT OR REPLACE INTO store_ban
    SELECT kind, value, "until" FROM struck WHERE kind = NEW.kind AND value = NEW.value;
    DELETE FROM store_limit_entry
    WHERE "key" IN (NEW."key", NEW."key" || ':accounts') AND (SELECT reached FROM strike WHERE idx = NEW.idx);
END;

-- The bans that the request made, as an answer says them.
CREATE TEMP VIEW struck_answer AS
SELECT jsonb(jsonb_group_array(jsonb_object(
           'subject', jsonb_object('kind', kind, 'value', value), 'until', "until") ORDER BY idx)) AS struck
FROM struck;

-- A row put here gives back what was counted at that time, a message's entries or another's: in all limits, or in those
-- that are to be refunded.
CREATE TEMP TRIGGER give_back AFTER INSERT ON refunded
BEGIN
    DELETE FROM store_limit_entry
    WHERE ("key", "at", entry) IN (
        SELECT l.value ->> 'key', NEW.at, NEW.id FROM jsonb_each(NEW.limits) AS l
        WHERE l.value ->> 'quota' <= 1000 AND (NEW.whole OR l.value ->> 'phone' IS NOT NULL));
    UPDATE store_limit_bucket SET "count" = "count" - 1
    WHERE "count" > 0 AND ("key", bucket) IN (
        SELECT l.value ->> 'key', NEW.at / ((l.value ->> 'window_ms') / 60) FROM jsonb_each(NEW.limits) AS l
        WHERE l.value ->> 'quota' > 1000 AND (NEW.whole OR l.value ->> 'phone' IS NOT NULL));
END;
