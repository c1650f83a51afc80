-- Begins a guarded operation: the clock, and the request's limits.
DELETE FROM strike;
DELETE FROM struck;
DELETE FROM decision;
INSERT INTO decision (now, phone, ip_bits)
SELECT coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)),
       ?1 ->> '$.ban_check.phone', ?1 ->> '$.ban_check.ip_bits';
DELETE FROM asked;
INSERT INTO asked
SELECT l.key, l.value ->> 'key', l.value ->> 'quota', l.value ->> 'window_ms', l.value ->> 'rank',
       coalesce(l.value ->> 'refund', 0), decision.now, l.value ->> 'quota' <= 1000, (l.value ->> 'window_ms') / 60
FROM decision, json_each(?1, '$.limits') AS l;
