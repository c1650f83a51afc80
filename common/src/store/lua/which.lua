-- The verification that a check is about, if it is the account's.
local function wanted(account_id)
  local id = request.which.id
  if not is(id) then id = redis.call('GET', 'live:' .. request.which.subject) end
  local v = id and hash('ver:' .. id)
  if v and num(v.account_id) == account_id then return v end
end
