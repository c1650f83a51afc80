-- Takes back what one entry counted.
DELETE FROM refunded;
INSERT INTO refunded
SELECT ?1 ->> '$.entry',
       json_group_array(json_object('key', value ->> '$.key', 'exact', value ->> '$.quota' <= 1000,
                                    'at', ?1 ->> '$.at', 'width', (value ->> '$.window_ms') / 60)),
       1
FROM json_each(?1, '$.limits');
SELECT '{"ok":null}';
