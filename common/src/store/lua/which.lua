-- The verification that a check is about, if it is the owner's.
local function wanted(owner)
  local id = request.which.id
  if not is(id) then id = redis.call('GET', 'live:' .. request.which.subject) end
  local v = id and hash('ver:' .. id)
  if v and num(v.account_id) == owner then return v end
end
