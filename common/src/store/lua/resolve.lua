-- What came of an attempt: the first result written stands.
if not epoch then return LOST end
local id, key = request.message_id, 'claim:' .. request.message_id
local c = hash(key)
if c then
  local g, a = num(c.generation), num(c.attempt)
  if g > request.generation or (g == request.generation and a > request.attempt) then
    return answer({ kind = 'stale' })
  end
  if g == request.generation and a == request.attempt and c.state == 'resolved' then
    return answer({ kind = 'already', resolution = c.resolution })
  end
end
redis.call('HSET', key, 'generation', int(request.generation), 'attempt', int(request.attempt), 'state', 'resolved',
           'resolution', request.resolution)
if not c then
  redis.call('HSET', key, 'owner', '', 'lease_until', 0, 'claims', 0, 'called_at', 0, 'provider', '')
  keep(key, now)
end
local m = hash('msg:' .. id)
local approved_at
if m then
  redis.call('HSET', 'msg:' .. id, 'status', request.status, 'updated_at', int(now))
  if #request.attempts > 0 then redis.call('HSET', 'msg:' .. id, 'attempts', cjson.encode(request.attempts)) end
  if m.verification_id ~= '' then approved_at = num(redis.call('HGET', 'ver:' .. m.verification_id, 'approved_at')) end
  if request.refund then give_back(id, m.limits, false) end
  if request.finished then answered(id, m) end
end
if request.finished then count('done', request.lane, now, 1) end
return answer({ kind = 'written', approved_at = approved_at })
