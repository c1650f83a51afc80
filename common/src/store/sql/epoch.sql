-- The current epoch, and the clock.
SELECT coalesce(
    (SELECT json_object('ok', json_object('epoch', epoch, 'now', CAST(unixepoch('subsec') * 1000 AS INTEGER)))
     FROM store_epoch),
    '{"lost":true}');
