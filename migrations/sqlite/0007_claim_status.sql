-- The message's status with the last result of its claim. It outlives the message's own record: whether an older message
-- of the same verification gives way to this one depends on it.
ALTER TABLE store_claim ADD COLUMN status TEXT NOT NULL DEFAULT '';
