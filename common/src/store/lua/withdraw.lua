-- Takes back exactly what one message's admission counted.
if not epoch then return LOST end
local id = request.messages[1]
local m = hash('msg:' .. id)
if m and m.status == 'accepted' then
  give_back(id, m.limits, true)
  count('accepted', m.lane, num(m.accepted_at), -1)
  local key = 'ver:' .. m.verification_id
  local v = m.verification_id ~= '' and hash(key)
  if v and m.previous_expiry == '' then
    redis.call('DEL', key)
    if redis.call('GET', 'live:' .. v.subject) == v.id then redis.call('DEL', 'live:' .. v.subject) end
  elseif v then
    redis.call('HINCRBY', key, 'sends', -1)
    if v.last_message == id then redis.call('HSET', key, 'expires_at', m.previous_expiry) end
  end
  if m.idempotency ~= '' then redis.call('DEL', 'idem:' .. m.idempotency) end
  for met_by in string.gmatch(m.met_by or '', '%S+') do
    if redis.call('HGET', 'idem:' .. met_by, 'message_id') == id then redis.call('DEL', 'idem:' .. met_by) end
  end
  if redis.call('GET', 'unconfirmed:' .. m.subject) == id then redis.call('DEL', 'unconfirmed:' .. m.subject) end
  redis.call('DEL', 'msg:' .. id)
end
return answer(cjson.null)
