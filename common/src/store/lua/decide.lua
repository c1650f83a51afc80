-- The guard of a send: decides about the message that `request` asks for, and counts and writes down what it admits.

-- The request's idempotency key stands for this message from now on.
local function name_by_key(id, done, encoded)
  if not is(request.idempotency) then return end
  local key = 'idem:' .. request.idempotency.key
  redis.call('HSET', key, 'fingerprint', request.idempotency.fingerprints[1], 'message_id', id, 'done', done,
             'answer', encoded, 'keep_until', int(now + 86400000))
  keep(key, now + 86400000)
end

-- A request that met a message in doubt is that message's from now on: its key stands for it, and is forgotten with it.
-- Not of more requests than a hash's field should hold.
local function meet(id)
  local met_by = redis.call('HGET', 'msg:' .. id, 'met_by') or ''
  if not is(request.idempotency) or #met_by > 4096 then return end
  redis.call('HSET', 'msg:' .. id, 'met_by', met_by .. request.idempotency.key .. ' ')
  name_by_key(id, '0', redis.call('HGET', 'msg:' .. id, 'answer'))
end

-- A message whose publish was in doubt is published again, uncounted, with its own ids and times.
local function again(id)
  redis.call('HSET', 'msg:' .. id, 'confirmed', 0, 'asked_at', int(now))
  look_at_limits()
  return { kind = 'admitted', again = true, limits = limit_states(),
           message = cjson.decode(redis.call('HGET', 'msg:' .. id, 'answer')) }
end

-- What is answered to a request whose idempotency key is known.
local function repeated(kept, same)
  -- An entry without a message is a batch's or a check's: another body in any case.
  if not same or not kept.message_id then return { kind = 'key_reused' } end
  local message = hash('msg:' .. kept.message_id)
  if kept.done == '1' or message == nil or message.confirmed == '1' then
    local replay = cjson.decode(kept.answer)
    replay.kind = 'replayed'
    return replay
  end
  local asked_at = num(message.asked_at)
  if message.confirmed == '2' or now - asked_at >= 30000 then return again(kept.message_id) end
  return { kind = 'in_flight', wait_ms = asked_at + 30000 - now }
end

-- An earlier message of the same subject whose publish is in doubt.
local function doubted()
  local id = redis.call('GET', 'unconfirmed:' .. request.subject)
  local message = id and hash('msg:' .. id)
  if message and message.confirmed ~= '1' and num(message.deadline) > now
    and (message.confirmed == '2' or now - num(message.asked_at) >= 30000) then
    return id
  end
end

-- The verification that this send belongs to, if one lives that has a full ttl left under the cap of 10 minutes.
local function reusable()
  local new = request.verification
  if not is(new) then return nil end
  local id = redis.call('GET', 'live:' .. new.subject)
  local v = id and hash('ver:' .. id)
  if v and not v.approved_at and num(v.fails) < num(v.max_attempts) and num(v.expires_at) > now
    and num(v.first_at) + 600000 - now >= new.ttl_ms then
    return v
  end
end

-- Writes down one more send of a verification, or the first. Gives it as it is now.
local function send_verification(reused, message)
  local new = request.verification
  local expires_at = now + new.ttl_ms
  local v = reused
  if v then
    v.sends, v.expires_at, v.keep_until = num(v.sends) + 1, expires_at, expires_at + num(v.remember_ms)
    redis.call('HSET', 'ver:' .. v.id, 'sends', int(v.sends), 'expires_at', int(expires_at),
               'last_message', message, 'keep_until', int(v.keep_until))
    keep('live:' .. new.subject, v.keep_until)
  else
    v = new
    v.first_at, v.expires_at, v.sends, v.keep_until = now, expires_at, 1, expires_at + new.remember_ms
    redis.call('HSET', 'ver:' .. v.id, 'id', v.id, 'subject', v.subject, 'account_id', int(v.account_id),
               'purpose', v.purpose, 'key_id', v.key_id, 'digits', int(v.digits), 'ttl_ms', int(v.ttl_ms),
               'max_attempts', int(v.max_attempts), 'remember_ms', int(v.remember_ms), 'first_at', int(now),
               'expires_at', int(expires_at), 'sends', 1, 'fails', 0, 'last_message', message,
               'keep_until', int(v.keep_until))
    set_until('live:' .. v.subject, v.id, v.keep_until)
  end
  keep('ver:' .. v.id, v.keep_until)
  return v
end

-- Counts the message. Gives its entries, for whoever takes them back, and when the same phone may be sent to again.
local function counted(id)
  add_to_limits(id)
  count('accepted', request.lane, now, 1)
  local entries, resend_at = {}, now
  for i, limit in ipairs(request.limits) do
    entries[i] = { key = limit.key, quota = limit.quota, window_ms = limit.window_ms, refund = limit.refund, at = now }
    if limit.rank == 1 and uses[i].used >= limit.quota then resend_at = math.max(resend_at, now + uses[i].wait) end
  end
  return #entries > 0 and cjson.encode(entries) or '[]', resend_at
end

local function admitted(reused)
  local id = request.message_id
  local entries, resend_at = counted(id)
  local accepted = {
    message_id = id, accepted_at = now, deadline = now + request.ttl_ms, epoch = epoch, resend_at = resend_at,
  }
  local verification_id, previous_expiry = '', reused and reused.expires_at or ''
  if is(request.verification) then
    local v = send_verification(reused, id)
    verification_id = v.id
    accepted.deadline = num(v.expires_at) - math.floor(num(v.ttl_ms) / 3)
    accepted.verification = {
      id = v.id, key_id = v.key_id, digits = num(v.digits), ttl_ms = num(v.ttl_ms), first_at = num(v.first_at),
      expires_at = num(v.expires_at), sends = num(v.sends), max_attempts = num(v.max_attempts),
      remember_ms = num(v.remember_ms),
    }
  end
  local confirmed = request.confirmed and '1' or '0'
  local encoded = cjson.encode(accepted)
  redis.call('HSET', 'msg:' .. id, 'account_id', int(request.owner), 'lane', request.lane, 'status', 'accepted',
             'accepted_at', int(now), 'updated_at', int(now), 'deadline', int(accepted.deadline),
             'verification_id', verification_id, 'previous_expiry', previous_expiry,
             'about', cjson.encode(request.about), 'subject', request.subject, 'confirmed', confirmed,
             'asked_at', int(now), 'idempotency', is(request.idempotency) and request.idempotency.key or '',
             'limits', entries, 'answer', encoded)
  keep('msg:' .. id, accepted.deadline)
  if confirmed == '0' then
    set_until('unconfirmed:' .. request.subject, id, accepted.deadline)
  end
  name_by_key(id, confirmed, encoded)
  return { kind = 'admitted', again = false, message = accepted, limits = limit_states() }
end

local function decide()
  if stale_account(request.account) then return { kind = 'stale_account' } end
  local kept, same = kept_answer(request.idempotency)
  if kept then return repeated(kept, same) end
  local in_doubt = doubted()
  if in_doubt then
    meet(in_doubt)
    return again(in_doubt)
  end

  local reused = reusable()
  if reused and num(reused.sends) >= request.verification.max_sends then
    refuse(2, 'max_sends', { wait_ms = num(reused.expires_at) - now })
  end
  look_at_limits()
  local is_banned = look_at_bans()
  if refusal == nil then return admitted(reused) end
  -- What the caller's own or the service's limits refuse says nothing against phone or address.
  local against = refusal.rank <= 3 or refusal.rank == 6
  refusal.fields.struck = against and not is_banned and strike(new_entry()) or nil
  refusal.fields.limits = limit_states()
  return refusal.fields
end
