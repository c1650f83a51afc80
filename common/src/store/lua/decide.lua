-- The guard of a send: decides about the message that `request` asks for, and counts and writes down what it admits.

-- The request's idempotency key stands for this message from now on.
local function name_by_key(id, done, kept)
  if not request.idempotency then return end
  local key = 'idem:' .. request.idempotency.key
  redis.call('HSET', key, 'fingerprint', request.idempotency.fingerprints[1], 'message_id', id, 'done', done,
             'answer', cmsgpack.pack(accepted(id, kept)), 'keep_until', int(now + 86400000))
  keep(key, now + 86400000)
end

-- A request that met a message in doubt is that message's from now on: its key stands for it, and is forgotten with it.
-- Not of more requests than a hash's field should hold.
local function meet(id, kept)
  local met_by = redis.call('HGET', 'msg:' .. id, 'met_by') or ''
  if not request.idempotency or #met_by > 4096 then return end
  redis.call('HSET', 'msg:' .. id, 'met_by', met_by .. request.idempotency.key .. ' ')
  name_by_key(id, '0', kept)
end

-- A code that the caller's process can't derive, its secret being none of those there, isn't sent again.
local function check_key(key_id)
  if not key_id or not request.known_keys then return nil end
  for _, known in ipairs(request.known_keys) do
    if known == key_id then return nil end
  end
  return { kind = 'key_missing', key_id = key_id }
end

-- A message whose publish was in doubt is published again, uncounted, with its own ids and times.
local function again(id, kept)
  local missing = check_key(kept.verification and cjson.decode(kept.verification).key_id)
  if missing then return missing end
  redis.call('HSET', 'msg:' .. id, 'confirmed', 0, 'asked_at', int(now))
  look_at_limits()
  return { kind = 'admitted', again = true, limits = limit_states(), message = accepted(id, kept) }
end

-- What a message's publish is known to have come to, when it was last asked for, and what is kept of it.
local function asked(id)
  local m = redis.call('HMGET', 'msg:' .. id, 'confirmed', 'asked_at', 'kept')
  if not m[3] then return nil end
  local kept = unpack_kept(m[3])
  return m[1], num(m[2]) or kept.accepted_at, kept
end

-- What is answered to a request whose idempotency key is known.
local function repeated(entry, same)
  local id = entry.message_id
  -- An entry without a message is a batch's or a check's: another body in any case.
  if not same or not id then return { kind = 'key_reused', fingerprint = not same and entry.fingerprint or nil } end
  local confirmed, asked_at, kept = asked(id)
  if entry.done == '1' or not kept or confirmed == '1' then
    local replay = cmsgpack.unpack(entry.answer)
    replay.kind = 'replayed'
    return replay
  end
  if confirmed == '2' or now - asked_at >= 30000 then return again(id, kept) end
  return { kind = 'in_flight', wait_ms = asked_at + 30000 - now }
end

-- An earlier message of the same subject whose publish is in doubt: the last of a living verification, or of a notice.
local function doubted(v)
  local id
  if request.verification then id = v and v.last_message
  else id = redis.call('GET', 'last:' .. request.subject) end
  if not id then return nil end
  local confirmed, asked_at, kept = asked(id)
  if kept and confirmed ~= '1' and kept.deadline > now and (confirmed == '2' or now - asked_at >= 30000) then
    return id, kept
  end
end

-- The latest verification of the request's subject.
local function live()
  local new = request.verification
  local id = new and redis.call('GET', 'live:' .. new.subject)
  return id and load_verification(id)
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
  save_verification(v)
  return v
end

-- Counts the message. Gives when the same phone may be sent to again.
local function counted(id)
  add_to_limits(id)
  count('accepted', request.lane, now, 1)
  local resend_at = now
  for i, use in ipairs(uses) do
    if limits[(i - 1) * FIELDS + 4] == 1 then resend_at = math.max(resend_at, now + use.wait) end
  end
  return resend_at
end

local function admitted(reused)
  local id, new = request.message_id, request.verification
  local previous_expiry = reused and reused.expires_at
  local v = new and send_verification(reused, id)
  local kept = {
    accepted_at = now, epoch = epoch, resend_at = counted(id), previous_expiry = previous_expiry,
    deadline = v and v.expires_at - math.floor((reused or new).ttl_ms / 3) or now + request.ttl_ms,
    first_at = v and v.first_at, expires_at = v and v.expires_at, sends = v and v.sends, verification = v and v.given,
    account_id = request.owner, lane = request.lane, about = request.about, limits = request.limits,
  }
  local confirmed = request.confirmed and '1' or '0'
  -- Each field costs: `asked_at` and `met_by` come when they are needed.
  if request.idempotency then
    redis.call('HSET', 'msg:' .. id, 'kept', pack_kept(kept), 'confirmed', confirmed, 'idempotency', request.idempotency.key)
  else
    redis.call('HSET', 'msg:' .. id, 'kept', pack_kept(kept), 'confirmed', confirmed)
  end
  -- Until its row is committed, for which a database may be waited for; with the hour that every expiry has, 25 hours.
  keep('msg:' .. id, kept.deadline + 86400000)
  if not v then set_until('last:' .. request.subject, id, kept.deadline) end
  name_by_key(id, confirmed, kept)
  return { kind = 'admitted', again = false, new = not reused, kept = kept, limits = limit_states() }
end

local function decide()
  if stale_account(request.account) then return { kind = 'stale_account' } end
  local entry, same = kept_answer(request.idempotency)
  if entry then return repeated(entry, same) end
  local v = live()
  local in_doubt, kept_of_it = doubted(v)
  if in_doubt then
    local decided = again(in_doubt, kept_of_it)
    if decided.kind == 'admitted' then meet(in_doubt, kept_of_it) end
    return decided
  end

  local reused = reusable(v) and v or nil
  local missing = reused and check_key(reused.key_id)
  if missing then return missing end
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

-- An answer with its message written out.
local function in_full(decided)
  if decided.kept then decided.message = accepted(request.message_id, decided.kept) end
  decided.kept, decided.new = nil, nil
  return decided
end
