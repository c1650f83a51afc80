-- The guard of a check, and its verdict.
if not epoch then return LOST end
if stale_account(request.account) then return answer({ kind = 'stale_account' }) end
look_at_limits()
local function say(kind, fields)
  fields.kind, fields.limits = kind, limit_states()
  return answer(fields)
end
local kept, same = kept_answer(request.idempotency)
if kept then
  -- A send's entry, which has a message, and a batch's, which has no answer, are of another body in any case.
  if not same or kept.message_id or not kept.answer then
    return answer({ kind = 'key_reused', fingerprint = not same and kept.fingerprint or nil })
  end
  local approved = cmsgpack.unpack(kept.answer)
  return say('approved', { id = approved.id, at = approved.at, first = false })
end
look_at_bans()
if refusal then return say(refusal.fields.kind, refusal.fields) end

local function failed(kind, fields)
  local failure = new_entry()
  add_to_limits(failure)
  -- Where no code lives, nobody guesses one: nothing speaks against the phone, which anybody may name.
  fields.struck = strike(failure, kind ~= 'mismatch')
  return say(kind, fields)
end
local v = wanted(request.owner)
if not v or v.keep_until <= now then
  return failed('not_sent', {})
end
if v.expires_at <= now then
  return failed('expired', {})
end
if v.id ~= request.read then return answer({ kind = 'changed' }) end
local left = v.max_attempts - v.fails
if left <= 0 then
  local struck = nil
  if not request.right then struck = strike(new_entry()) end
  return say('spent', { wait_ms = v.expires_at - now, struck = struck })
end
if not request.right then
  v.fails = v.fails + 1
  save_verification(v)
  return failed('mismatch', { attempts_left = left - 1 })
end
if v.approved_at then return say('used', { id = v.id }) end
v.approved_at = now
save_verification(v)
if request.idempotency then
  local idem = 'idem:' .. request.idempotency.key
  redis.call('DEL', idem)
  redis.call('HSET', idem, 'fingerprint', request.idempotency.fingerprints[1],
             'answer', cmsgpack.pack({ id = v.id, at = now }), 'keep_until', int(now + 86400000))
  keep(idem, now + 86400000)
end
return say('approved', { id = v.id, at = now, first = true })
