-- The id that a provider gave a message may repeat what must not be kept, and is redacted then; a keyed hash of it matches
-- receipts. Only of redacted ids: another is matched as it is, also once the secret of its time is gone.
ALTER TABLE sms_log ADD COLUMN provider_message_hash VARCHAR(128);
ALTER TABLE sms_attempt ADD COLUMN provider_message_hash VARCHAR(128);
DROP VIEW sms_log_readable;
CREATE SQL SECURITY INVOKER VIEW sms_log_readable AS
SELECT id, account_id, verification_id, key_id, type, phone_number, code, purpose, template_code, client_ip,
       provider, provider_message_id, attempts, status, error_code, error_message, response,
       TIMESTAMP '1970-01-01 00:00:00' + INTERVAL create_time * 1000 MICROSECOND AS create_time,
       TIMESTAMP '1970-01-01 00:00:00' + INTERVAL update_time * 1000 MICROSECOND AS update_time,
       TIMESTAMP '1970-01-01 00:00:00' + INTERVAL verify_time * 1000 MICROSECOND AS verify_time,
       test, provider_message_hash
FROM sms_log;
