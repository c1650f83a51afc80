-- Marks messages whose publish was confirmed.
if not epoch then return LOST end
for _, id in ipairs(request.messages) do
  local idempotency = redis.call('HGET', 'msg:' .. id, 'idempotency')
  if idempotency then
    redis.call('HSET', 'msg:' .. id, 'confirmed', 1)
    answered(idempotency)
  end
end
return answer(nil)
