-- Takes a job to work on, and writes down the call of a provider that follows at once.
if not epoch then return LOST end
local id = request.message_id
local verification = request.verification and request.verification[1]
local progress
if verification then
  progress = load_progress(verification)
  if not progress then
    local v = cjson.decode(request.verification[2])
    v.fails, v.last_message, v.keep_until, v.given = 0, id, v.expires_at + v.remember_ms, request.verification[2]
    if v.keep_until > now then
      save_verification(v)
      redis.call('SET', 'live:' .. v.subject, verification, 'NX')
      keep('live:' .. v.subject, v.keep_until)
    end
  end
end

local c = load('claim:' .. id)
local claims, kind = 1, 'granted'
if c then
  local newer = c.generation > request.generation
    or (c.generation == request.generation and c.attempt > request.attempt)
  if newer then return answer({ now = now, kind = 'stale' }) end
  if c.generation == request.generation and c.attempt == request.attempt then
    if c.state == 'resolved' then
      return answer({ now = now, kind = 'resolved', resolution = resolution(id, c) })
    end
    local ours = c.owner == request.owner
    if c.lease_until > now and not ours then
      return answer({ now = now, kind = 'busy', wait_ms = c.lease_until - now })
    end
    claims = c.claims
    if c.state == 'unsure' then
      kind = 'unsure'
    elseif c.state == 'interrupted' or (c.state == 'calling' and not ours) then
      kind = 'interrupted'
    else
      -- A worker that got no answer asks again: that is the same claim, and it hasn't called.
      claims = c.claims + (ours and 0 or 1)
      if claims >= request.max_claims then kind = 'poison' end
    end
  end
elseif request.redelivered and (request.epoch ~= epoch or now >= request.keep_until) then
  -- Its claim may be lost, or gone with its time.
  kind = 'unsure'
end
if kind == 'granted' and progress
    and (progress.approved_at or request.supersedable and has_successor(progress, id, request.verification[3])) then
  kind = 'superseded'
end
local call = kind == 'granted' and request.call
if call and now >= call.begin_by then
  call, kind = nil, 'expired'
end
-- What a claim met stays so until its result is written: whoever claims next meets it too.
local state = call and 'calling' or (kind == 'interrupted' or kind == 'unsure') and kind or 'claimed'
local lease = now + request.lease_ms
local record = {
  generation = request.generation, attempt = request.attempt, state = state, owner = request.owner,
  lease_until = lease, claims = claims, keep_until = math.max(request.keep_until, lease),
  called_at = call and now or c and c.called_at, provider = call and call.provider or c and c.provider,
  status = c and c.status, updated_at = c and c.updated_at,
}
save('claim:' .. id, record)
if kind == 'interrupted' then
  return answer({ now = now, kind = kind, called_at = record.called_at, provider = record.provider })
end
return answer({ now = now, kind = kind })
