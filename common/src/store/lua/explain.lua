-- How limits and bans stand.
if not epoch then return LOST end
look_at_limits()
local limits = limit_states()
for i, state in ipairs(limits) do
  limits[i] = { used = uses[i].used, remaining = state[1], wait_ms = state[2] }
end
local bans = bans_on_phone()
for _, ban in ipairs(bans_on_address()) do bans[#bans + 1] = ban end
return answer({ now = now, limits = limits, bans = bans })
