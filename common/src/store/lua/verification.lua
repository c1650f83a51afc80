-- What became of a verification.
if not epoch then return LOST end
local v = load_verification(request.id)
if not v or v.keep_until <= now then return answer(nil) end
local status = 'pending'
if v.approved_at then status = 'approved'
elseif v.expires_at <= now then status = 'expired'
elseif v.fails >= v.max_attempts then status = 'exhausted' end
return answer({
  id = v.id, account_id = v.account_id, purpose = v.purpose, status = status, first_at = v.first_at,
  expires_at = v.expires_at, sends = v.sends, attempts_left = math.max(v.max_attempts - v.fails, 0),
  approved_at = v.approved_at,
})
