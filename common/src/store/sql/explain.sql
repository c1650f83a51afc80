-- How limits and bans stand.
SELECT CASE
    WHEN NOT EXISTS (SELECT 1 FROM store_epoch) THEN json('{"lost":true}')
    ELSE json_object('ok', json_object(
        'now', now,
        'limits', (SELECT json(coalesce(json_group_array(json_object(
                              'used', used, 'remaining', max(quota - used, 0),
                              'wait_ms', CASE WHEN "full" THEN wait_ms ELSE 0 END) ORDER BY idx), '[]'))
                   FROM limit_use),
        'bans', (SELECT json(coalesce(json_group_array(json_object(
                            'subject', json_object('kind', kind, 'value', value), 'until', "until") ORDER BY idx), '[]'))
                 FROM ban_hit)))
END
FROM decision;
