-- What a check derives the code from.
SELECT json_object('ok', (
    SELECT json_object('id', v.id, 'key_id', v.key_id, 'digits', v.digits, 'subject', v.subject)
    FROM store_verification AS v
    WHERE v.account_id = ?1 ->> '$.account_id'
      AND v.id = coalesce(?1 ->> '$.which.id', (SELECT id FROM store_live WHERE subject = ?1 ->> '$.which.subject'))));
