-- How limits and bans stand.
INSERT INTO answer
SELECT NEW.id, CASE
    WHEN NOT EXISTS (SELECT 1 FROM store_epoch) THEN '{"lost":true}'
    ELSE json_object('ok', jsonb_object(
        'now', now,
        'limits', (SELECT jsonb(jsonb_group_array(jsonb_object(
                              'used', used, 'remaining', max(quota - used, 0), 'wait_ms', wait_ms) ORDER BY idx))
                   FROM limit_use),
        'bans', (SELECT jsonb(jsonb_group_array(jsonb_object(
                            'subject', jsonb_object('kind', kind, 'value', value), 'until', "until") ORDER BY idx))
                 FROM ban_hit)))
END
FROM decision;
