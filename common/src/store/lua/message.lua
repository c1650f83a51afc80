-- A message on its way.
if not epoch then return LOST end
local id = request.messages[1]
local m = redis.call('HMGET', 'msg:' .. id, 'kept', 'attempts', 'state')
if not m[1] then return answer(nil) end
local kept = unpack_kept(m[1])
local status, updated_at = (m[3] or ''):match('^(%S+) (%d+)$')
local c = load('claim:' .. id) or { status = status, updated_at = num(updated_at) }
local sending = c.state == 'calling' or c.state == 'interrupted'
return answer({
  account_id = kept.account_id, lane = kept.lane,
  status = sending and 'sending' or c.status or 'accepted',
  accepted_at = kept.accepted_at, updated_at = c.updated_at or kept.accepted_at,
  verification_id = kept.verification and cjson.decode(kept.verification).id or nil, about = cjson.decode(kept.about),
  attempts = cjson.decode(m[2] or '[]'),
})
