-- An account's sandbox messages of the last day, newest first.
if not epoch then return LOST end
local recent = {}
for _, kept in ipairs(redis.call('LRANGE', 'sandbox:' .. int(request.account_id), 0, -1)) do
  local message = cmsgpack.unpack(kept)
  if message.at > now - 86400000 then recent[#recent + 1] = message end
end
return answer(recent)
