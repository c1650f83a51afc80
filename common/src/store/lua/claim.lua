-- Takes a job to work on.
if not epoch then return LOST end
local id, key = request.message_id, 'claim:' .. request.message_id
local v = request.verification
if is(v) and redis.call('EXISTS', 'ver:' .. v.id) == 0 and v.expires_at + v.remember_ms > now then
  redis.call('HSET', 'ver:' .. v.id, 'id', v.id, 'subject', v.subject, 'account_id', int(v.account_id),
             'purpose', v.purpose, 'key_id', v.key_id, 'digits', int(v.digits), 'ttl_ms', int(v.ttl_ms),
             'max_attempts', int(v.max_attempts), 'remember_ms', int(v.remember_ms), 'first_at', int(v.first_at),
             'expires_at', int(v.expires_at), 'sends', int(v.sends), 'fails', 0, 'last_message', id,
             'keep_until', int(v.expires_at + v.remember_ms))
  keep('ver:' .. v.id, v.expires_at + v.remember_ms)
  redis.call('SET', 'live:' .. v.subject, v.id, 'NX')
  keep('live:' .. v.subject, v.expires_at + v.remember_ms)
end

local c = hash(key)
local claims, kind = 1, 'granted'
if c then
  local g, a = num(c.generation), num(c.attempt)
  if g > request.generation or (g == request.generation and a > request.attempt) then
    return answer({ now = now, kind = 'stale' })
  end
  if g == request.generation and a == request.attempt then
    if c.state == 'resolved' then
      return answer({ now = now, kind = 'resolved', resolution = c.resolution })
    end
    if num(c.lease_until) > now and c.owner ~= request.owner then
      return answer({ now = now, kind = 'busy', wait_ms = num(c.lease_until) - now })
    end
    if c.state == 'calling' then
      kind, claims = 'interrupted', num(c.claims)
    elseif c.state == 'unsure' then
      kind, claims = 'unsure', num(c.claims)
    else
      -- A worker that got no answer asks again: that is the same claim.
      claims = num(c.claims) + (c.owner == request.owner and 0 or 1)
      if claims >= request.max_claims then kind = 'poison' end
    end
  end
elseif request.redelivered and request.epoch ~= epoch then
  kind = 'unsure'
end
if kind == 'granted' and is(v) and redis.call('HEXISTS', 'ver:' .. v.id, 'approved_at') == 1 then
  kind = 'superseded'
end
local lease = now + request.lease_ms
local called_at, provider = c and c.called_at or '0', c and c.provider or ''
-- What a claim met stays so until its result is written: whoever claims next meets it too.
local state = kind == 'interrupted' and 'calling' or kind == 'unsure' and 'unsure' or 'claimed'
redis.call('HSET', key, 'generation', int(request.generation), 'attempt', int(request.attempt),
           'state', state, 'owner', request.owner,
           'lease_until', int(lease), 'claims', int(claims), 'called_at', called_at, 'provider', provider,
           'resolution', '')
keep(key, math.max(request.keep_until, lease))
if kind == 'interrupted' then
  return answer({ now = now, kind = kind, called_at = num(called_at), provider = provider })
end
return answer({ now = now, kind = kind })
