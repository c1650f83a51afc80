-- The id that a provider gave a message may repeat what must not be kept, and is redacted then; a keyed hash of it matches
-- receipts. Only of redacted ids: another is matched as it is, also once the secret of its time is gone.
ALTER TABLE sms_log ADD COLUMN provider_message_hash TEXT;
ALTER TABLE sms_attempt ADD COLUMN provider_message_hash TEXT;
DROP VIEW sms_log_readable;
CREATE VIEW sms_log_readable AS
SELECT id, account_id, verification_id, key_id, type, phone_number, code, purpose, template_code, client_ip,
       provider, provider_message_id, attempts, status, error_code, error_message, response,
       to_timestamp(create_time / 1000.0) AT TIME ZONE 'UTC' AS create_time,
       to_timestamp(update_time / 1000.0) AT TIME ZONE 'UTC' AS update_time,
       to_timestamp(verify_time / 1000.0) AT TIME ZONE 'UTC' AS verify_time,
       test, provider_message_hash
FROM sms_log;
