-- What came of an attempt: the first result written stands.
if not epoch then return LOST end
local id = request.message_id
local c = load('claim:' .. id)
if c then
  local newer = c.generation > request.generation
    or (c.generation == request.generation and c.attempt > request.attempt)
  if newer then return answer({ kind = 'stale' }) end
  if c.generation == request.generation and c.attempt == request.attempt and c.state == 'resolved' then
    return answer({ kind = 'already', resolution = c.resolution or '' })
  end
else
  c = { owner = '', lease_until = 0, claims = 0, keep_until = now }
end
c.generation, c.attempt, c.state, c.resolution = request.generation, request.attempt, 'resolved', request.resolution
-- What GET shows of the message, too: so its own record needn't be written again.
c.status, c.updated_at, c.attempts = request.status, now, request.attempts
save('claim:' .. id, c)
local m = redis.call('HMGET', 'msg:' .. id, 'confirmed', 'idempotency')
if m[1] and request.refund then
  local kept = unpack_kept(redis.call('HGET', 'msg:' .. id, 'kept'))
  give_back(id, kept, false)
  -- Once: entries of the same time can't be told apart.
  kept.limits = '[]'
  redis.call('HSET', 'msg:' .. id, 'kept', pack_kept(kept))
end
if m[1] and request.finished then
  -- What ended was surely published.
  if m[1] ~= '1' then redis.call('HSET', 'msg:' .. id, 'confirmed', 1) end
  answered(m[2])
end
if request.finished then count('done', request.lane, now, 1) end
return answer({ kind = 'written', approved_at = request.verification and approval(request.verification) or nil })
