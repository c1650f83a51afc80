-- Takes back what one entry counted.
DELETE FROM refunded;
INSERT INTO refunded SELECT NEW.request ->> '$.entry', jsonb_extract(NEW.request, '$.limits'), NEW.request ->> '$.at', 1;
INSERT INTO answer VALUES (NEW.id, '{"ok":null}');
