-- A message on its way.
SELECT json_object('ok', (
    SELECT json_object(
        'account_id', account_id, 'lane', lane, 'status', iif(state IN ('calling', 'interrupted'), 'sending', m.status),
        'accepted_at', accepted_at,
        'updated_at', updated_at, 'verification_id', verification_id, 'about', json(about), 'attempts', json(attempts))
    FROM store_message AS m LEFT JOIN store_claim ON message_id = m.id WHERE m.id = ?1 ->> '$.messages[0]'));
