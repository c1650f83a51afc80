-- A message on its way.
if not epoch then return LOST end
local m = hash('msg:' .. request.messages[1])
if not m then return answer(cjson.null) end
return answer({
  account_id = num(m.account_id), lane = m.lane, status = m.status, accepted_at = num(m.accepted_at),
  updated_at = num(m.updated_at), verification_id = m.verification_id ~= '' and m.verification_id or nil,
  about = cjson.decode(m.about), attempts = m.attempts and cjson.decode(m.attempts) or nil,
})
