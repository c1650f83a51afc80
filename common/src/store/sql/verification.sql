-- What became of a verification.
SELECT json_object('ok', (
    SELECT json_object(
        'id', v.id, 'account_id', v.account_id, 'purpose', v.purpose,
        'status', CASE WHEN v.approved_at IS NOT NULL THEN 'approved'
                       WHEN v.expires_at <= t.now THEN 'expired'
                       WHEN v.fails >= v.max_attempts THEN 'exhausted'
                       ELSE 'pending' END,
        'first_at', v.first_at, 'expires_at', v.expires_at, 'sends', v.sends,
        'attempts_left', max(v.max_attempts - v.fails, 0), 'approved_at', v.approved_at)
    FROM store_verification AS v,
         (SELECT coalesce(?1 ->> '$.now', CAST(unixepoch('subsec') * 1000 AS INTEGER)) AS now) AS t
    WHERE v.id = ?1 ->> '$.id' AND v.keep_until > t.now));
