-- What a check derives the code from.
if not epoch then return LOST end
local v = wanted(request.account_id)
return answer(v and { id = v.id, key_id = v.key_id, digits = v.digits, subject = v.subject })
