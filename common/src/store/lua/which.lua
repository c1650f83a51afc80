-- The verification that a check is about, if it is the owner's.
local function wanted(owner)
  local id = request.which.id or redis.call('GET', 'live:' .. request.which.subject)
  local v = id and load_verification(id)
  if v and v.account_id == owner then return v end
end
