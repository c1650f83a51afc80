-- Whose a message is says the account and whether a test key sent it. With both before the time a page is read in the
-- index's order, however many messages the account has beside, and whatever the planner knows of the table.

DROP INDEX sms_log_account ON sms_log;
CREATE INDEX sms_log_account ON sms_log (account_id, test, create_time, id);
