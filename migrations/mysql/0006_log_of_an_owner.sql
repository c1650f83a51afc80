-- Whose a message is says the account and whether a test key sent it: with both before the time, a page of either is read
-- in its order, however many messages the other has, and whatever the planner knows of the table.

DROP INDEX sms_log_account ON sms_log;
CREATE INDEX sms_log_account ON sms_log (account_id, test, create_time, id);
