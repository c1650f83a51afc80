-- Whether a change is a ban so wide that it was set by force: 0, 1.
ALTER TABLE sms_blacklist_change ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
