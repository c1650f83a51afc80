-- The publish of a message surely happened: its request's key is answered, and nothing of it is in doubt.
local function answered(id, m)
  if m.idempotency ~= '' then
    local key = 'idem:' .. m.idempotency
    if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'done', 1) end
  end
  if redis.call('GET', 'unconfirmed:' .. m.subject) == id then redis.call('DEL', 'unconfirmed:' .. m.subject) end
end
local function answering(id)
  local fields = redis.call('HMGET', 'msg:' .. id, 'idempotency', 'subject')
  if fields[2] then return { idempotency = fields[1], subject = fields[2] } end
end
