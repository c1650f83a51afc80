-- An account's sandbox messages of the last day, newest first.
if not epoch then return LOST end
local recent = {}
for _, kept in ipairs(redis.call('LRANGE', 'sandbox:' .. int(request.account_id), 0, -1)) do
  if cjson.decode(kept).at > now - 86400000 then recent[#recent + 1] = kept end
end
return '{"ok":[' .. table.concat(recent, ',') .. ']}'
