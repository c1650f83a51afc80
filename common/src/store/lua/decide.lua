-- The guard of a send: decides about the message that `request` asks for, and counts and writes down what it admits.

-- The request's idempotency key stands for this message from now on.
local function name_by_key(id, done, accepted)
  if not request.idempotency then return end
  local key = 'idem:' .. request.idempotency.key
  redis.call('HSET', key, 'fingerprint', request.idempotency.fingerprints[1], 'message_id', id, 'done', done,
             'answer', cmsgpack.pack(accepted), 'keep_until', int(now + 86400000))
  keep(key, now + 86400000)
end

-- A request that met a message in doubt is that message's from now on: its key stands for it, and is forgotten with it.
-- Not of more requests than a hash's field should hold.
local function meet(id, accepted)
  local met_by = redis.call('HGET', 'msg:' .. id, 'met_by') or ''
  if not request.idempotency or #met_by > 4096 then return end
  redis.call('HSET', 'msg:' .. id, 'met_by', met_by .. request.idempotency.key .. ' ')
  name_by_key(id, '0', accepted)
end

-- A message whose publish was in doubt is published again, uncounted, with its own ids and times.
local function again(id, accepted)
  redis.call('HSET', 'msg:' .. id, 'confirmed', 0, 'asked_at', int(now))
  look_at_limits()
  return { kind = 'admitted', again = true, limits = limit_states(), message = accepted }
end

-- What a message's publish is known to have come to, when it was last asked for, and what was answered then.
local function asked(id)
  local m = redis.call('HMGET', 'msg:' .. id, 'confirmed', 'asked_at', 'kept')
  if m[3] then return m[1], num(m[2]), cmsgpack.unpack(m[3]).accepted end
end

-- What is answered to a request whose idempotency key is known.
local function repeated(kept, same)
  local id = kept.message_id
  -- An entry without a message is a batch's or a check's: another body in any case.
  if not same or not id then return { kind = 'key_reused' } end
  local confirmed, asked_at, accepted = asked(id)
  if kept.done == '1' or not accepted or confirmed == '1' then
    local replay = cmsgpack.unpack(kept.answer)
    replay.kind = 'replayed'
    return replay
  end
  if confirmed == '2' or now - asked_at >= 30000 then return again(id, accepted) end
  return { kind = 'in_flight', wait_ms = asked_at + 30000 - now }
end

-- An earlier message of the same subject whose publish is in doubt: the last of a living verification, or of a notice.
local function doubted(v)
  local id
  if request.verification then id = v and v.last_message
  else id = redis.call('GET', 'last:' .. request.subject) end
  if not id then return nil end
  local confirmed, asked_at, accepted = asked(id)
  if accepted and confirmed ~= '1' and accepted.deadline > now and (confirmed == '2' or now - asked_at >= 30000) then
    return id, accepted
  end
end

-- The latest verification of the request's subject.
local function live()
  local new = request.verification
  local id = new and redis.call('GET', 'live:' .. new.subject)
  return id and load('ver:' .. id)
end

-- Whether this send belongs to it: whether it has a full ttl left under the cap of 10 minutes.
local function reusable(v)
  return v and not v.approved_at and v.fails < v.max_attempts and v.expires_at > now
    and v.first_at + 600000 - now >= request.verification.ttl_ms
end

-- Writes down one more send of a verification, or the first. Gives it as it is now.
local function send_verification(reused, message)
  local new = request.verification
  local v = reused or new
  v.expires_at = now + new.ttl_ms
  v.keep_until, v.last_message = v.expires_at + v.remember_ms, message
  if reused then
    v.sends = v.sends + 1
    keep('live:' .. v.subject, v.keep_until)
  else
    v.first_at, v.sends, v.fails = now, 1, 0
    set_until('live:' .. v.subject, v.id, v.keep_until)
  end
  save('ver:' .. v.id, v)
  return v
end

-- Counts the message. Gives when the same phone may be sent to again.
local function counted(id)
  add_to_limits(id)
  count('accepted', request.lane, now, 1)
  local resend_at = now
  for i, use in ipairs(uses) do
    if request.limits[(i - 1) * FIELDS + 4] == 1 then resend_at = math.max(resend_at, now + use.wait) end
  end
  return resend_at
end

local function admitted(reused)
  local id, new, counted_in = request.message_id, request.verification, request.counted_in
  local accepted = {
    message_id = id, accepted_at = now, deadline = now + request.ttl_ms, epoch = epoch, resend_at = counted(id),
  }
  local previous_expiry = reused and reused.expires_at
  if new then
    local v = send_verification(reused, id)
    accepted.deadline = v.expires_at - math.floor(v.ttl_ms / 3)
    accepted.verification = {
      id = v.id, key_id = v.key_id, digits = v.digits, ttl_ms = v.ttl_ms, first_at = v.first_at,
      expires_at = v.expires_at, sends = v.sends, max_attempts = v.max_attempts, remember_ms = v.remember_ms,
    }
  end
  local confirmed = request.confirmed and '1' or '0'
  local kept = cmsgpack.pack({
    account_id = request.owner, lane = request.lane, previous_expiry = previous_expiry, about = request.about,
    limits = counted_in, accepted = accepted,
  })
  redis.call('HSET', 'msg:' .. id, 'kept', kept, 'confirmed', confirmed, 'asked_at', int(now),
             'idempotency', request.idempotency and request.idempotency.key or '')
  keep('msg:' .. id, accepted.deadline)
  if not new then set_until('last:' .. request.subject, id, accepted.deadline) end
  name_by_key(id, confirmed, accepted)
  return { kind = 'admitted', again = false, message = accepted, limits = limit_states() }
end

local function decide()
  -- As a list, and as what is kept of it.
  request.limits, request.counted_in = request.limits[1], request.limits[2]
  if stale_account(request.account) then return { kind = 'stale_account' } end
  local kept, same = kept_answer(request.idempotency)
  if kept then return repeated(kept, same) end
  local v = live()
  local in_doubt, accepted = doubted(v)
  if in_doubt then
    meet(in_doubt, accepted)
    return again(in_doubt, accepted)
  end

  local reused = reusable(v) and v or nil
  if reused and reused.sends >= request.verification.max_sends then
    refuse(2, 'max_sends', { wait_ms = reused.expires_at - now })
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
