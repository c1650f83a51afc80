-- The current epoch.
SELECT coalesce((SELECT json_object('ok', epoch) FROM store_epoch), '{"lost":true}');
