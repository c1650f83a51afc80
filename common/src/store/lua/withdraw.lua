-- Takes back exactly what one message's admission counted, where it isn't queued by a repeat and nobody has claimed it. What
-- it began with stays where another send belongs to it.
if not epoch then return LOST end
local id = request.messages[1]
local m = hash('msg:' .. id)
if m and m.confirmed ~= '1' and redis.call('EXISTS', 'claim:' .. id) == 0 then
  local kept = unpack_kept(m.kept)
  give_back(kept.limits, kept.accepted_at, id, true)
  count('accepted', kept.lane, kept.accepted_at, -1)
  local v = kept.verification and load_verification(cjson.decode(kept.verification).id)
  if v and not kept.previous_expiry and v.sends == 1 then
    redis.call('DEL', 'ver:' .. v.id)
    if redis.call('GET', 'live:' .. v.subject) == v.id then redis.call('DEL', 'live:' .. v.subject) end
  elseif v then
    v.sends = v.sends - 1
    if v.last_message == id and kept.previous_expiry then v.expires_at = kept.previous_expiry end
    save_verification(v)
  end
  if m.idempotency then redis.call('DEL', 'idem:' .. m.idempotency) end
  for met_by in string.gmatch(m.met_by or '', '%S+') do
    if redis.call('HGET', 'idem:' .. met_by, 'message_id') == id then redis.call('DEL', 'idem:' .. met_by) end
  end
  redis.call('DEL', 'msg:' .. id)
end
return answer(nil)
