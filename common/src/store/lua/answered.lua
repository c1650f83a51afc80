-- The publish of a message surely happened: its request's key is answered.
local function answered(idempotency)
  if not idempotency then return end
  local key = 'idem:' .. idempotency
  if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'done', 1) end
end
