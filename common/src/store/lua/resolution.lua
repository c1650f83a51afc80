-- What came of a resolved claim's attempt: the latest one of its message. Nothing once its row is committed.
local function resolution(id, claim)
  return redis.call('HGET', 'msg:' .. id, 'resolution') or claim.resolution or ''
end
