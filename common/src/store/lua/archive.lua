-- Rows of these messages are committed: what stays is what drops late copies.
if not epoch then return LOST end
for _, id in ipairs(request.messages) do
  local m = answering(id)
  if m then answered(id, m) end
  redis.call('DEL', 'msg:' .. id)
  if redis.call('HGET', 'claim:' .. id, 'state') == 'resolved' then
    redis.call('HSET', 'claim:' .. id, 'resolution', '')
    redis.call('HDEL', 'claim:' .. id, 'owner', 'provider', 'called_at')
  end
end
return answer(cjson.null)
