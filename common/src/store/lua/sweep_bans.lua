-- Forgets bans that ended, a few at a time. Gives where to go on; "0" at the end.
if not epoch then return LOST end
local found = redis.call('HSCAN', 'bans', request.cursor, 'COUNT', 500)
for i = 1, #found[2], 2 do
  local kind, value = string.match(found[2][i], '^([a-z_]+):(.*)$')
  local till = kind ~= 'lengths' and num(found[2][i + 1])
  if till and till ~= 0 and till <= now then ban_set({ kind = kind, value = value }, nil) end
end
return answer(found[1])
