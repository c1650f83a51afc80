-- A message on its way.
if not epoch then return LOST end
local id = request.messages[1]
local m = hash('msg:' .. id)
if not m then return answer(nil) end
local kept, c = cmsgpack.unpack(m.kept), load('claim:' .. id)
local accepted = kept.accepted
local sending = c and (c.state == 'calling' or c.state == 'interrupted')
return answer({
  account_id = kept.account_id, lane = kept.lane,
  status = sending and 'sending' or m.status or 'accepted',
  accepted_at = accepted.accepted_at, updated_at = num(m.updated_at) or accepted.accepted_at,
  verification_id = accepted.verification and accepted.verification.id, about = cjson.decode(kept.about),
  attempts = cjson.decode(m.attempts or '[]'),
})
