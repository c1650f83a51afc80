-- Beginnings are looked up by the lengths that exist: one step to the next length, however many bans share it.
CREATE INDEX store_ban_length ON store_ban (kind, length(value));
-- Bans that ended are purged without a look at those that didn't.
CREATE INDEX store_ban_until ON store_ban ("until") WHERE "until" <> 0;
