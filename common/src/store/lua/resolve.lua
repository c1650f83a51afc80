-- What came of an attempt: the first result written stands.
if not epoch then return LOST end
local id = request.message_id
local c = load('claim:' .. id)
if c then
  local newer = c.generation > request.generation
    or (c.generation == request.generation and c.attempt > request.attempt)
  if newer then return answer({ kind = 'stale' }) end
  if c.generation == request.generation and c.attempt == request.attempt and c.state == 'resolved' then
    return answer({ kind = 'already', resolution = resolution(id, c) })
  end
else
  c = { lease_until = 0, claims = 0, keep_until = now }
end
c.generation, c.attempt, c.state, c.owner, c.provider, c.called_at = request.generation, request.attempt, 'resolved', nil
c.status, c.updated_at, c.resolution = request.status, now, nil
local m = redis.call('HMGET', 'msg:' .. id, 'confirmed', 'idempotency')
if m[1] then
  -- With the message's record it goes when the row is committed; and what ended was surely published.
  -- Its state too: the record outlives the claim.
  redis.call('HSET', 'msg:' .. id, 'resolution', request.resolution, 'attempts', request.attempts,
             'confirmed', request.finished and '1' or m[1], 'state', request.status .. ' ' .. int(now))
  if request.finished then answered(m[2]) end
else
  c.resolution = request.resolution
end
save('claim:' .. id, c)
if m[1] and request.refund then
  local kept = unpack_kept(redis.call('HGET', 'msg:' .. id, 'kept'))
  give_back(kept.limits, kept.accepted_at, id, false)
  -- Once: entries of the same time can't be told apart.
  kept.limits = { {} }
  redis.call('HSET', 'msg:' .. id, 'kept', pack_kept(kept))
  -- A newer send of the verification took its place: it is none of those that the verification may have.
  local v = request.status == 'superseded' and request.verification and load_verification(request.verification)
  if v and v.sends > 1 then
    v.sends = v.sends - 1
    save_verification(v)
  end
end
if request.finished then count('done', request.lane, now, 1) end
return answer({ kind = 'written', approved_at = request.verification and approval(request.verification) or nil })
