-- What came of an attempt: the first result written stands.
if not epoch then return LOST end
local id, key = request.message_id, 'claim:' .. request.message_id
local c = load(key)
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
save(key, c)
local m = redis.call('HMGET', 'msg:' .. id, 'kept', 'idempotency')
local approved_at
if m[1] then
  -- What ended was surely published.
  redis.call('HSET', 'msg:' .. id, 'status', request.status, 'updated_at', int(now), 'attempts', request.attempts,
             request.finished and 'confirmed' or 'tried', 1)
  local kept = cmsgpack.unpack(m[1])
  local verification = kept.accepted.verification
  local v = verification and load('ver:' .. verification.id)
  approved_at = v and v.approved_at
  if request.refund then
    give_back(kept, false)
    -- Once: entries of the same time can't be told apart.
    kept.limits = '[]'
    redis.call('HSET', 'msg:' .. id, 'kept', cmsgpack.pack(kept))
  end
  if request.finished then answered(m[2]) end
end
if request.finished then count('done', request.lane, now, 1) end
return answer({ kind = 'written', approved_at = approved_at })
