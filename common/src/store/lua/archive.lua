-- Rows of these messages are committed: what stays is what drops late copies.
if not epoch then return LOST end
for _, id in ipairs(request.messages) do
  local idempotency = redis.call('HGET', 'msg:' .. id, 'idempotency')
  if idempotency then
    answered(idempotency)
    redis.call('DEL', 'msg:' .. id)
  end
  local key = 'claim:' .. id
  local c = load(key)
  if c and c.state == 'resolved' then
    c.resolution, c.owner, c.provider, c.called_at, c.attempts = nil, nil, nil, nil, nil
    save(key, c)
  end
end
return answer(nil)
