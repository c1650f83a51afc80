-- A message on its way.
if not epoch then return LOST end
local id = request.messages[1]
local kept = redis.call('HGET', 'msg:' .. id, 'kept')
if not kept then return answer(nil) end
kept = unpack_kept(kept)
local c = load('claim:' .. id) or {}
local sending = c.state == 'calling' or c.state == 'interrupted'
return answer({
  account_id = kept.account_id, lane = kept.lane,
  status = sending and 'sending' or c.status or 'accepted',
  accepted_at = kept.accepted_at, updated_at = c.updated_at or kept.accepted_at,
  verification_id = kept.verification and cjson.decode(kept.verification).id or nil, about = cjson.decode(kept.about),
  attempts = cjson.decode(c.attempts or '[]'),
})
