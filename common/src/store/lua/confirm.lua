-- Marks messages whose publish was confirmed.
if not epoch then return LOST end
for _, id in ipairs(request.messages) do
  local m = redis.call('HMGET', 'msg:' .. id, 'confirmed', 'idempotency')
  if m[1] then
    redis.call('HSET', 'msg:' .. id, 'confirmed', 1)
    answered(m[2])
  end
end
return answer(nil)
