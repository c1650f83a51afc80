-- Begins a guarded operation: the clock, the request's limits, and how full they are.
DELETE FROM strike;
DELETE FROM struck;
DELETE FROM decision;
INSERT INTO decision (now, phone, ip_bits, account_phone)
SELECT coalesce(NEW.request ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)),
       NEW.request ->> '$.ban_check.phone', NEW.request ->> '$.ban_check.ip_bits',
       NEW.request ->> '$.ban_check.account_phone';
DELETE FROM asked;
INSERT INTO asked
SELECT l.key, l.value ->> 'key', l.value ->> 'quota', l.value ->> 'window_ms', l.value ->> 'rank', decision.now,
       l.value ->> 'quota' <= 1000, (l.value ->> 'window_ms') / 60, 0
FROM decision CROSS JOIN jsonb_each(NEW.request, '$.limits') AS l;
-- An entry counts while it is younger than the window; a bucket while any of it may be.
UPDATE asked
SET used = CASE
    WHEN exact THEN (SELECT count(*) FROM store_limit_entry AS e
                     WHERE e."key" = asked."key" AND e."at" > now - window_ms)
    ELSE (SELECT coalesce(sum(b."count"), 0) FROM store_limit_bucket AS b
          WHERE b."key" = asked."key" AND b.bucket >= (now - window_ms) / width)
END;
