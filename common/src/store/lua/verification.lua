-- What became of a verification.
if not epoch then return LOST end
local v = hash('ver:' .. request.id)
if not v or num(v.keep_until) <= now then return answer(cjson.null) end
local status = 'pending'
if v.approved_at then status = 'approved'
elseif num(v.expires_at) <= now then status = 'expired'
elseif num(v.fails) >= num(v.max_attempts) then status = 'exhausted' end
return answer({
  id = v.id, account_id = num(v.account_id), purpose = v.purpose, status = status, first_at = num(v.first_at),
  expires_at = num(v.expires_at), sends = num(v.sends),
  attempts_left = math.max(num(v.max_attempts) - num(v.fails), 0), approved_at = num(v.approved_at),
})
